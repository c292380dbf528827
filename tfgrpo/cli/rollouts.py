"""The command that shows what the model said in a run."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .command import TextCommand
from .lines.rollouts import health_json, health_lines, moved_json, moved_lines, rollout_json, rollout_lines
from .options.shared import json_option, named_store, store_option
from .streams import tell

if TYPE_CHECKING:
    from ..records import Group, Rollout
    from ..report.extremes import MovedTask

USUAL = 3
"""Shown of the worst and of the best, where nothing else is asked for."""


@click.command(cls=TextCommand)
@click.argument("run_id", metavar="RUN")
@click.option(
    "--task", metavar="NAME", help="Those of one task: its id or the beginning of it, or its name in the file."
)
@click.option("--step", type=click.IntRange(min=1), help="Those of one step.")
@click.option("--worst", type=click.IntRange(min=1), metavar="N", help="The N of the least reward, failed ones first.")
@click.option("--best", type=click.IntRange(min=1), metavar="N", help="The N of the highest reward.")
@store_option
@json_option
def rollouts(
    *,
    run_id: str,
    task: str | None,
    step: int | None,
    worst: int | None,
    best: int | None,
    store: str | None,
    as_json: bool,
) -> None:
    """What the model said in a learning run, beside the answers: the 3 worst and the 3 best.

    With --task or --step all of these, without --worst and --best. Also says which tasks got better or worse between
    their first visit and their last.
    """
    from ..report.extremes import moved_tasks, rollouts_of
    from ..report.health import health_of

    with named_store(store) as opened:
        run = opened.run(run_id)
        groups, ways = opened.groups(run.id), opened.variants(run.id)
    found = rollouts_of(groups, task=task, step=step)
    if not found:
        raise InputError(_nothing(run.id, groups, task, step))
    shown = _asked(found, worst, best, every=task is not None or step is not None)
    moved = moved_tasks([group for group in groups if task is None or group.task.id in {one.task.id for one in found}])
    sources, health = {variant.id: variant.source for variant, _ in ways}, health_of(groups)
    figures = {
        "run": run.id,
        **{name: [rollout_json(one, sources) for one in of] for name, of in shown.items()},
        "moved": [moved_json(one) for one in moved],
        "health": [health_json(one) for one in health],
    }
    told = health_lines(health) if task is None and step is None else ()
    tell(as_json, figures, *_lines(shown, moved if step is None else (), sources), *told)


def _asked(
    found: "Sequence[Rollout]", worst: int | None, best: int | None, *, every: bool
) -> "Mapping[str, Sequence[Rollout]]":
    """The rollouts to show, by what they are."""
    from ..report.extremes import best_of, worst_of

    if worst is None and best is None:
        if every:
            return {"rollouts": found}
        worst = best = USUAL
    shown: dict[str, Sequence[Rollout]] = {}
    if worst is not None:
        shown["worst"] = worst_of(found, worst)
    if best is not None:
        shown["best"] = best_of(found, best)
    return shown


def _lines(
    shown: "Mapping[str, Sequence[Rollout]]", moved: "Sequence[MovedTask]", sources: Mapping[str, str]
) -> Iterator[str]:
    for name, of in shown.items():
        yield f"{name}:"
        for rollout in of:
            yield from (f"  {line}" for line in rollout_lines(rollout, sources))
    if moved:
        yield from moved_lines(moved)


def _nothing(run: str, groups: "Sequence[Group]", task: str | None, step: int | None) -> str:
    """Why there is nothing to show, and what to do."""
    if not groups:
        return f"run {run} has no rollouts in the store; those of an evaluation are written with --save-rollouts"
    steps = max(group.step for group in groups) + 1
    asked = " and ".join(text for text in (task and f"--task {task!r}", step and f"--step {step}") if text)
    return f"run {run} has no rollouts with {asked}; it has steps 1 to {steps}, and tfgrpo rollouts {run} names tasks"
