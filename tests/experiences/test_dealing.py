"""Who is dealt what: balanced in the step, in each group and in who meets whom, by hash alone."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo.experiences.dealing import dealt, rounds

ARMS = tuple(f"variant_{number}" for number in range(12))
TASKS = tuple(f"task_{number}" for number in range(30))


def counts(deal: dict[str, tuple[str, ...]]) -> Counter[str]:
    return Counter(arm for group in deal.values() for arm in group)


def meetings(deal: dict[str, tuple[str, ...]]) -> Counter[tuple[str, ...]]:
    """In how many groups each pair of arms meets."""
    return Counter(pair for group in deal.values() for pair in combinations(sorted(set(group)), 2))


def test_equal_shares_are_met_exactly_and_every_group_holds_as_many_arms_as_it_can() -> None:
    deal = dealt(ARMS, seed=0, step=0, tasks=TASKS, size=8)
    assert set(counts(deal).values()) == {20}
    assert {len(set(group)) for group in deal.values()} == {8}


def test_pairs_of_arms_meet_evenly() -> None:
    met = meetings(dealt(ARMS, seed=0, step=0, tasks=TASKS, size=8))  # 30 * (8 * 7) / (12 * 11) = 12.7 on average
    assert len(met) == 66
    assert min(met.values()) >= 10
    assert max(met.values()) <= 16


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=14).filter(any),
    st.integers(1, 12),
    st.integers(1, 9),
    st.integers(0, 3),
)
def test_each_arm_gets_its_share_of_a_step_and_of_each_group(
    weights: list[int], tasks: int, size: int, step: int
) -> None:
    shares = {f"arm {number}": weight / 7 for number, weight in enumerate(weights)}
    deal = dealt(shares, shares, seed=1, step=step, tasks=TASKS[:tasks], size=size)
    assert {len(group) for group in deal.values()} == {size}
    for arm, share in shares.items():
        due = share / sum(shares.values()) * size
        assert abs(counts(deal)[arm] - due * tasks) < 1 + 1e-3
        assert all(abs(group.count(arm) - counts(deal)[arm] / tasks) < 1 for group in deal.values())


@given(st.permutations(ARMS), st.permutations(TASKS[:6]))
def test_the_order_of_arms_and_of_tasks_changes_nothing(arms: list[str], tasks: list[str]) -> None:
    assert dealt(arms, seed=0, step=1, tasks=tasks, size=8) == dealt(ARMS, seed=0, step=1, tasks=TASKS[:6], size=8)
    assert rounds(tasks, 3, seed=0, step=1) == rounds(TASKS[:6], 3, seed=0, step=1)


def test_another_seed_or_step_deals_otherwise() -> None:
    deals = [dealt(ARMS, seed=seed, step=step, tasks=TASKS, size=8) for seed in (0, 1) for step in (0, 1)]
    assert all(one != other for one, other in combinations(deals, 2))


def test_no_place_in_a_group_belongs_to_an_arm() -> None:
    deal = dealt(ARMS[:2], seed=0, step=0, tasks=TASKS, size=2)
    assert 8 <= Counter(group[0] for group in deal.values())[ARMS[0]] <= 22


def test_rounds_divide_the_tasks_as_evenly_as_possible() -> None:
    parts = rounds(TASKS, 4, seed=0, step=0)
    assert sorted(task for part in parts for task in part) == sorted(TASKS)
    assert [len(part) for part in parts] == [8, 8, 7, 7]
    assert [len(part) for part in rounds(TASKS[:2], 3, seed=0, step=0)] == [1, 1]


def test_no_tasks_are_dealt_nothing_and_no_share_is_an_error() -> None:
    assert dealt(ARMS, seed=0, step=0, tasks=[], size=8) == {}
    with pytest.raises(ValueError, match="no arm"):
        dealt(ARMS, dict.fromkeys(ARMS, 0.0), seed=0, step=0, tasks=TASKS, size=8)
