"""The group-relative advantage: rewards shaped by length, groups by what they can teach, the tasks still worth a visit.

All of it is pure.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..hashing import derive_seed
from ..records import Group, Rollout, Task
from ..settings import FLAT, Settings


def penalty(tokens: int, longest: int, cache: int) -> float:
    """What a rollout of so many completion tokens loses, in reward units, from 0 to -1 (DAPO, arXiv 2503.14476).

    0 up to longest - cache; (longest - cache - L) / cache from there to longest; -1 beyond.
    """
    return max(-1.0, min(0.0, (longest - cache - tokens) / cache))


def shaped(rollout: Rollout, settings: Settings) -> Rollout:
    """The rollout with its penalty taken off its reward, which stays at 0 or above: a wrong answer cannot earn less.

    Its length is that of all completions, of an agent all its calls'; one without a reward stays as it is.
    """
    if rollout.reward is None or settings.overlong is None:
        return rollout
    longest, cache = map(int, settings.overlong.split(":"))
    less = penalty(rollout.usage.completion_tokens, longest, cache)
    return replace(rollout, reward=max(0.0, rollout.reward + less))


GroupKind: TypeAlias = Literal["mixed", "solved", "hopeless", "flat", "unscored"]
"""A mixed group can teach; the others are all right, all wrong, all alike in between, or without any reward."""


def advantages(rewards: NDArray[np.float64], *, divide_by_std: bool = True) -> NDArray[np.float64]:
    """(r - mean) / std within one group, shape (G,); a flat group teaches nothing (GRPO, arXiv 2402.03300).

    With `divide_by_std` off, r - mean (Dr. GRPO, arXiv 2503.20783). The standard deviation is the population's.
    """
    if rewards.size == 0:
        return np.zeros_like(rewards)
    mean, spread = float(rewards.mean()), float(rewards.std())
    if spread < FLAT:
        return np.zeros_like(rewards)
    return (rewards - mean) / (spread if divide_by_std else 1.0)


def group_kind(group: Group) -> GroupKind:
    """Whether a group can teach, or why not."""
    rewards = group.rewards
    if rewards.size == 0:
        return "unscored"
    if float(rewards.std()) >= FLAT:
        return "mixed"
    if rewards[0] >= 1 - FLAT:
        return "solved"
    return "hopeless" if rewards[0] <= FLAT else "flat"


_ENOUGH = 2
"""Visits in a row in which all rollouts were right, or all wrong."""
_SOLVED = 0.9
"""Mean reward over all visits from which on a task is not drawn again (no-positive-resampling, arXiv 2510.13786)."""


def visited(tasks: Sequence[Task], earlier: Sequence[Group], step: int, settings: Settings) -> tuple[Task, ...]:
    """The tasks to roll out in a step, in their order, given all groups of earlier steps in order of step.

    A task whose mean reward is 0.9 or more over two visits at least is not drawn again while there are others. One
    whose pass rate was 0 or 1 at its last two visits rests in every other step; which of the two it rests in is decided
    by its hash, so that not all rest at once. It is visited as before once its rollouts differ again. When all would
    rest, none does. What earlier groups say is all that decides, so a resumed run visits the same.
    """
    if not settings.rest_tasks:
        return tuple(tasks)
    dull: dict[str, int] = {}
    means: dict[str, list[float]] = {}
    for group in earlier:
        if group.scored:
            means.setdefault(group.task.id, []).append(float(group.rewards.mean()))
        is_dull = group_kind(group) in ("solved", "hopeless")
        dull[group.task.id] = dull.get(group.task.id, 0) + 1 if is_dull else 0

    def rests(task: Task) -> bool:
        return dull.get(task.id, 0) >= _ENOUGH and (step + derive_seed(settings.seed, "visit", task.id)) % 2 == 1

    def solved(task: Task) -> bool:
        found = means.get(task.id, [])
        return len(found) >= _ENOUGH and sum(found) >= _SOLVED * len(found)

    awake = tuple(task for task in tasks if not rests(task))
    return tuple(task for task in awake if not solved(task)) or awake or tuple(tasks)
