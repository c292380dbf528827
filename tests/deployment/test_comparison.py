"""The bet on feedback: what counts, what is exact about it, and what it finds in simulated worlds."""

from itertools import product
from math import exp, log

import numpy as np
import pytest

from tfgrpo.deployment.comparison import (
    HARM_LEVEL,
    LEAST_GAIN,
    Blocks,
    Heard,
    canary_level,
    compared_in_use,
    differences,
    drifted,
    first_of_keys,
    wager,
)


def world(seed: int, count: int, share: float, *, tried: float, control: float) -> list[Heard]:
    """Feedback of 0 or 1 on so many calls of different keys, at two rates."""
    draws = np.random.default_rng(seed).random((count, 2))
    return [
        Heard(bool(arm < share), str(place), float(luck < (tried if arm < share else control)))
        for place, (arm, luck) in enumerate(draws)
    ]


def test_without_a_difference_the_bet_keeps_its_worth_exactly_and_is_as_rarely_high_as_its_level_says() -> None:
    found = [wager(gains) for gains in product((-1.0, 0.0, 1.0), repeat=8)]
    assert float(np.mean([exp(one.log_e) for one in found])) == pytest.approx(1.0, abs=1e-12)
    for level in (0.9, 0.5, 0.3, 0.1):
        assert np.mean([one.decides(level) for one in found]) <= level


def test_what_was_once_enough_stays_enough() -> None:
    found = wager([1.0] * 20 + [-1.0] * 20)
    assert found.log_e < found.highest == max(found.path)
    assert found.decides(1 / found.e_value)


def test_the_first_feedback_of_a_key_counts_and_no_other() -> None:
    loud = [Heard(True, "loud", 1.0), *(Heard(True, "loud", 1.0) for _ in range(500))]
    others = [Heard(place % 2 == 0, f"{place}", 0.5) for place in range(20)]
    assert len(first_of_keys([*loud, *others])) == 21
    found = compared_in_use([*loud, *others], Blocks.at(0.5))
    assert (found.tried, found.control, found.pairs) == (11, 10, 10)
    assert found.benefit.e_value < 2


def test_blocks_are_as_large_as_the_shares_say_and_come_in_order() -> None:
    assert [Blocks.at(share) for share in (0.5, 0.2, 0.05, 0.8)] == [
        Blocks(1, 1), Blocks(1, 4), Blocks(1, 19), Blocks(4, 1)
    ]  # fmt: skip
    heard = [Heard(False, f"c{n}", reward) for n, reward in enumerate((0.0, 1.0, 1.0, 1.0, 0.5))]
    heard += [Heard(True, "a", 1.0), Heard(True, "b", 0.25), Heard(True, "c", 9.0)]
    assert differences(heard, Blocks(1, 2)).tolist() == [0.5, -0.75]
    assert differences([], Blocks(1, 2)).tolist() == []


def test_all_canaries_of_a_namespace_together_spend_alpha() -> None:
    levels = [canary_level(0.05, number) for number in range(1, 20_001)]
    assert levels[0] == pytest.approx(0.0304, abs=1e-4)
    assert 0.0499 < sum(levels) < 0.05


def test_a_harmful_canary_is_told_and_a_good_one_is_not_taken_for_one() -> None:
    blocks, level = Blocks.at(0.2), canary_level(0.05, 1)
    harmful = [compared_in_use(world(seed, 1_000, 0.2, tried=0.35, control=0.5), blocks) for seed in range(40)]
    assert sum(one.harm.decides(HARM_LEVEL) for one in harmful) >= 37
    assert not any(one.benefit.decides(level) for one in harmful)
    better = [compared_in_use(world(seed, 2_000, 0.2, tried=0.65, control=0.5), blocks) for seed in range(20)]
    assert sum(one.benefit.decides(level) for one in better) >= 18
    assert better[0].difference == pytest.approx(0.15, abs=0.08)


def test_the_hour_may_change_the_worth_of_both_sides() -> None:
    """All is well in the first half, and nothing in the second: no fixed mean lies between the sides, the pairs do."""
    blocks = Blocks.at(0.2)
    good, bad = (world(1, 2_000, 0.2, tried=rate, control=rate) for rate in (0.95, 0.05))
    heard = [*good, *(Heard(one.tried, f"late {one.key}", one.reward) for one in bad)]
    found = compared_in_use(heard, blocks)
    assert max(found.benefit.e_value, found.harm.e_value) < 20


def test_a_live_prior_that_stops_beating_none_is_found_out_after_any_time_that_it_was_good() -> None:
    blocks = Blocks.at(0.95)
    good = world(3, 6_000, 0.95, tried=0.7, control=0.5)
    ended = [Heard(one.tried, f"late {one.key}", one.reward) for one in world(4, 9_000, 0.95, tried=0.4, control=0.5)]
    assert not drifted(good, blocks)[0]
    found, bet = drifted([*good, *ended], blocks)
    assert found
    assert bet.highest > log(1_000)
    assert bet.path[150] < log(1_000)
    assert LEAST_GAIN > 0
