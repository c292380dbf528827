from collections.abc import Sequence

import pytest

from tfgrpo.records import Group, Rollout, Task
from tfgrpo.rollouts.visits import visited
from tfgrpo.settings import Settings

TASKS = tuple(Task(f"task {number}") for number in range(40))
SETTINGS = Settings()


def group(task: Task, step: int, *rewards: float | None) -> Group:
    return Group(task, step, tuple(Rollout(task, step, n, "p", reward=reward) for n, reward in enumerate(rewards)))


def history(task: Task, *visits: Sequence[float | None]) -> list[Group]:
    return [group(task, step, *rewards) for step, rewards in enumerate(visits)]


RIGHT, WRONG, MIXED, ALIKE, FAILED = (1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (None, None)


def test_a_task_that_teaches_nothing_is_visited_every_other_step_and_not_all_rest_at_once() -> None:
    dull = [entry for task in TASKS[:20] for entry in history(task, RIGHT, RIGHT)]
    dull += [entry for task in TASKS[20:] for entry in history(task, WRONG, WRONG)]
    two, three, four = ({task.id for task in visited(TASKS, dull, step, SETTINGS)} for step in (2, 3, 4))
    assert two | three == {task.id for task in TASKS}
    assert not two & three
    assert two == four
    assert 10 <= len(two) <= 30


@pytest.mark.parametrize(
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


def test_no_step_is_empty() -> None:
    (task,) = TASKS[:1]
    for step in (2, 3):
        assert visited([task], history(task, RIGHT, RIGHT), step, SETTINGS) == (task,)


def test_resting_can_be_switched_off_and_is_off_under_the_recipe_paper() -> None:
    earlier = [entry for task in TASKS for entry in history(task, RIGHT, RIGHT)]
    assert visited(TASKS, earlier, 3, Settings(rest_tasks=False)) == TASKS
    assert not Settings.for_recipe("paper").rest_tasks
