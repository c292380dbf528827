"""The gate of offsets: exact where rewards are 0 or 1, a bet where they are graded, and never on luck."""

import numpy as np
import pytest

from tests.tables import each
from tfgrpo.gate.offsets import evidence_of, offsets_outcome


@each(("won", "lost", "p"), [(6, 0, 1 / 64), (5, 0, 1 / 32), (0, 0, 1.0), (7, 1, 9 / 256), (1, 7, 255 / 256)])
def test_the_sign_test_is_exact(won: int, lost: int, p: float) -> None:
    differences = np.array([1.0] * won + [-1.0] * lost + [0.0] * 9)
    assert evidence_of(differences).evidence == pytest.approx(1 / p)


def test_six_wins_promote_and_five_do_not() -> None:
    live = np.zeros(12)
    outcomes = [offsets_outcome((np.arange(12) < won).astype(float), live, 0.025) for won in (5, 6)]
    assert [one.verdict for one in outcomes] == ["rejected", "promoted"]
    assert "6 tasks won and 0 lost, p = 0.0156" in outcomes[1].reason
    assert outcomes[1].estimate == 0.5
    few = offsets_outcome(np.ones(4), np.zeros(4), 0.5)  # a level at which four wins would be enough
    assert (few.verdict, few.low, few.high) == ("rejected", None, None)
    assert "fewer than 5 tasks stand for no others" in few.reason


def test_nothing_is_promoted_on_luck() -> None:
    drawn = np.random.default_rng(0)
    for graded in (False, True):
        promoted = 0
        for _ in range(2_000):
            both = drawn.random((2, 30)) if graded else drawn.integers(0, 2, (2, 30)).astype(float)
            promoted += offsets_outcome(both[0], both[1], 0.05).verdict == "promoted"
        assert promoted <= 0.065 * 2_000


def test_graded_rewards_that_are_better_everywhere_are_promoted() -> None:
    assert offsets_outcome(np.full(20, 0.9), np.full(20, 0.4), 0.025).verdict == "promoted"
    assert offsets_outcome(np.full(20, 0.4), np.full(20, 0.9), 0.025).verdict == "rejected"
    assert offsets_outcome(np.zeros(0), np.zeros(0), 0.025).verdict == "rejected"
