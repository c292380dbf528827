"""The best and the worst rollouts of a run, and the tasks that got better or worse while it learned. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..records import Group, Rollout, Task
from ..settings import FLAT
from ..text import shortened


@dataclass(frozen=True, slots=True)
class MovedTask:
    """A task whose mean reward was another at its last visit than at its first."""

    task: Task
    first: float
    last: float
    steps: tuple[int, int]
    """Of the two visits, from 1."""

    @property
    def gain(self) -> float:
        """How much better it got."""
        return self.last - self.first


def task_name(task: Task) -> str:
    """A task for people: the name that its file gives it, else how it begins."""
    own = task.metadata.get("id")
    return shortened(task.prompt if own is None else own)


def rollouts_of(groups: Sequence[Group], *, task: str | None = None, step: int | None = None) -> list[Rollout]:
    """The rollouts of a run, or of the tasks whose id begins so or whose name is this, or of one step (from 1)."""
    return [
        rollout
        for group in groups
        if (step is None or group.step == step - 1) and (task is None or _is_named(group.task, task))
        for rollout in group.rollouts
    ]


def _is_named(task: Task, given: str) -> bool:
    return task.id.startswith(given) or str(task.metadata.get("id")) == given or task.prompt == given


def worst_of(rollouts: Sequence[Rollout], most: int) -> list[Rollout]:
    """Those of the least reward, failed ones before all; of equals each task once before any twice."""
    return _ranked(rollouts, best=False)[:most]


def best_of(rollouts: Sequence[Rollout], most: int) -> list[Rollout]:
    """Those of the highest reward; of equals each task once before any twice. None that failed is among them."""
    return _ranked([one for one in rollouts if one.reward is not None], best=True)[:most]


def _ranked(rollouts: Sequence[Rollout], *, best: bool) -> list[Rollout]:
    """In order of reward, of equals in turns of their tasks."""
    before, turns = Counter[tuple[str, float]](), list[tuple[float, int]]()
    for rollout in rollouts:
        reward = -1.0 if rollout.reward is None else rollout.reward
        turns.append((-reward if best else reward, before[rollout.task.id, reward]))
        before[rollout.task.id, reward] += 1
    return [one for _, one in sorted(zip(turns, rollouts, strict=True), key=lambda pair: pair[0])]


def moved_tasks(groups: Sequence[Group]) -> tuple[MovedTask, ...]:
    """The tasks that were better or worse at their last visit than at their first, the largest gain first."""
    visits: dict[str, list[Group]] = {}
    for group in groups:
        if group.scored:
            visits.setdefault(group.task.id, []).append(group)
    found = (_moved(of[0], of[-1]) for of in visits.values())
    return tuple(sorted((one for one in found if abs(one.gain) > FLAT), key=lambda one: -one.gain))


def _moved(first: Group, last: Group) -> MovedTask:
    before, after = float(first.rewards.mean()), float(last.rewards.mean())
    return MovedTask(first.task, before, after, (first.step + 1, last.step + 1))
