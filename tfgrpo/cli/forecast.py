"""The command that says whether more of a run would pay."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from ..text import counted
from .command import TextCommand
from .lines.tables import percent
from .options.shared import json_option, named_store, store_option
from .streams import tell

if TYPE_CHECKING:
    from ..learning.forecast import Course, Forecast


@click.command(cls=TextCommand)
@click.argument("run_id", metavar="RUN")
@store_option
@json_option
def forecast(run_id: str, store: str | None, as_json: bool) -> None:
    """Whether more of RUN would pay: its mean reward at twice the rollouts, and how sure that is.

    A curve that saturates is held against the mean reward of each step, so three steps are the least. It speaks of the
    rollouts of learning, which try things out: what a prior is worth on other tasks, tfgrpo eval measures.
    """
    from dataclasses import asdict

    from ..learning.forecast import FEWEST_STEPS, course, of_whole_steps
    from ..learning.forecast import forecast as foreseen

    with named_store(store) as opened:
        run = opened.run(run_id)
        every = opened.groups(run.id)
    groups = of_whole_steps(every, run.settings)
    if run.kind != "learn":
        what = "an exploration, which has no steps" if run.kind == "explore" else "an evaluation, which learns nothing"
        raise InputError(f"{run.id} is {what}; give the run of a learning (tfgrpo runs list)")
    if not any(group.scored for group in every):
        raise InputError(f"{run.id} has no reward yet; tfgrpo runs show {run.id} says how it stands")
    seen = course(groups)
    begun = " and one that has not ended" if len(groups) < len(every) else ""
    if (found := foreseen(seen)) is None:
        made = counted(len(seen.rewards), "step")
        raise InputError(f"{run.id} has {made}{begun}, and a forecast needs {FEWEST_STEPS}; learn with more --steps")
    tokens = sum(rollout.usage.tokens for group in groups for rollout in group.rollouts)
    figures = {
        "run": run.id,
        **asdict(found),
        "flat": found.flat,
        "tokens": tokens,
        "mean_rewards": seen.rewards.tolist(),
    }
    told = [f"step {found.steps + 1} has not ended, and is left out"] if begun else []
    tell(as_json, figures, *_forecast_lines(run.id, seen, found, tokens), *told)


def _forecast_lines(run: str, seen: "Course", found: "Forecast", tokens: int) -> Iterator[str]:
    """A forecast for people."""
    from ..learning.forecast import forecast_line

    yield f"run {run}: {counted(found.steps, 'step')}, {counted(found.rollouts, 'rollout')}, {tokens:,} tokens in them"
    means = " -> ".join(percent(mean) for mean in seen.rewards.tolist())
    yield f"mean reward over all tasks by step, of those that rest as last seen: {means}"
    yield forecast_line(found)
    if found.flat and not found.fell:
        yield "more rollouts of the same kind are unlikely to pay; other tasks, another model or distiller may"
