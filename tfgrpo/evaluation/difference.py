"""How much better one arm is than another on the same tasks, with an interval over tasks. Pure."""

from collections.abc import Sequence
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
_ROUNDING = 1e-6
"""How far a number of rollouts may be from a whole one."""
_HALVINGS = 40


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

    @property
    def few(self) -> bool:
        """Whether there are too few tasks for the interval to say anything."""
        return self.wins + self.losses + self.ties < FEWEST

    @property
    def around(self) -> str:
        """Its interval in points, for people, where it was made at 95%."""
        told = f"95% interval {100 * self.low:+.1f} to {100 * self.high:+.1f}"
        return "too few tasks for an interval" if self.few else told


def paired_difference(
    by_task: NDArray[np.float64], confidence: float = 0.95, rollouts: int | Sequence[int] = 1
) -> Difference:
    """The mean of per-task differences, shape (tasks,), with Student's t interval over the task means (Student 1908).

    Each task counts as one, however often it was tried: that clusters by task. The interval stays within [-1, 1], which
    is all of it for a single task. (A percentile bootstrap of 5 to 12 tasks covers 83 to 92% where it says 95%.) A few
    alike by luck look like certainty to Student's t, so two cases have their own. Where each task is won, lost or tied,
    as by one rollout that is right or wrong, the interval is that of `_of_counts`, and all of [-1, 1] for fewer tasks
    than FEWEST: by two that are won nothing is refuted, since an arm that is worse wins both often enough. Where
    differences are those of so many `rollouts` of an arm (at each task, or task by task) that are right or wrong, their
    spread is at least that of tasks which are alike but for one rollout. How often each covers, and why none can cover
    93 to 97% of 5 to 12 single rollouts whatever the tasks are: docs/benchmarks.md, "The gate, on simulated arms".
    """
    count, mean = len(by_task), float(by_task.mean())
    wins, losses = int((by_task > 0).sum()), int((by_task < 0).sum())
    low, high = -1.0, 1.0
    if ((by_task == 0) | (np.abs(by_task) == 1)).all():
        low, high = _of_counts(wins, losses, count, confidence) if count >= FEWEST else (low, high)
    elif count > 1:
        made = np.asarray(rollouts, float)
        whole = np.abs(by_task * made - np.rint(by_task * made)).max() < _ROUNDING
        least = float(np.mean(1 / made)) / sqrt(count) if whole else 0.0
        spread = max(least, float(by_task.std(ddof=1)))
        reach = student_quantile(0.5 + confidence / 2, count - 1) * spread / sqrt(count)
        low, high = mean - reach, mean + reach
    return Difference(mean, max(-1.0, low), min(1.0, high), wins, losses, count - wins - losses)


@lru_cache(maxsize=4_096)
def _of_counts(wins: int, losses: int, count: int, confidence: float) -> tuple[float, float]:
    """All effects d = P(won) - P(lost) that these counts do not refute: the score interval of Tango (1998), with n - 1.

    With q the likeliest P(lost) of that d, the root of 2 n q^2 + (d (2 n - wins + losses) - wins - losses) q
    - losses d (1 - d) = 0, the difference n d - (wins - losses) has variance n (2 q + d (1 - d)). Tango's own covers
    97 to 100% of 5 tasks; with n - 1 in place of n there it covers 92 to 100% of 5, and 93 to 98% of 24 and 48.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    return -_largest(losses, wins, count, z), _largest(wins, losses, count, z)


def _largest(wins: int, losses: int, count: int, z: float) -> float:
    """The largest d that is not refuted; every one from the estimate up to it is not."""
    low, high = (wins - losses) / count, 1.0
    for _ in range(_HALVINGS):
        d = (low + high) / 2
        half = (d * (2 * count - wins + losses) - wins - losses) / 2
        lost = (sqrt(max(0.0, half**2 + 2 * count * losses * d * (1 - d))) - half) / (2 * count)
        away, variance = count * d - wins + losses, (count - 1) * (2 * lost + d * (1 - d))
        low, high = (d, high) if away**2 <= z**2 * variance else (low, d)
    return high


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
