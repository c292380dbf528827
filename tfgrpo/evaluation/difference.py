"""How much better one arm is than another on the same tasks, with an interval over tasks. Pure."""

from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, sin, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

FEWEST = 5
"""Tasks; fewer show nothing about tasks like these, and no verdict may rest on them."""
_NEARLY_NORMAL = 2_000
"""Degrees of freedom past which Student's t is taken for normal."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean reward of one arm less that of another over the same tasks, with its interval over tasks like these."""

    mean: float
    low: float
    high: float
    wins: int
    """Tasks on which the one arm is better."""
    losses: int
    ties: int


def paired_difference(by_task: NDArray[np.float64], confidence: float = 0.95) -> Difference:
    """The mean of per-task differences, shape (tasks,), with Student's t interval over the task means (Student 1908).

    Each task counts as one, however often it was tried: that clusters by task. The interval stays within [-1, 1], which
    is all of it for a single task. (A percentile bootstrap of 5 to 12 tasks covers 83 to 92% where it says 95%; this
    one covers 93 to 97% from 5 tasks on, given two rollouts a task or more: `benchmarks/gate.py`.) Where each task is
    won, lost or tied, as by one rollout that is right or wrong, a few alike by luck look like certainty, and Student's
    covers 85%: there it is that of `_of_single`, which covers 93 to 99% of the same simulated ones.
    """
    count, mean = len(by_task), float(by_task.mean())
    wins, losses = int((by_task > 0).sum()), int((by_task < 0).sum())
    low, high = -1.0, 1.0
    if count > 1 and np.isin(by_task, (-1.0, 0.0, 1.0)).all():
        low, high = _of_single(wins, losses, count, confidence)
    elif count > 1:
        reach = student_quantile(0.5 + confidence / 2, count - 1) * float(by_task.std(ddof=1)) / sqrt(count)
        low, high = mean - reach, mean + reach
    return Difference(mean, max(-1.0, low), min(1.0, high), wins, losses, count - wins - losses)


def _of_single(wins: int, losses: int, count: int, confidence: float) -> tuple[float, float]:
    """The interval of Agresti and Min (2005): as if half a task more were won, half a one lost, and one more tied."""
    middle, more = (wins - losses) / (count + 2), count + 2
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * sqrt(wins + losses + 1 - middle**2 * more) / more
    return middle - reach, middle + reach


@lru_cache(maxsize=4_096)
def student_quantile(chance: float, freedom: int) -> float:
    """The value that Student's t with that many degrees of freedom stays below with a chance above 1/2."""
    if freedom > _NEARLY_NORMAL:
        return NormalDist().inv_cdf(chance)
    low, high = 0.0, pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 2 * chance - 1 else (low, middle)
    return sin(low) / cos(low) * sqrt(freedom)


def _within(angle: float, freedom: int) -> float:
    """P(|t| < tan(angle) sqrt(freedom)): the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    square, odd = cos(angle) ** 2, freedom % 2
    total, term = 0.0, cos(angle) if odd else 1.0
    for k in range(odd, freedom - odd, 2):
        total += term
        term *= square * (k + 1) / (k + 2)
    return 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total
