"""The benchmark of triggers in small, on its SIMULATED policy."""

from pathlib import Path

from benchmarks.kept import KeptCells
from benchmarks.triggers import ARMS, coins_of, kept_run, rate_of, run, solved
from tfgrpo.evaluation.moment_arms import worth_of_a_moment


def test_the_right_moment_beats_random_ones_and_costs_less_than_always() -> None:
    triggered = run("triggered", 20, 8)
    rate = rate_of(triggered)
    arms = {arm: run(arm, 20, 8, rate) for arm in ("frozen", "always on", "random timing")}
    gains = {arm: solved(found).mean() - solved(arms["frozen"]).mean() for arm, found in arms.items()}
    gain = solved(triggered).mean() - solved(arms["frozen"]).mean()
    assert gain > 0.8 * gains["always on"] > 0.1
    assert gain > gains["random timing"] + 0.1
    tokens = {arm: sum(one.tokens for of in found for one in of) for arm, found in arms.items()}
    assert sum(one.tokens for of in triggered for one in of) < 0.3 * tokens["always on"]


def test_other_signs_of_the_moment_beat_random_ones_too() -> None:
    by_chance = solved(run("random timing", 10, 8, 0.2)).mean()
    assert {arm for arm in ARMS[5:] if solved(run(arm, 10, 8)).mean() > by_chance} == {*ARMS[5:]}


def test_a_coin_at_each_moment_says_what_the_moment_is_worth() -> None:
    worth = worth_of_a_moment(coins_of(run("coin", 20, 8)))
    assert worth is not None
    assert worth.low > 0


def test_an_arm_that_was_kept_tells_the_same(tmp_path: Path) -> None:
    made, again = (kept_run(KeptCells(tmp_path / "cells.jsonl"), "coin", 3, 2) for _ in range(2))
    assert coins_of(made) == coins_of(again) == coins_of(run("coin", 3, 2))
    assert [[one.tokens for one in of] for of in again] == [[one.tokens for one in of] for of in made]
