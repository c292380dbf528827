"""What experiences are worth in use: unbiased by shares that change, wide for few keys, narrow for many."""

from dataclasses import replace

import numpy as np
import pytest

from tfgrpo.deployment.effects import FEWEST_KEYS, LeftOutCall, effects_in_use, to_retire_in_use

IDS = ("exp_a", "exp_b", "exp_c")
SETS = [frozenset(one for place, one in enumerate(IDS) if row >> place & 1) for row in range(8)]
WORTH = dict(zip(IDS, (0.2, 0.0, -0.25), strict=True))


def world(seed: int, count: int, shares: tuple[float, float] = (0.5, 0.5), *, slump: float = 0.0) -> list[LeftOutCall]:
    """Rewards of 0 or 1; the share of calls that lack something, and what all calls are worth, change halfway."""
    random, calls = np.random.default_rng(seed), []
    for place in range(count):
        share, worse = (shares[1], slump) if place > count / 2 else (shares[0], 0.0)
        out = SETS[random.integers(8)] if random.random() < share else SETS[0]
        chance = share / 8 + (0 if out else 1 - share)
        mean = 0.6 - worse - sum(WORTH[one] for one in out)
        calls.append(LeftOutCall(out, chance, f"{place}", float(random.random() < mean)))
    return calls


def test_effects_are_found_and_the_one_that_hurts_is_to_be_retired() -> None:
    found = {one.experience: one for one in effects_in_use(world(1, 4_000), IDS)}
    for name, worth in WORTH.items():
        assert found[name].mean == pytest.approx(worth, abs=0.06)
        assert found[name].low < worth < found[name].high
    assert [name for name, one in found.items() if one.hurts] == ["exp_c"]
    worst = to_retire_in_use(tuple(found.values()))
    assert worst is not None
    assert worst.experience == "exp_c"
    assert to_retire_in_use([one for one in found.values() if not one.hurts]) is None


def test_a_share_that_grew_in_a_bad_week_makes_no_experience_look_good() -> None:
    calls = [call for seed in range(3) for call in world(seed, 4_000, (0.05, 0.5), slump=0.3)]
    calls = [replace(call, key=f"{place}") for place, call in enumerate(calls)]
    weighted = {one.experience: one.mean for one in effects_in_use(calls, IDS)}
    unweighted = {one.experience: one.mean for one in effects_in_use([replace(c, probability=1.0) for c in calls], IDS)}
    assert weighted["exp_b"] == pytest.approx(0.0, abs=0.07)
    assert unweighted["exp_b"] > weighted["exp_b"] + 0.03


def test_a_key_that_says_much_counts_as_one() -> None:
    calls = world(2, 400)
    many = effects_in_use(calls, IDS)
    few = effects_in_use([replace(call, key=str(place % 60)) for place, call in enumerate(calls * 20)], IDS)
    assert [one.keys < 61 for one in few] == [True] * 3
    assert all(one.high - one.low > 0.5 * (other.high - other.low) for one, other in zip(few, many, strict=True))


def test_nothing_is_said_of_what_hardly_anybody_went_without() -> None:
    assert effects_in_use([], IDS) == ()
    calls = [LeftOutCall(frozenset(), 0.9, f"{place}", 1.0) for place in range(500)]
    calls += [LeftOutCall(frozenset(["exp_a"]), 0.1, f"out {place}", 0.0) for place in range(FEWEST_KEYS - 1)]
    assert effects_in_use(calls, IDS) == ()
    calls.append(LeftOutCall(frozenset(["exp_a"]), 0.1, "one more", 0.0))
    assert [one.experience for one in effects_in_use(calls, IDS)] == ["exp_a"]


def test_looking_after_every_hundred_calls_retires_nothing_that_is_worth_nothing() -> None:
    retired = 0
    for seed in range(12):
        random = np.random.default_rng(seed)
        calls = [LeftOutCall(SETS[random.integers(8)], 0.125, f"{n}", float(random.random() < 0.5)) for n in range(800)]
        looks = (to_retire_in_use(effects_in_use(calls[:until], IDS)) for until in range(100, 801, 100))
        retired += any(one is not None for one in looks)
    assert retired <= 1
