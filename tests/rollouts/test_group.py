"""The group-relative advantage, and what a group can teach."""

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.records import Group, Prior, Rollout, Task, Usage
from tfgrpo.rollouts.group import (
    Under,
    advantages,
    by_beginning,
    by_variant,
    concurrently,
    group_kind,
    penalty,
    shaped,
    visited,
)
from tfgrpo.settings import Settings

LIMITED = Settings(overlong="100:40")


@each(("tokens", "less"), [(0, 0), (60, 0), (61, -1 / 40), (80, -0.5), (100, -1), (101, -1), (9_999, -1)])
def test_the_penalty_grows_over_the_last_tokens(tokens: int, less: float) -> None:
    assert penalty(tokens, 100, 40) == less


@each(("reward", "tokens", "left"), [(1.0, 60, 1.0), (1.0, 80, 0.5), (1.0, 100, 0.0), (0.3, 80, 0.0), (0.0, 100, 0.0)])
def test_it_is_taken_off_the_reward_which_stays_at_0_or_above(reward: float, tokens: int, left: float) -> None:
    rollout = Rollout(Task("a"), 0, 0, "p", reward=reward, usage=Usage(1, 500, tokens))
    assert shaped(rollout, LIMITED) == replace(rollout, reward=left)
    assert shaped(rollout, Settings()) == rollout


def test_a_rollout_without_a_reward_stays_as_it_is() -> None:
    rollout = Rollout(Task("a"), 0, 0, "p", error="no", usage=Usage(1, 0, 500))
    assert shaped(rollout, LIMITED) == rollout


@given(st.floats(0, 1), st.integers(0, 10_000))
def test_rewards_stay_between_0_and_1(reward: float, tokens: int) -> None:
    left = shaped(Rollout(Task("a"), 0, 0, "p", reward=reward, usage=Usage(1, 0, tokens)), LIMITED).reward
    assert left is not None
    assert 0 <= left <= reward


rewards = st.lists(st.integers(0, 1000).map(lambda thousandths: thousandths / 1000), min_size=1, max_size=16)
divided = st.booleans()


def group(*given: float | None) -> Group:
    task = Task("?")
    return Group(task, 0, tuple(Rollout(task, 0, place, "", reward=reward) for place, reward in enumerate(given)))


@given(rewards, divided)
def test_advantages_sum_to_zero(given: list[float], divide: bool) -> None:
    assert abs(advantages(np.array(given), divide_by_std=divide).sum()) < 1e-9


@given(rewards, divided, st.floats(-10, 10))
def test_advantages_ignore_a_shift_of_all_rewards(given: list[float], divide: bool, shift: float) -> None:
    found = advantages(np.array(given) + shift, divide_by_std=divide)
    np.testing.assert_allclose(found, advantages(np.array(given), divide_by_std=divide), atol=1e-6)


@given(rewards, divided, st.randoms(use_true_random=False))
def test_advantages_follow_their_rewards_around(given: list[float], divide: bool, shuffler: Random) -> None:
    order = list(range(len(given)))
    shuffler.shuffle(order)
    plain = advantages(np.array(given), divide_by_std=divide)
    np.testing.assert_allclose(advantages(np.array(given)[order], divide_by_std=divide), plain[order], atol=1e-9)


@given(rewards, st.floats(0.1, 10))
def test_divided_advantages_ignore_the_rewards_scale_and_undivided_ones_keep_it(
    given: list[float], scale: float
) -> None:
    array = np.array(given)
    np.testing.assert_allclose(advantages(array * scale), advantages(array), atol=1e-6)
    plain = advantages(array, divide_by_std=False)
    np.testing.assert_allclose(advantages(array * scale, divide_by_std=False), plain * scale, atol=1e-9)


@given(rewards)
def test_a_better_rollout_never_has_the_smaller_advantage(given: list[float]) -> None:
    order = np.argsort(given, kind="stable")
    assert (np.diff(advantages(np.array(given))[order]) >= 0).all()


def test_the_formula_by_hand() -> None:
    np.testing.assert_allclose(advantages(np.array([1.0, 0.0, 0.0, 0.0])), [3**0.5, *[-(3**-0.5)] * 3])
    np.testing.assert_allclose(advantages(np.array([1.0, 0.0, 0.0, 0.0]), divide_by_std=False), [0.75, *[-0.25] * 3])


@each("given", [[0.1] * 7, [1.0], [0.0, 0.0], [0.3, 0.1 + 0.2], []])
def test_a_flat_group_teaches_nothing(given: list[float]) -> None:
    """The spread of `np.array([0.1] * 7)` is above zero, and that of 0.3 and 0.1 + 0.2 too."""
    found = advantages(np.array(given))
    assert found.shape == (len(given),)
    assert not found.any()


@each(
    ("given", "kind"),
    [
        ((1.0, 0.0), "mixed"),
        ((0.5, 0.5001), "mixed"),
        ((1.0, None, 0.0), "mixed"),
        ((1.0, 1.0), "solved"),
        ((1.0, None), "solved"),
        ((0.0, 0.0), "hopeless"),
        ((0.1,) * 7, "flat"),
        ((None, None), "unscored"),
        ((), "unscored"),
    ],
)
def test_each_group_can_teach_or_it_is_said_why_not(given: tuple[float | None, ...], kind: str) -> None:
    assert group_kind(group(*given)) == kind


TASKS = tuple(Task(f"task {number}") for number in range(40))
SETTINGS = Settings()


def visited_group(task: Task, step: int, *rewards: float | None) -> Group:
    return Group(task, step, tuple(Rollout(task, step, n, "p", reward=reward) for n, reward in enumerate(rewards)))


def history(task: Task, *visits: Sequence[float | None]) -> list[Group]:
    return [visited_group(task, step, *rewards) for step, rewards in enumerate(visits)]


RIGHT, WRONG, MIXED, ALIKE, FAILED = (1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (None, None)


def test_a_task_that_teaches_nothing_is_visited_every_other_step_and_not_all_rest_at_once() -> None:
    dull = [entry for task in TASKS for entry in history(task, WRONG, WRONG)]
    two, three, four = ({task.id for task in visited(TASKS, dull, step, SETTINGS)} for step in (2, 3, 4))
    assert two | three == {task.id for task in TASKS}
    assert not two & three
    assert two == four
    assert 10 <= len(two) <= 30


@each(
    "visits",
    [
        (),
        (RIGHT,),
        (RIGHT, MIXED),
        (MIXED, WRONG),
        (WRONG, WRONG, MIXED),
        (WRONG, MIXED, WRONG),
        (ALIKE, ALIKE),
        (FAILED, FAILED),
        (RIGHT, FAILED),
    ],
)
def test_a_task_whose_rollouts_differ_or_that_is_new_is_visited_at_every_step(
    visits: tuple[Sequence[float | None], ...],
) -> None:
    earlier = [entry for task in TASKS for entry in history(task, *visits)]
    for step in (2, 3):
        assert visited(TASKS, earlier, step, SETTINGS) == TASKS


@pytest.mark.parametrize("visits", [(RIGHT, RIGHT), (WRONG, WRONG), (WRONG, RIGHT), (MIXED, RIGHT, RIGHT)])
def test_two_visits_in_a_row_are_enough(visits: tuple[Sequence[float | None], ...]) -> None:
    earlier = [entry for task in TASKS for entry in history(task, *visits)]
    assert len(visited(TASKS, earlier, 3, SETTINGS)) < len(TASKS)


def test_a_task_that_is_solved_over_its_history_is_not_drawn_again() -> None:
    earlier = [entry for task in TASKS[:10] for entry in history(task, (1.0,) * 8, (*(1.0,) * 7, 0.0))]
    earlier += [entry for task in TASKS[10:20] for entry in history(task, (1.0,) * 8, (*(1.0,) * 6, 0.0, 0.0))]
    for step in (2, 3, 4):
        assert visited(TASKS, earlier, step, SETTINGS) == TASKS[10:]
        assert visited(TASKS[:10], earlier, step, SETTINGS) == TASKS[:10], "where nothing else is left"


def test_no_step_is_empty() -> None:
    (task,) = TASKS[:1]
    for step in (2, 3):
        assert visited([task], history(task, RIGHT, RIGHT), step, SETTINGS) == (task,)


def test_resting_can_be_switched_off_and_is_off_under_the_recipe_paper() -> None:
    earlier = [entry for task in TASKS for entry in history(task, RIGHT, RIGHT)]
    assert visited(TASKS, earlier, 3, Settings(rest_tasks=False)) == TASKS
    assert not Settings.for_recipe("paper").rest_tasks


def test_rollouts_are_asked_for_by_variant_some_tasks_together_or_by_how_their_prompts_begin() -> None:
    tasks = [Task(name) for name in "dbca"]
    wanted = [(task, sample, Under(Prior(), "xy"[sample])) for task in tasks for sample in range(2)]

    def told(order: Sequence[tuple[Task, int, Under]]) -> list[str]:
        return [given.variant + task.prompt for task, _, given in order]

    assert told(by_variant(2)(wanted)) == ["xd", "xb", "yd", "yb", "xc", "xa", "yc", "ya"]
    assert told(by_variant(4)(wanted)) == ["xd", "xb", "xc", "xa", "yd", "yb", "yc", "ya"]
    in_order = by_beginning(lambda task, given: f"shown to {given.variant}: {task.prompt}")(wanted)
    assert told(in_order) == ["xa", "xb", "xc", "xd", "ya", "yb", "yc", "yd"]


async def test_garbage_is_looked_for_seldom_while_much_is_under_way_and_as_before_after_it() -> None:
    usual = gc.get_threshold()

    async def seen(seconds: float) -> int:
        await asyncio.sleep(seconds)
        return gc.get_threshold()[0]

    first, second = (asyncio.create_task(concurrently([seen(seconds)])) for seconds in (0.0, 0.01))
    assert [*await first, *await second] == [50_000, 50_000]
    assert gc.get_threshold() == usual

    async def chosen() -> None:
        gc.set_threshold(999)

    try:
        await concurrently([chosen()])
        assert gc.get_threshold()[0] == 999, "what the user chooses meanwhile stays"
    finally:
        gc.set_threshold(*usual)
