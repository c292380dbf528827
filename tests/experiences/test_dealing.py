"""Who is shown what: a balanced design, decided by hashes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.experiences.dealing import SMALLEST, dealt, included, rounds
from tfgrpo.records import Experience, Origin
from tfgrpo.settings import Settings

ENTRIES = tuple(Experience(f"When {number}, act.") for number in range(8))
SETTINGS, PAPER = Settings(), Settings.for_recipe("paper")


def group(
    settings: Settings = SETTINGS, candidates: Sequence[Experience] = ENTRIES, kept: Sequence[str] = (), task: str = "t"
) -> list[tuple[Experience, ...]]:
    """What each rollout of one group is shown."""
    return [
        included(candidates, kept, settings, task=task, step=0, sample=sample) for sample in range(settings.group_size)
    ]


@given(seed=st.integers(0, 10_000), size=st.integers(2, 12), share=st.floats(0, 0.9))
def test_each_one_on_trial_is_in_its_share_of_a_group_and_one_rollout_is_shown_none(
    seed: int, size: int, share: float
) -> None:
    settings = replace(SETTINGS, seed=seed, group_size=size, trial_inclusion=share)
    shown = group(settings)
    counts = [sum(entry in some for some in shown) for entry in ENTRIES]
    assert all(abs(count - share * size) < 1 for count in counts)
    assert () in shown or max(counts) == size or size < SMALLEST


@each("size", range(2, 9))
def test_no_two_on_trial_always_go_together(size: int) -> None:
    shown = [some for n in range(20) for some in group(replace(SETTINGS, group_size=size), task=f"task {n}")]
    columns = [tuple(entry in some for some in shown) for entry in ENTRIES]
    assert len(set(columns)) == len(ENTRIES)


def test_what_is_no_whole_number_of_rollouts_is_rounded_at_random() -> None:
    settings = replace(SETTINGS, group_size=5)
    counts = [
        sum(ENTRIES[0] in some for some in group(settings, ENTRIES[:1], task=f"task {number}")) for number in range(400)
    ]
    assert set(counts) == {2, 3}
    assert abs(fmean(counts) - 2.5) < 0.08


def test_the_control_is_any_rollout_and_the_others_are_any_half() -> None:
    groups = [group(task=f"task {number}") for number in range(400)]
    controls = [shown.index(()) for shown in groups]
    assert set(controls) == set(range(8))
    first = [[ENTRIES[0] in some for some in shown] for shown in groups]
    second = [[ENTRIES[1] in some for some in shown] for shown in groups]
    both = [one and two for shown in zip(first, second, strict=True) for one, two in zip(*shown, strict=True)]
    assert abs(fmean(both) - 7 / 8 * (4 / 7) ** 2) < 0.03  # apart from the control they are independent


def test_kept_ones_are_nearly_always_in_and_in_the_control_too() -> None:
    shown = [some for number in range(250) for some in group(kept=[ENTRIES[0].id], task=f"task {number}")]
    assert abs(fmean(ENTRIES[0] in some for some in shown) - 0.9) < 0.02
    assert abs(fmean(ENTRIES[1] in some for some in shown) - 0.5) < 1e-9
    controls = [some for some in shown if not set(some) - {ENTRIES[0]}]
    assert fmean(ENTRIES[0] in some for some in controls) > 0.8


def test_the_recipe_paper_shows_all() -> None:
    assert group(PAPER) == [ENTRIES] * PAPER.group_size
    assert group(replace(SETTINGS, trial_inclusion=1.0)) == [ENTRIES] * 8


def test_a_group_of_one_is_shown_each_half_of_the_time() -> None:
    alone = [group(replace(SETTINGS, group_size=1), ENTRIES[:1], task=f"task {number}")[0] for number in range(800)]
    assert abs(fmean(bool(some) for some in alone) - 0.5) < 0.06


def test_inclusion_depends_on_its_place_alone() -> None:
    def draw(candidates: tuple[Experience, ...], seed: int = 0) -> list[bool]:
        return [ENTRIES[0] in some for some in group(replace(SETTINGS, seed=seed), candidates)]

    assert draw(ENTRIES) == draw(ENTRIES[:1])
    assert any(draw(ENTRIES) != draw(ENTRIES, seed) for seed in (1, 2, 3))


def test_a_demonstration_is_never_shown_on_its_source_task() -> None:
    entry = Experience("Q: 1 + 1? A: 2", "demonstration", Origin(tasks=("t",)))
    for settings in (PAPER, replace(SETTINGS, trial_inclusion=1.0)):
        assert set(group(settings, [entry])) == {()}
        assert set(group(settings, [entry], task="u")) == {(entry,)}


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
