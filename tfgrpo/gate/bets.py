"""The gate's bet: how much of its wealth is staked on the next pass, from what earlier passes have shown. Pure.

`e_process` says what the bets add up to, and why they prove something; where there is but one look, a test stands in.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import comb, inf, sqrt

import numpy as np
from numpy.typing import NDArray

BET_CAP = 0.5
"""Largest bet; below 1, so that no pass can ruin the bettor."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What is taken for known of a statistic d before the first pass; a wrong guess costs power, never validity."""

    mean: float
    """In reward units."""
    square: float
    """The mean of d^2 that goes with it."""
    pairs: int
    """How many pairs the guess weighs as much as."""


REWARDS = Guess(0.07, 0.35, 200)
"""Of the difference of two rewards."""
LIKELIHOOD = Guess(0.04, 0.06, 100)
"""Of the likelihood-ratio statistic (`likelihood`), which spreads far less."""
_FLIPS = 10_000
"""Random signs behind a chance that cannot be counted."""


def shrunk(pairs: int, total: float, squares: float, guess: Guess = REWARDS) -> tuple[float, float]:
    """Means of d and d^2 over that many pairs with these sums, shrunk towards the guess."""
    weight = guess.pairs + pairs
    return (guess.pairs * guess.mean + total) / weight, (guess.pairs * guess.square + squares) / weight


def next_bet(pairs: int, total: float, squares: float, guess: Guess = REWARDS) -> float:
    """lambda = m / q, within [0, BET_CAP]: the bet under which wealth grows fastest, to second order.

    It may depend on earlier passes only.
    """
    mean, square = shrunk(pairs, total, squares, guess)
    return min(BET_CAP, max(0.0, mean / square))


def chance_of_one_look(gains: NDArray[np.float64]) -> float:
    """P(a sum of gains as large, had the sign of each been a coin's), for differences of one pass, shape (T,).

    A single look leaves nothing to bet by, and a test is worth more there: the sign-flip test, which is the exact sign
    test where rewards are 0 or 1, and elsewhere is drawn (Fisher 1935).
    """
    sizes = np.abs(gains[gains != 0])
    if not len(sizes):
        return 1.0
    if np.all(sizes == sizes[0]):
        return sign_test(int((gains > 0).sum()), len(sizes))
    signs = np.random.default_rng(len(sizes)).integers(0, 2, (_FLIPS, len(sizes))) * 2 - 1
    return float(1 + ((signs @ sizes) >= gains.sum() - 1e-12).sum()) / (1 + _FLIPS)


def weighed(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float, float]:
    """The mean of values that stand for so many each, shapes (n,), its standard error, and its skewness.

    With p the weights that sum to 1 and m the mean, the error squared is sum p^2 (x - m)^2 n / (n - 1), the skewness
    sum p^3 (x - m)^3 over (sum p^2 (x - m)^2)^1.5. Of equal weights these are s^2 / n, and that of a value over sqrt n.
    """
    shares = weights / weights.sum()
    mean = float(shares @ values)
    parts = shares * (values - mean)
    square, count = float(parts @ parts), len(values)
    return mean, sqrt(square * count / (count - 1)), float((parts**3).sum()) / square**1.5 if square else 0.0


def skewed_t(by_task: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> float:
    """Student's t of a mean over tasks, shape (T,), corrected for skewness: what it would be of a normal sample.

    With t the ratio of the mean to its standard error and s the skewness of the mean,

        g = t + s t^2 / 3 + s^2 t^3 / 27 + s / 6

    (Hall, 1992). Where most tasks gain a little and a few lose much, of those few T tasks hold too few by luck, and t
    alone is too sure of itself. `weights`: how many tasks each stands for; None: one.
    """
    mean, error, s = weighed(by_task, np.ones(len(by_task)) if weights is None else weights)
    if not error:
        return inf if mean > 0 else -inf
    t = mean / error
    return t + s * t**2 / 3 + s**2 * t**3 / 27 + s / 6


@lru_cache(maxsize=65_536)
def sign_test(wins: int, decided: int) -> float:
    """P(that many wins or more) of so many fair coins."""
    return float(sum(comb(decided, count) for count in range(wins, decided + 1)) / 2**decided)
