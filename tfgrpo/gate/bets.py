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


def skewed_t(by_task: NDArray[np.float64]) -> float:
    """Student's t of a mean over tasks, shape (T,), corrected for skewness: what it would be of a normal sample.

    With t the ratio of the mean to its standard error and s the skewness,

        g = t + s t^2 / (3 sqrt T) + s^2 t^3 / (27 T) + s / (6 sqrt T)

    (Hall, 1992). Where most tasks gain a little and a few lose much, of those few T tasks hold too few by luck, and t
    alone is too sure of itself.
    """
    count, spread = len(by_task), float(by_task.std(ddof=1))
    if not spread:
        return inf if by_task[0] > 0 else -inf
    t = float(by_task.mean()) * sqrt(count) / spread
    skew = float(((by_task - by_task.mean()) ** 3).mean()) / float(by_task.std()) ** 3
    return t + skew * t**2 / (3 * sqrt(count)) + skew**2 * t**3 / (27 * count) + skew / (6 * sqrt(count))


@lru_cache(maxsize=65_536)
def sign_test(wins: int, decided: int) -> float:
    """P(that many wins or more) of so many fair coins."""
    return float(sum(comb(decided, count) for count in range(wins, decided + 1)) / 2**decided)
