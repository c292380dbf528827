"""What each experience of the live prior is worth in use: it is left out of a small share of calls at random. Pure.

In that share a call gets the prior less one of M sets of its experiences (`serve/drawing.py`), in which each is left
out half the time, whatever else is; the draw and its probability are written down with the call. For call i with
reward r_i, and z_ik = 1 where experience k was shown,

    r_i = a + sum_k beta_k z_ik + noise,      weight w_i = f(set of i) / p_i

f is how often that set was drawn in all, p_i the probability of the draw. While shares stay, every weight is 1; where
they were changed, weights undo that: otherwise a share that grew in a bad week would look like experiences that help
(inverse propensity, stabilised: Robins, Hernan and Brumback, 2000). Errors are clustered by key (the sandwich of Liang
and Zeger, 1986), so that one key that says much does not count as many.

The interval may be looked at whenever one likes: for a standard error s from n keys,

    reach = s sqrt((1 + 1 / (n rho^2)) log((1 + n rho^2) / alpha^2))

(asymptotic confidence sequences: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, 2024), narrowest around SHARPEST
keys; alpha is divided by the number of experiences.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

SHARPEST = 500
"""Keys for which the interval is as narrow as it can be."""
FEWEST_KEYS = 20
"""With an experience, and without it, before anything is said of it."""


@dataclass(frozen=True, slots=True)
class LeftOutCall:
    """A call that was fed back, and what chance had left out of its prior."""

    left_out: frozenset[str]
    """Ids of experiences."""
    probability: float
    """Of just that draw."""
    key: str
    reward: float


@dataclass(frozen=True, slots=True)
class EffectInUse:
    """What an experience changes in the mean reward of calls, with an interval for any number of looks."""

    experience: str
    mean: float
    low: float
    high: float
    keys: int
    """That gave feedback on calls without it."""

    @property
    def hurts(self) -> bool:
        """Whether the whole interval lies below zero."""
        return self.high < 0


def effects_in_use(
    calls: Sequence[LeftOutCall], experiences: Sequence[str], alpha: float = 0.05
) -> tuple[EffectInUse, ...]:
    """The effect of each experience (ids, all of one prior) of which enough is known, in the order given."""
    told = [one for one in experiences if _is_known(calls, one)]
    if not told:
        return ()
    shown = np.array([[1.0, *(one not in call.left_out for one in told)] for call in calls])
    means, errors, keys = _regression(shown, np.array([call.reward for call in calls]), _weights(calls), calls)
    found = []
    for place, experience in enumerate(told, 1):
        reach = errors[place] * _widening(keys, alpha / len(experiences))
        without = len({call.key for call in calls if experience in call.left_out})
        mean = float(means[place])
        found.append(EffectInUse(experience, mean, mean - reach, mean + reach, without))
    return tuple(found)


def to_retire_in_use(effects: Collection[EffectInUse]) -> EffectInUse | None:
    """The one that hurts most, if any does for sure: one at a time, as the others are worth something else without."""
    return min((one for one in effects if one.hurts), key=lambda one: (one.high, one.experience), default=None)


def _is_known(calls: Sequence[LeftOutCall], experience: str) -> bool:
    sides = [{call.key for call in calls if (experience in call.left_out) is out} for out in (True, False)]
    return min(map(len, sides)) >= FEWEST_KEYS


def _weights(calls: Sequence[LeftOutCall]) -> NDArray[np.float64]:
    """f(set) / p of each call, shape (n,)."""
    often = Counter(call.left_out for call in calls)
    return np.array([often[call.left_out] / len(calls) / call.probability for call in calls])


def _regression(
    shown: NDArray[np.float64], rewards: NDArray[np.float64], weights: NDArray[np.float64], calls: Sequence[LeftOutCall]
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Weighted least squares: the coefficients, their standard errors clustered by key, and the number of keys."""
    inverse = np.linalg.pinv(shown.T @ (weights[:, None] * shown))
    means = inverse @ shown.T @ (weights * rewards)
    names, places = np.unique([call.key for call in calls], return_inverse=True)
    scores = np.zeros((len(names), shown.shape[1]))
    np.add.at(scores, places, shown * (weights * (rewards - shown @ means))[:, None])
    freedom = len(names) / max(1, len(names) - shown.shape[1])
    variance = inverse @ (scores.T @ scores) @ inverse * freedom
    return means, np.sqrt(np.clip(np.diag(variance), 0.0, None)), len(names)


def _widening(keys: int, alpha: float) -> float:
    """By which a standard error becomes the reach of an interval that holds at every look."""
    scale = -2 * log(alpha) + log(1 - 2 * log(alpha))
    times = keys * scale / SHARPEST
    return sqrt((1 + 1 / times) * log((1 + times) / alpha**2))
