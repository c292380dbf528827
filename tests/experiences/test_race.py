"""The race decides between arms whose truth is known, and says how sure it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.experiences.dealing import dealt
from tfgrpo.experiences.race import (
    Standing,
    chance_of_overtaking,
    shares,
    standings,
    survivors,
    winner,
)
from tfgrpo.records import Group, Rollout, Task

TASKS = tuple(Task(f"task {number}") for number in range(30))
TRUTH = {"variant_a": 0.3, "variant_b": 0.4, "variant_c": 0.5, "variant_d": 0.8}
Rate = Callable[[str, int, Sequence[str]], float]


def one_group(task: Task, step: int, arms: Sequence[str], rewards: Sequence[float | None]) -> Group:
    made = enumerate(zip(arms, rewards, strict=True))
    return Group(task, step, tuple(Rollout(task, step, n, "prior", variant=arm, reward=got) for n, (arm, got) in made))


def simulated(arms: Sequence[str], rate: Rate, *, steps: int = 2, seed: int = 0, shown: float = 0.0) -> list[Group]:
    """Groups of 8 over 30 tasks, dealt as the product deals; `rate` is told the arm, the task and what was shown."""
    rng, groups = np.random.default_rng(seed), []
    for step in range(steps):
        deal = dealt(arms, seed=seed, step=step, tasks=[task.id for task in TASKS], size=8)
        for place, task in enumerate(TASKS):
            group = one_group(task, step, deal[task.id], [None] * 8)
            made = []
            for rollout in group.rollouts:
                included = ("exp_1",) if rng.random() < shown else ()
                passed = rng.random() < rate(rollout.variant, place, included)
                made.append(replace(rollout, included=included, reward=float(passed)))
            groups.append(replace(group, rollouts=tuple(made)))
    return groups


def by_arm(table: Sequence[Standing]) -> Mapping[str, Standing]:
    return {entry.arm: entry for entry in table}


def plain(arm: str, _: int, __: Sequence[str]) -> float:
    return TRUTH[arm]


def test_the_best_arm_stands_first_with_its_expected_reward() -> None:
    table = standings(simulated([*TRUTH], plain), TRUTH)
    assert [entry.arm for entry in table] == sorted(TRUTH, key=lambda arm: -TRUTH[arm])
    assert table[0].best > 0.99
    assert sum(entry.best for entry in table) == pytest.approx(1)
    assert sum(entry.mean for entry in table) == pytest.approx(0, abs=1e-5)
    assert {entry.rollouts for entry in table} == {120}
    for entry in table:
        assert entry.reward == pytest.approx(TRUTH[entry.arm], abs=0.1)


def test_an_arm_that_holds_an_experience_is_expected_no_more_for_what_that_gave_others() -> None:
    def rate(arm: str, _: int, included: Sequence[str]) -> float:
        return 0.9 if arm == "a" or included else 0.2

    groups = [
        replace(
            group, rollouts=tuple(replace(one, included=()) if one.variant == "a" else one for one in group.rollouts)
        )
        for group in simulated(["a", "b"], rate, shown=0.5)
    ]
    table = by_arm(standings(groups, ["a", "b"], parts=["exp_1"]))
    assert [table[arm].reward for arm in "ab"] == pytest.approx([0.9, 0.2], abs=0.08)


@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_intervals_cover_the_truth_also_where_arms_differ_from_task_to_task(spread: float) -> None:
    covered = []
    for seed in range(40):
        signs = np.random.default_rng([seed, 1]).choice([-spread, spread], size=(30, 4))  # the means stay exact

        def rate(arm: str, place: int, _: Sequence[str], signs: np.ndarray = signs) -> float:
            return 0.5 + 0.1 * ([*TRUTH].index(arm) - 1.5) + float(signs[place, [*TRUTH].index(arm)])

        table = by_arm(standings(simulated([*TRUTH], rate, steps=1, seed=seed), TRUTH))
        for number, arm in enumerate(TRUTH):
            covered.append(abs(table[arm].mean - 0.1 * (number - 1.5)) <= 1.96 * table[arm].sd)
    assert 0.9 <= np.mean(covered) <= 0.995


def test_tasks_that_differ_much_do_not_blur_the_arms() -> None:
    table = standings(simulated([*TRUTH], lambda arm, place, _: TRUTH[arm] * (place % 2)), TRUTH)
    assert table[0].arm == "variant_d"
    assert table[0].reward == pytest.approx(0.4, abs=0.06)


def test_no_more_than_the_full_reward_is_expected_and_no_less_than_none() -> None:
    truth = {"a": 1.0, "b": 0.9, "c": 0.0}
    tables = [
        standings(simulated([*truth], lambda arm, *_: truth[arm], steps=1, seed=seed), truth) for seed in range(9)
    ]
    rewards = [entry.reward for table in tables for entry in table]
    assert (min(rewards), max(rewards)) == (0.0, 1.0)


def test_without_evidence_all_arms_stand_alike() -> None:
    table = standings([], ["b", "a"])
    assert [(entry.arm, entry.mean, entry.reward, entry.rollouts) for entry in table] == [
        ("a", 0.0, 0.0, 0),
        ("b", 0.0, 0.0, 0),
    ]
    assert table[0].best == pytest.approx(0.5, abs=0.03)
    assert 0.1 < table[0].sd < 0.3


def test_what_was_known_of_arms_counts_until_rollouts_say_otherwise() -> None:
    known = {"a": 0.2, "b": 0.0}
    before = by_arm(standings([], ["a", "b"], known=known))
    assert before["a"].mean - before["b"].mean == pytest.approx(0.2, abs=0.01)
    groups = simulated(["a", "b"], lambda arm, place, _: 0.9 if arm == "b" else 0.1)
    after = by_arm(standings(groups, ["a", "b"], known=known))
    assert after["b"].mean - after["a"].mean == pytest.approx(0.8, abs=0.1)


def test_an_experience_that_helps_is_not_put_down_to_the_arm_it_was_shown_with() -> None:
    def rate(_: str, __: int, included: Sequence[str]) -> float:
        return 0.8 if included else 0.2

    groups = [*simulated(["a", "b"], rate, shown=0.5)]
    told = by_arm(standings(groups, ["a", "b"]))
    skewed = [
        replace(group, rollouts=tuple(one for one in group.rollouts if bool(one.included) == (one.variant == "a")))
        for group in groups[:30]
    ]
    blind = [replace(g, rollouts=tuple(replace(one, included=()) for one in g.rollouts)) for g in skewed]
    assert abs(told["a"].mean) < 0.06
    assert by_arm(standings(blind, ["a", "b"]))["a"].mean > 0.2
    assert abs(by_arm(standings([*skewed, *groups[30:]], ["a", "b"]))["a"].mean) < 0.06


def test_an_arm_that_left_explains_its_rollouts_and_is_not_listed() -> None:
    groups = simulated([*TRUTH], plain)
    table = standings(groups, ["variant_a", "variant_b"])
    assert [entry.arm for entry in table] == ["variant_b", "variant_a"]
    every = by_arm(standings(groups, TRUTH))
    gap = table[0].mean - table[1].mean
    assert gap == pytest.approx(every["variant_b"].mean - every["variant_a"].mean, abs=1e-5)
    assert table[0].reward == every["variant_b"].reward


def test_rollouts_without_reward_are_left_out_and_failed_ones_count_as_the_caller_says() -> None:
    groups = [one_group(task, 0, ["a", "a", "b", "b"], [1.0, 0.0, 1.0, None]) for task in TASKS]
    failed = [one_group(task, 0, ["a", "a", "b", "b"], [1.0, 0.0, 1.0, 0.0]) for task in TASKS]
    assert standings(groups, ["a", "b"])[0].arm == "b"
    assert by_arm(standings(groups, ["a", "b"]))["b"].rollouts == 30
    assert by_arm(standings(failed, ["a", "b"]))["b"].mean == pytest.approx(0, abs=1e-6)


def test_an_arm_under_which_wrong_rollouts_are_lost_to_the_upstream_does_not_win_by_it() -> None:
    """Both arms are right half of the time; of one's wrong rollouts every other ends in a 502."""
    rng = np.random.default_rng(2)

    def lost(rollout: Rollout) -> Rollout:
        falls = rollout.variant == "b" and rollout.reward == 0 and rng.random() < 0.5
        return replace(rollout, reward=None, error="fake answered 502: bad gateway") if falls else rollout

    groups = simulated(["a", "b"], lambda *_: 0.5)
    falling = [replace(group, rollouts=tuple(map(lost, group.rollouts))) for group in groups]
    as_zero = by_arm(standings(groups, ["a", "b"]))["b"]
    assert by_arm(standings(falling, ["a", "b"]))["b"] == as_zero
    scored = [replace(group, rollouts=group.scored) for group in falling]
    assert by_arm(standings(scored, ["a", "b"]))["b"].mean > as_zero.mean + 0.03, "as missing, it would lead"


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(12)), st.floats(0, 0.4))
def test_order_of_groups_and_a_shift_of_a_groups_rewards_move_no_arm(order: list[int], shift: float) -> None:
    whole = simulated([*TRUTH], plain, steps=1)[:12]
    groups, moved = (
        [
            replace(group, rollouts=tuple(replace(one, reward=(one.reward or 0) / 2 + by) for one in group.rollouts))
            for group in whole
        ]
        for by in (0.1, 0.1 + shift)
    )
    table = standings(groups, TRUTH)
    assert standings([groups[number] for number in order], TRUTH) == table
    for entry, other in zip(table, standings(moved, TRUTH), strict=True):
        assert (entry.arm, entry.rollouts) == (other.arm, other.rollouts)
        assert other.mean == pytest.approx(entry.mean, abs=2e-6)
        assert other.reward == pytest.approx(entry.reward + shift, abs=3e-6)


def entry(arm: str, mean: float, near: float, best: float | None = None) -> Standing:
    return Standing(arm, mean, 0.05, 0.5 + mean, near if best is None else best, near, 20)


TABLE = tuple(entry(f"arm {n:02}", 0.2 - n / 30, 0.9 / (n + 1) ** 2) for n in range(12))


@each(("arms", "most"), [(12, 6), (7, 4), (6, 3), (3, 2), (2, 1), (1, 1)])
def test_after_a_step_at_least_half_of_those_that_trail_leave(arms: int, most: int) -> None:
    assert survivors(TABLE[:arms], frozen="none", step=0) == tuple(one.arm for one in TABLE[:most])


def test_the_frozen_arm_stays_until_the_second_step_is_over() -> None:
    assert survivors(TABLE, frozen="arm 11", step=0)[-1] == "arm 11"
    assert "arm 11" not in survivors(TABLE, frozen="arm 11", step=1)


def test_of_arms_that_stand_alike_the_first_ids_stay() -> None:
    alike = tuple(entry(name, 0.0, 0.3) for name in ("d", "b", "a", "c"))
    assert survivors(alike, frozen="none", step=0) == ("a", "b")


def test_shares_follow_the_chance_to_be_the_best_and_are_only_for_those_asked_about() -> None:
    found = shares(TABLE, [one.arm for one in TABLE[:4]])
    assert list(found) == [one.arm for one in TABLE[:4]]
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    assert sorted(found.values(), reverse=True) == list(found.values())
    assert min(found.values()) > 0


def test_the_cheapest_arm_within_a_point_of_the_best_wins_and_says_why() -> None:
    table = (entry("rich", 0.105, 0.8), entry("cheap", 0.1, 0.7), entry("free", 0.09, 0.3))
    won = winner(table, {"rich": 900, "cheap": 100, "free": 0})
    assert won.arm == "cheap"
    assert won.why == (
        "expected reward 0.60 over 20 rollouts, within a point of the best with a chance of 70%, "
        "at 100 prompt tokens a call; the best by its mean, 0.60, costs 900"
    )
    assert winner(table, {"rich": 100, "cheap": 100, "free": 0}).arm == "rich"
    assert winner(table[:1], {"rich": 900}).why.endswith("at 900 prompt tokens a call")


def test_nothing_can_overtake_a_clear_leader_and_much_can_overtake_one_by_luck() -> None:
    assert chance_of_overtaking(standings(simulated([*TRUTH], plain), TRUTH)) < 0.01
    alike = standings(simulated([*TRUTH], lambda *_: 0.5), TRUTH)
    assert chance_of_overtaking(alike) > 0.2


def test_where_every_rollout_fails_nothing_can_overtake_and_the_cheapest_wins() -> None:
    table = standings(simulated([*TRUTH], lambda *_: 0.0), TRUTH)
    assert chance_of_overtaking(table) < 0.2
    assert winner(table, {arm: number for number, arm in enumerate(reversed(TRUTH))}).arm == "variant_d"
