"""The benchmark of the race in small: the product's own race, on a simulated policy whose truth is known."""

import numpy as np
import pytest

from benchmarks.race import ARMS, WORLDS, SimulatedRace, mean_rates, raced, simulate, sureness

DRAWN, FEW, ONE = (list(WORLDS)[place] for place in (0, 2, 3))


def test_the_race_loses_less_to_the_best_arm_than_uniform_allocation_does() -> None:
    race, uniform = (simulate(rule, DRAWN, range(24)) for rule in ("race, 2 rounds a step", "uniform, plain means"))
    assert race.close >= 16  # of 24; the benchmark says how many are to be expected
    assert race.lost < uniform.lost


def test_a_lone_good_arm_is_found() -> None:
    assert simulate("race, 2 rounds a step", ONE, range(20)).close >= 18


def test_rollouts_go_to_the_arms_that_are_close_to_each_other() -> None:
    race = SimulatedRace(0, WORLDS[FEW])
    raced(race, 2)
    made = np.sum([indicators.sum(axis=0) for _, indicators, _ in race.tables], axis=0)
    good = race.truth > race.truth.max() - 0.1
    assert good.sum() == 3
    assert made[good].sum() > 0.5 * made.sum() == 240


def test_what_the_race_says_of_itself_is_counted() -> None:
    said = sureness(DRAWN, 0.2, range(4))
    assert said.runs == 4
    assert 0.8 <= said.covered / said.intervals <= 1
    assert 0 < said.said_overtaken < 4


@pytest.mark.parametrize(("centre", "mean"), [(0.5, 0.5), (0.0, 0.2 / np.sqrt(2 * np.pi)), (3.0, 1.0)])
def test_clipped_rates_have_the_mean_that_theory_says(centre: float, mean: float) -> None:
    assert mean_rates(np.array([centre]), 0.2)[0] == pytest.approx(mean, abs=1e-4)
    assert len(ARMS) == 12
