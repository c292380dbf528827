"""Who is shown what: a balanced design, decided by hashes."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo.experiences.show import SMALLEST, included
from tfgrpo.records import Experience, Origin
from tfgrpo.settings import Settings

ENTRIES = tuple(Experience(f"When {number}, act.") for number in range(8))
SETTINGS, PAPER = Settings(), Settings.for_recipe("paper")


def group(
    settings: Settings = SETTINGS, candidates: Sequence[Experience] = ENTRIES, kept: Sequence[str] = (), task: str = "t"
) -> list[tuple[Experience, ...]]:
    """What each attempt of one group is shown."""
    return [
        included(candidates, kept, settings, task=task, step=0, sample=sample) for sample in range(settings.group_size)
    ]


@given(seed=st.integers(0, 10_000), size=st.integers(2, 12), share=st.floats(0, 0.9))
def test_each_one_on_trial_is_in_its_share_of_a_group_and_one_attempt_is_shown_none(
    seed: int, size: int, share: float
) -> None:
    settings = replace(SETTINGS, seed=seed, group_size=size, trial_inclusion=share)
    shown = group(settings)
    counts = [sum(entry in some for some in shown) for entry in ENTRIES]
    assert all(abs(count - share * size) < 1 for count in counts)
    assert () in shown or max(counts) == size or size < SMALLEST


@pytest.mark.parametrize("size", range(2, 9))
def test_no_two_on_trial_always_go_together(size: int) -> None:
    shown = [some for n in range(20) for some in group(replace(SETTINGS, group_size=size), task=f"task {n}")]
    columns = [tuple(entry in some for some in shown) for entry in ENTRIES]
    assert len(set(columns)) == len(ENTRIES)


def test_what_is_no_whole_number_of_attempts_is_rounded_at_random() -> None:
    settings = replace(SETTINGS, group_size=5)
    counts = [
        sum(ENTRIES[0] in some for some in group(settings, ENTRIES[:1], task=f"task {number}")) for number in range(400)
    ]
    assert set(counts) == {2, 3}
    assert abs(fmean(counts) - 2.5) < 0.08


def test_the_control_is_any_attempt_and_the_others_are_any_half() -> None:
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
