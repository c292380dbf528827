"""Rollouts of a run beside their answers, and the tasks that got better or worse."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...text import counted, shortened
from .tables import percent, printable

if TYPE_CHECKING:
    from ...records import JSON, Rollout
    from ...report.extremes import MovedTask
    from ...report.health import StepHealth

_LONGEST = 1_000
"""Characters shown of a rollout; --json has all."""
_MOVED = 10
"""Tasks named on each side."""


def rollout_json(rollout: "Rollout", sources: Mapping[str, str]) -> "dict[str, JSON]":
    """One rollout; `sources` says by its id what a way to prompt is."""
    return {
        "step": rollout.step + 1,
        "task": rollout.task.id,
        "name": rollout.task.metadata.get("id"),
        "input": rollout.task.input,
        "answer": rollout.task.answer,
        "sample": rollout.sample,
        "way": sources.get(rollout.variant),
        "text": rollout.text,
        "reward": rollout.reward,
        "feedback": rollout.feedback,
        "error": rollout.error,
        "finish_reason": rollout.finish_reason,
    }


def moved_json(moved: "MovedTask") -> "dict[str, JSON]":
    """One task that got better or worse."""
    from ...report.extremes import task_name

    first, last = moved.steps
    figures = {"first": moved.first, "last": moved.last, "first_step": first, "last_step": last}
    return {"task": moved.task.id, "name": task_name(moved.task), **figures}


def rollout_lines(rollout: "Rollout", sources: Mapping[str, str]) -> Iterator[str]:
    """One rollout beside the answer of its task."""
    from ...report.extremes import task_name

    reward = "failed" if rollout.reward is None else f"reward {rollout.reward:.2f}"
    way = f", under {printable(sources[rollout.variant])}" if rollout.variant in sources else ""
    where = f"step {rollout.step + 1}, sample {rollout.sample + 1}{way}; {rollout.task.id}"
    yield f"{reward}  {printable(task_name(rollout.task))}  ({where})"
    if rollout.error is not None:
        yield f"    error: {printable(shortened(rollout.error, _LONGEST))}"
    else:
        cut = ", cut off" if rollout.finish_reason == "length" else ""
        yield f"    said{cut}: {_text(rollout.text)}"
    if rollout.task.answer is not None:
        yield f"    answer: {_text(rollout.task.answer)}"
    if rollout.feedback:
        yield f"    feedback: {_text(rollout.feedback)}"


def moved_lines(moved: "Sequence[MovedTask]") -> Iterator[str]:
    """Which tasks got better and which worse, by name, between their first visit and their last."""
    sides = {"better": [one for one in moved if one.gain > 0], "worse": [one for one in moved if one.gain < 0][::-1]}
    for side, tasks in sides.items():
        yield f"{counted(len(tasks), 'task')} got {side}{':' if tasks else ''}"
        yield from map(_moved_line, tasks[:_MOVED])
        if len(tasks) > _MOVED:
            yield f"  and {len(tasks) - _MOVED:,} more; --json has them all"


def _moved_line(moved: "MovedTask") -> str:
    from ...report.extremes import task_name

    first, last = moved.steps
    where = f"step {first} to {last}; {moved.task.id}"
    return f"  {percent(moved.first)} -> {percent(moved.last)}  {printable(task_name(moved.task))}  ({where})"


def health_json(health: "StepHealth") -> "dict[str, JSON]":
    """The health of one step's groups."""
    from dataclasses import asdict

    return asdict(health)


def health_lines(health: "Sequence[StepHealth]") -> Iterator[str]:
    """How much there was to compare in each step, and what a success took in tools, where any were called."""
    if health:
        entropy = " -> ".join(f"{one.entropy:.2f}" for one in health)
        yield f"entropy of groups by step, in bits (0: all of a group earned the same): {entropy}"
    if any(one.tool_calls for one in health):
        called = ("-" if one.calls_a_success is None else f"{one.calls_a_success:.1f}" for one in health)
        yield f"tool calls a success by step: {' -> '.join(called)}"


def _text(given: object) -> str:
    text = str(given)
    return printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
