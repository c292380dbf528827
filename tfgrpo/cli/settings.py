"""Options that are settings of a learning run under the same name; the command gets them all as `**settings`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .groups import together

if TYPE_CHECKING:
    from ..records import JSON
    from ..settings import Settings

method_options = together(
    click.option(
        "--recipe",
        type=click.Choice(["measured", "paper"]),
        default="measured",
        show_default=True,
        help="`measured` tries experiences before it keeps them; `paper` is Training-Free GRPO as published.",
    ),
    click.option("--steps", type=int, help="Passes over the tasks.  [default: 4; paper: 3]"),
    click.option("--group-size", type=int, help="Attempts a task in each step.  [default: 8; paper: 5]"),
    click.option("--seed", type=int, help="Another seed is another run.  [default: 0]"),
    click.option("--concurrency", type=int, help="Calls in flight.  [default: 16]"),
    click.option("--distilled-groups", type=int, help="Groups a step that propose experiences.  [default: all]"),
    click.option("--distiller-tokens", type=int, help="Longest answer of the distiller, in tokens.  [default: 1024]"),
    click.option(
        "--distiller-retries", type=int, help="Further tries of it where an answer cannot be used.  [default: 2]"
    ),
)
"""The recipe, and how much of it."""

gate_options = together(
    click.option(
        "--alpha", "gate_alpha", type=float, help="Chance of ever promoting what is no better.  [default: 0.05]"
    ),
    click.option("--passes", "gate_passes", type=int, help="Passes of the gate at most.  [default: 32]"),
)
"""How sure the gate must be, and how long it may try."""

part_options = together(
    click.option("--no-experiences", is_flag=True, help="Learn the token prior only."),
    click.option("--no-token-prior", is_flag=True, help="Learn experiences only.  [paper: always]"),
    click.option("--no-demonstrations", is_flag=True, help="Try no winning attempts as examples.  [paper: always]"),
    click.option("--no-ground-truth", is_flag=True, help="Never show the tasks' answers to the distiller."),
    click.option(
        "--prior-tokens",
        type=int,
        help="Most tokens of experiences to show, counted with the model's tokenizer where it is at hand."
        "  [default: 1000]",
    ),
    click.option(
        "--no-rest-tasks", is_flag=True, help="Visit tasks that are always solved, or never, at every step too."
    ),
    click.option(
        "--overlong",
        metavar="MAX:CACHE",
        help="Take off up to 1 of the reward from MAX - CACHE to MAX completion tokens."
        "  [default: length costs nothing]",
    ),
    click.option("--review", is_flag=True, help="Hold every proposal for a person instead of trying it."),
    click.option("--clip-rewards", is_flag=True, help="Take a reward outside 0 to 1 for the nearer bound."),
)
"""The parts of the method, on or off, and their bounds."""


def read_settings(given: Mapping[str, Any]) -> "Settings":
    """The recipe's settings under those that options name; raises InputError for a value out of range."""
    from ..settings import Settings

    named = dict(given)
    return Settings.for_recipe(named.pop("recipe"), **_explicit(named))


def _explicit(options: "Mapping[str, float | str | None]") -> "dict[str, JSON]":
    """The settings that options name: numbers and flags that were given, and what a `no_` flag switches off."""
    switched = {name.removeprefix("no_"): False for name, on in options.items() if name.startswith("no_") and on}
    named = {name: value for name, value in options.items() if not name.startswith("no_")}
    return switched | {name: value for name, value in named.items() if value is not None and value is not False}
