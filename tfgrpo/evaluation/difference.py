"""How much better one arm is than another on the same tasks, with an interval over tasks. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BOOTSTRAP = 10_000
"""Resamples behind an interval."""
FEWEST = 5
"""Tasks; resampling fewer shows nothing about tasks like these, and no verdict may rest on it."""
_BLOCK = 100
"""Resamples that are drawn at once, so that memory stays small with thousands of tasks."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean reward of one arm less that of another over the same tasks, with its 95% interval, tasks resampled."""

    mean: float
    low: float
    high: float
    wins: int
    """Tasks on which the one arm is better."""
    losses: int
    ties: int


def paired_difference(by_task: NDArray[np.float64], seed: int) -> Difference:
    """The mean of per-task differences, shape (tasks,), with a percentile bootstrap over tasks (Efron 1979)."""
    rng, count = np.random.default_rng(seed), len(by_task)
    blocks = [by_task[rng.integers(count, size=(_BLOCK, count))].mean(axis=1) for _ in range(BOOTSTRAP // _BLOCK)]
    low, high = np.percentile(np.concatenate(blocks), [2.5, 97.5])
    wins, losses = int((by_task > 0).sum()), int((by_task < 0).sum())
    return Difference(float(by_task.mean()), float(low), float(high), wins, losses, len(by_task) - wins - losses)
