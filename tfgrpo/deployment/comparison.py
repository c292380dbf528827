"""Whether one way to answer is worth more than another, by feedback as it comes: bets, looked at after each. Pure.

Calls are dealt by their keys: a share of the keys gets the tried prior, the others the control. Feedback comes late, in
any order, and from some calls only. What counts is **the first feedback of each key**: calls of one key (a user, a
conversation) are alike, and one key that says much must not decide alone. A call without a key is a key of its own.

**Pairs.** In the order of their coming, block j of the tried prior's feedback is held against block j of the control's:
one of the tried prior and as many of the control as their shares say (`Blocks`, fixed when the trial begins). With
d_j in [-1, 1] the difference of the means of the two blocks, a bet lambda_j in [0, BET_CAP], fixed from earlier blocks
alone, is renewed for each:

    e_J = prod_{j <= J} (1 + lambda_j d_j)

**Why that is valid.** Which key gets which prior is a coin, so the feedback of both is drawn from the same keys, in the
same hours, however few of them give any. If the tried prior is worth no more, E[d_j | what came before] <= 0, so e_J is
a supermartingale, and by Ville's inequality the chance that it *ever* reaches 1 / level is at most the level: it may be
looked at after each feedback. Taking blocks side by side, and not the difference from one fixed mean, lets the worth of
both move with the hour or with what is asked. The share of calls that give feedback may differ between the two, and is
not part of the claim: it is about the calls that are fed back. What is assumed: feedback that is missing is not missing
*for its value* under one of the two more than under the other.

A canary may be tried again and again: `canary_level` spends alpha over all of them. Harm is the same bet with the sign
turned, at a level of its own: it takes nothing of alpha, since a canary that is rolled back promotes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log, log1p, pi

import numpy as np
from numpy.typing import NDArray

from ..gate.bets import Guess, next_bet

GAIN = Guess(0.1, 0.3, 40)
"""Of the difference of two blocks, before the first."""
HARM = Guess(0.2, 0.3, 40)
"""Of what a live prior has come to lose: small losses may take their time."""
HARM_LEVEL = 0.25
"""Chance at most that a canary which hurts nothing is rolled back as harmful; that costs a candidate, and no caller
anything."""
_LARGEST_LOG = 700.0
"""Of a number that a float holds."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Feedback on a call of one of the two that are compared."""

    tried: bool
    """Whether the call had the tried prior; else the control."""
    key: str
    """For whom it was made; an id of its own where that is not known."""
    reward: float


@dataclass(frozen=True, slots=True)
class Blocks:
    """How much feedback of each side makes one pair."""

    tried: int
    control: int

    @classmethod
    def at(cls, share: float) -> "Blocks":
        """Those of a trial in which the tried prior has this share of the two sides' calls, above 0 and below 1."""
        if share <= 0.5:
            return cls(1, max(1, round((1 - share) / share)))
        return cls(max(1, round(share / (1 - share))), 1)


@dataclass(frozen=True, slots=True)
class Wager:
    """What a bet of 1 has become."""

    log_e: float = 0.0
    """Natural logarithm of the e-value now."""
    highest: float = 0.0
    """The largest that it has been: what is held against a level."""
    path: tuple[float, ...] = ()
    """After each pair, for people to see."""

    @property
    def e_value(self) -> float:
        """Decides from 1 / level on."""
        return exp(min(self.highest, _LARGEST_LOG))

    def decides(self, level: float) -> bool:
        """Whether the chance of this, had there been nothing, is at most the level."""
        return self.highest >= log(1 / level)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is known of the tried prior against the control."""

    tried: int
    """Keys that gave feedback on it."""
    control: int
    pairs: int
    difference: float
    """Of the mean reward, over the pairs; 0 while there is none."""
    benefit: Wager
    harm: Wager


def first_of_keys(heard: Iterable[Heard]) -> tuple[Heard, ...]:
    """The feedback that counts: the first of each key, in the order given."""
    firsts: dict[str, Heard] = {}
    for one in heard:
        firsts.setdefault(one.key, one)
    return tuple(firsts.values())


def differences(heard: Sequence[Heard], blocks: Blocks) -> NDArray[np.float64]:
    """d of each pair that is whole, shape (J,), in reward units, of feedback in the order of its coming."""
    tried = np.clip([one.reward for one in heard if one.tried], 0.0, 1.0)
    control = np.clip([one.reward for one in heard if not one.tried], 0.0, 1.0)
    count = min(len(tried) // blocks.tried, len(control) // blocks.control)
    return _means(tried, blocks.tried, count) - _means(control, blocks.control, count)


def _means(rewards: NDArray[np.float64], size: int, count: int) -> NDArray[np.float64]:
    """Of so many blocks of that size, shape (count,)."""
    means: NDArray[np.float64] = rewards[: count * size].reshape(count, size).mean(axis=1)
    return means


def wager(gains: Iterable[float], guess: Guess = GAIN) -> Wager:
    """The bet that gains, each in [-1, 1], are above 0 on average, in their order."""
    total = squares = log_e = highest = 0.0
    path = []
    for count, gain in enumerate(map(float, gains)):
        log_e += log1p(next_bet(count, total, squares, guess) * gain)
        total, squares = total + gain, squares + gain * gain
        highest = max(highest, log_e)
        path.append(log_e)
    return Wager(log_e, highest, tuple(path))


def compared_in_use(heard: Iterable[Heard], blocks: Blocks) -> Comparison:
    """What feedback, in the order of its coming, says of the tried prior."""
    counted = first_of_keys(heard)
    gains = differences(counted, blocks)
    tried = sum(one.tried for one in counted)
    mean = float(gains.mean()) if len(gains) else 0.0
    return Comparison(tried, len(counted) - tried, len(gains), mean, wager(gains), wager(-gains, harm_guess(blocks)))


def harm_guess(blocks: Blocks) -> Guess:
    """What is taken for known of a canary's harm: 13 points, and the spread that means of such blocks have at most.

    It outweighs what some hundred pairs show: a bet that follows those is small just when chance hid the harm at first.
    Harms of 10 to 20 points are found most often within 200 pairs by a bet that is a little less than the one under
    which wealth grows fastest.
    """
    spread = 0.25 * (1 / blocks.tried + 1 / blocks.control)
    return Guess(0.13, 0.13**2 + spread, 1_000)


def canary_level(alpha: float, number: int) -> float:
    """What canary `number` (from 1) of a namespace may spend of alpha: 6 / (pi n)^2 of it, so all together alpha."""
    return alpha * 6 / (pi * number) ** 2


# Drift

LEAST_GAIN = 0.02
"""In reward units: a prior that gains less than this over none is not worth its tokens."""
FALSE_ALARMS = 10_000
"""Pairs until a prior that gains just LEAST_GAIN is taken for one that gains less, on average at least."""


def drifted(heard: Iterable[Heard], blocks: Blocks) -> tuple[bool, Wager]:
    """Whether the live prior (tried) no longer gains LEAST_GAIN over none (control), and the bet that it does not.

    A bet that begins anew whenever it falls below 1, since what ends may have been good for long:
    M_j = max(M_{j-1}, 1) (1 + lambda_j (LEAST_GAIN - d_j)). While the gain is LEAST_GAIN or more, the mean number of
    pairs until M reaches FALSE_ALARMS is at least that (Shin, Ramdas and Rinaldo, 2023).
    """
    gains = LEAST_GAIN - differences(first_of_keys(heard), blocks)
    count, total, squares, log_e, highest = 0, 0.0, 0.0, 0.0, 0.0
    path = []
    for gain in (gains / (1 + LEAST_GAIN)).tolist():
        if log_e <= 0:
            count, total, squares, log_e = 0, 0.0, 0.0, 0.0
        log_e += log1p(next_bet(count, total, squares, HARM) * gain)
        count, total, squares = count + 1, total + gain, squares + gain * gain
        highest = max(highest, log_e)
        path.append(log_e)
    return highest >= log(FALSE_ALARMS), Wager(log_e, highest, tuple(path))
