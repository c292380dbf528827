"""Options that say what `eval` measures: which prior, how often, and beside what."""

from dataclasses import dataclass

import click

from .gathered import MEASURE, gathered, titled


@dataclass(frozen=True, slots=True)
class ArmOptions:
    """The options as they were given."""

    prior_id: str | None
    repeat: int
    temperature: float | None
    seed: int
    no_written: bool
    no_few_shot: bool
    moments: bool


_option = titled(MEASURE)

arm_options = gathered(
    "arms",
    ArmOptions,
    _option(
        "--prior",
        "prior_id",
        metavar="ID",
        help="An id, or `candidate`, the last one learned.  [default: the live one, else that]",
    ),
    _option("--repeat", default=4, show_default=True, type=click.IntRange(min=1), help="Rollouts a task and arm."),
    _option("--temperature", type=float, help="Of all arms.  [default: that of learning]"),
    _option("--seed", default=0, show_default=True, help="Of sampling and resampling."),
    _option("--no-written", is_flag=True, rare=True, help="Leave out the arm of experiences written without rollouts."),
    _option("--no-few-shot", is_flag=True, rare=True, help="Leave out the arm of training examples in the prompt."),
    _option(
        "--moments",
        is_flag=True,
        rare=True,
        help="More arms, what waits for its moment always on, at random turns, by a coin: is it the moment that helps?",
    ),
)
"""--prior, --repeat, --temperature, --seed and what arms there are; the command gets them as `arms`."""
