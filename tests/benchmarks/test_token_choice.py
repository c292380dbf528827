"""The benchmark of the choice: what its simulated worlds are worth, and which limits it names."""

from dataclasses import replace

import pytest

from benchmarks.token_choice import WORLDS, Row, missed, run

BY_NAME = {world.name: world for world in WORLDS}
COMMON = "words that are never right are common"


@pytest.mark.parametrize("told", [True, False])
def test_what_all_tasks_gain_by_is_kept_and_luck_is_worth_nothing(told: bool) -> None:
    kept, worth = run(BY_NAME[COMMON], 0, told=told)
    assert kept
    assert worth > 0.2
    assert run(BY_NAME["rewards are luck"], 0, told=told)[1] == 0


def test_each_limit_that_is_missed_is_named() -> None:
    good = Row(COMMON, 100, learned=0.3, kept=95, chosen=0.29, worse=0, by_chance=95)
    costly = replace(good, name="to lean to a label hurts", learned=-0.02, chosen=-0.02)
    assert missed([good]) == []
    assert missed([costly]) == ["to lean to a label hurts: costs 2.0%"]
    assert missed([replace(costly, name="three of four in training only")]) == [], "no choice on training can see that"
    assert missed([replace(good, kept=80)]) == [f"{COMMON}: kept too rarely"]
