"""The curves that the mean reward of a run may follow, each as likely as the steps that were seen make it. Pure.

R(C) = R0 + (A - R0) / (1 + (Cmid / C)^B), on a grid of its four numbers: `forecast.py` says what they are.
"""

from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import NDArray

_QUANTILES = (0.1, 0.5, 0.9)
_MISFIT = 0.01
"""Standard deviation of any run about the curve: none follows it better than to a point."""
_ABOUT = 1.2816 * _MISFIT
"""What that adds to either side of an 80% interval, and no grid is finer."""
_TEMPER = 2 / 3
"""Power of the likelihood; with 1, 80% intervals held 69 to 79% of simulated learners (`benchmarks/forecast.py`)."""

_MIDDLES = 60
"""Values of Cmid: with 20 the 80% intervals of steep curves (B = 4) that level off held 43%, with 60 88%."""
_SUDDEN = 7
"""Values of B."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is to be expected: the median, and the bounds between which it is in 4 of 5 cases."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Every curve of the grid, flattened to shape (N,), and its weight by the steps that were seen."""

    start: NDArray[np.float64]
    top: NDArray[np.float64]
    middle: NDArray[np.float64]
    sudden: NDArray[np.float64]
    weight: NDArray[np.float64]

    @classmethod
    def of(cls, rollouts: NDArray[np.float64], rewards: NDArray[np.float64], error: float, total: int) -> "Curves":
        """R0 around the first step, A from R0 to 1 (small gains in finer steps), B in [.5, 4], Cmid log-uniform.

        `rollouts` were made before each step, shape (K,), and `total` in all; `error` is that of one mean reward.
        """
        error = float(np.hypot(error, _MISFIT))
        starts = np.unique(np.clip(rewards[0] + error * np.linspace(-3, 3, 9), 0, 1))
        middles = np.geomspace(rollouts[1] / 4, 8 * total, _MIDDLES)
        grid = np.meshgrid(starts, np.linspace(0, 1, 51) ** 2, middles, np.geomspace(0.5, 4, _SUDDEN), indexing="ij")
        start, gain, middle, sudden = (axis.ravel() for axis in grid)
        flat = np.full(start.shape, 1 / start.size)
        curves = cls(start, start + gain * (1 - start), middle, sudden, flat)
        steps = zip(rollouts, rewards, strict=True)
        fit = np.sum([-np.square(curves.at(cost) - reward) / (2 * error**2) for cost, reward in steps], axis=0)
        weight = np.exp(_TEMPER * (fit - fit.max()))
        return cls(start, curves.top, middle, sudden, weight / weight.sum())

    def at(self, cost: float) -> NDArray[np.float64]:
        """R(cost) of every curve."""
        if cost == 0:
            return self.start
        each = _MIDDLES * _SUDDEN  # what is drawn last in `of` comes again for every start and top
        part = 1 / (1 + (self.middle[:each] / cost) ** self.sudden[:each])
        return self.start + ((self.top - self.start).reshape(-1, each) * part).ravel()

    def span(self, values: NDArray[np.float64]) -> Span:
        """What is to be expected of a reward that every curve has."""
        order = np.argsort(values)
        places = np.minimum(np.searchsorted(np.cumsum(self.weight[order]), _QUANTILES), len(order) - 1)
        low, median, high = values[order[places]].tolist()
        low, high = median - hypot(median - low, _ABOUT), median + hypot(high - median, _ABOUT)
        return Span(max(0.0, low), median, min(1.0, high))
