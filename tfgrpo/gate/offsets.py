"""The gate of decisions: whether what is decided under a candidate is better, on held-out tasks. Pure.

Offsets change nothing that is sent: there both arms share the same answers, at no call of the gate's. Each task is
looked at once: it is won, lost or even. Where rewards are 0 or 1 the test is the exact sign test (McNemar's): with w
tasks won and l lost, under the null that a task is as often lost as won,

    p = P(Binomial(w + l, 1/2) >= w),

and the candidate goes live where p is at most what this trial may spend of alpha. Six won and none lost are the fewest
at the first trial of alpha 0.05, which has a level of 0.025. Graded rewards are tested by a bet over the tasks,
averaged over its size: with d_t the difference of task t, e = mean over lambda in (0, 1) of prod_t (1 + lambda d_t) has
an expectation of at most 1 where the mean effect over tasks like these is at most 0 (tasks are independent), so that
e >= 1 / level happens with at most that chance.
"""

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from ..evaluation.difference import FEWEST, paired_difference
from ..text import counted
from ..trials import Reached, TrialOutcome

_BETS = (np.arange(50) + 0.5) / 50
"""Sizes of the bet, whose outcomes are averaged."""


@dataclass(frozen=True, slots=True)
class OffsetTest:
    """What the test came to; it passes where `evidence` reaches 1 / level."""

    evidence: float
    """1 / p of the sign test, or the e-value of the bet."""
    name: str
    """Of the test, with its figures."""


def evidence_of(differences: NDArray[np.float64]) -> OffsetTest:
    """The test of differences of reward, shape (tasks,), candidate less live."""
    won, lost = int((differences > 0).sum()), int((differences < 0).sum())
    if np.isin(differences, (-1.0, 0.0, 1.0)).all():
        p = sum(comb(won + lost, k) for k in range(won, won + lost + 1)) / 2 ** (won + lost)
        return OffsetTest(1 / p, f"exact sign test, {counted(won, 'task')} won and {lost} lost, p = {p:.3g}")
    with np.errstate(over="ignore"):
        e_value = float(np.exp(np.log1p(_BETS[:, None] * differences).sum(axis=1)).mean())
    return OffsetTest(e_value, f"a bet over tasks, {won} won and {lost} lost, e-value {e_value:.3g}")


def offsets_outcome(candidate: NDArray[np.float64], live: NDArray[np.float64], level: float) -> TrialOutcome:
    """The verdict on rewards of both arms on the same tasks, shapes (tasks,)."""
    if not len(candidate):
        return TrialOutcome("rejected", "not promoted: no validation task was answered", 1, 1.0, 0.0, None, None)
    differences = candidate - live
    found, gain = evidence_of(differences), paired_difference(differences)
    passed = found.evidence >= 1 / level and not gain.few
    figures = f"{found.name}, {level:.3g} needed" if "p =" in found.name else f"{found.name}, {1 / level:.3g} needed"
    told = f"decided {100 * float(live.mean()):.1f} -> {100 * float(candidate.mean()):.1f} points"
    claim = "it decides better on tasks like these"
    what = f"promoted: {claim}" if passed else f"not promoted: it was not shown that {claim}"
    figures += f"; fewer than {FEWEST} tasks stand for no others" if gain.few else ""
    reason = f"{what} ({told} on {counted(len(candidate), 'task')}; {figures})"
    reached: Reached = "promoted" if passed else "rejected"
    low, high = (gain.low, gain.high) if not gain.few else (None, None)
    return TrialOutcome(reached, reason, 1, found.evidence, gain.mean, low, high)
