"""Options that are settings of a learning run under the same name; the command gets them all as `**settings`."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from .gathered import ADVANCED, GATE, titled, together

if TYPE_CHECKING:
    from ...records import JSON
    from ...settings import Settings

_option, _gate_option = titled(ADVANCED), titled(GATE)
_rare = partial(_option, rare=True)

method_options = together(
    _option(
        "--recipe",
        type=click.Choice(["measured", "paper"]),
        default="measured",
        show_default=True,
        help="`paper`: as published.",
    ),
    _option("--steps", type=int, help="Visits to tasks.  [default: 4; local 2; paper 3]"),
    _option("--group-size", type=int, help="Rollouts a task and step.  [default: 8; paper: 5]"),
    _option("--seed", type=int, rare=True, help="Another seed is another run.  [default: 0]"),
    _rare("--concurrency", type=int, help="Calls in flight, fewer while the upstream is busy.  [default: 16]"),
    _rare(
        "--hedge",
        type=float,
        metavar="SECONDS",
        help="Make a call once more that takes longer; 0: never.  [default: 5 medians]",
    ),
    _rare(
        "--several", is_flag=True, default=None, help="Ask for rollouts alike in one request (`n`), where that works."
    ),
    _rare("--distilled-groups", type=int, help="Groups a step that propose experiences.  [default: all; local: 1]"),
    _rare(
        "--distiller-tokens",
        type=int,
        help="Longest answer of the distiller, in tokens.  [default: 1024; local: 128]",
    ),
    _rare(
        "--distiller-retries",
        type=int,
        help="Further tries of it where an answer cannot be used.  [default: 2; local: 0]",
    ),
)
"""The recipe, and how much of it."""

gate_options = together(
    _gate_option(
        "--alpha",
        "gate_alpha",
        type=float,
        rare=True,
        help="Chance of ever promoting what is no better.  [default: 0.05]",
    ),
    _gate_option(
        "--passes", "gate_passes", type=int, rare=True, help="Passes of the gate at most.  [default: 32; local: 16]"
    ),
    _gate_option(
        "--claim",
        "gate_claim",
        type=click.Choice(["tasks-like-these", "these-tasks"]),
        rare=True,
        help="What a promotion has to show a gain over.  [default: tasks-like-these]",
    ),
    _gate_option(
        "--production-temperature",
        type=float,
        rare=True,
        help="Of the gate, of eval and of what is served; 0 for most labels.  [default: that of learning]",
    ),
    _gate_option(
        "--allow-collapse",
        is_flag=True,
        rare=True,
        help="Let go live what is no better than a constant answer, or has lost a label or too many training tasks.",
    ),
)
"""How sure the gate must be, and how long it may try."""

part_options = together(
    _rare("--no-experiences", is_flag=True, help="Learn the token prior only."),
    _rare(
        "--only-what-applies",
        is_flag=True,
        help="Say an experience only to requests that have the words of its condition, or its moment.",
    ),
    _rare("--no-token-prior", is_flag=True, help="Learn experiences only.  [paper: always]"),
    _rare(
        "--exact-groups",
        type=click.Choice(["auto", "off"]),
        help="`auto`: where a call lists all answers to a request, it stands for its rollouts.  [default: auto]",
    ),
    _rare("--no-race", is_flag=True, help="Learn on top of what is live alone.  [paper: always]"),
    _rare("--no-demonstrations", is_flag=True, help="Let no training task, shown as an example, into the race."),
    _rare("--no-ground-truth", is_flag=True, help="Never show the tasks' answers to the distiller."),
    _rare(
        "--prior-tokens",
        type=int,
        help="Most tokens that a prior may add to a prompt, counted with the model's tokenizer where it is at hand."
        "  [default: 4000]",
    ),
    _rare(
        "--amplify",
        type=int,
        metavar="ROUNDS",
        help="First show answers that were long and right, in so many rounds; what they come to races.  [default: 0]",
    ),
    _rare("--no-rest-tasks", is_flag=True, help="Visit tasks that are always solved, or never, at every step too."),
    _rare(
        "--overlong",
        metavar="MAX:CACHE",
        help="Take off up to 1 of the reward from MAX - CACHE to MAX completion tokens."
        "  [default: length costs nothing]",
    ),
    _rare("--no-stop-hopeless", is_flag=True, help="Go on where no rollout of the first step earned anything."),
    _rare("--stop-when-flat", is_flag=True, help="Stop after the step from which more rollouts are unlikely to pay."),
    _rare("--keep-going", is_flag=True, help="Make all steps, also where nothing is left to learn.  [paper: always]"),
    _rare("--review", is_flag=True, help="Hold every proposal for a person instead of trying it."),
)
"""The parts of the method, on or off, and their bounds."""


def read_settings(given: Mapping[str, Any], here: "Mapping[str, JSON] | None" = None) -> "Settings":
    """The recipe's settings under those that options name; raises InputError for a value out of range.

    `here` as of `Settings.for_recipe`.
    """
    from ...settings import Settings

    named = dict(given)
    return Settings.for_recipe(named.pop("recipe"), here, **_explicit(named))


def _explicit(options: "Mapping[str, float | str | None]") -> "dict[str, JSON]":
    """The settings that options name: numbers and flags that were given, and what a `no_` flag switches off."""
    switched = {name.removeprefix("no_"): False for name, on in options.items() if name.startswith("no_") and on}
    named = {name: value for name, value in options.items() if not name.startswith("no_")}
    return switched | {name: value for name, value in named.items() if value is not None and value is not False}
