"""What is left to compare within groups, and what a success takes in tools."""

from pathlib import Path

import pytest

from tests.cli.shell import FRAME, works
from tfgrpo.records import Group, Message, Rollout, Run, Task
from tfgrpo.report.health import health_of
from tfgrpo.store import Store

TASKS = (Task("one"), Task("two"))


def calling(times: int) -> tuple[Message, ...]:
    call = {"id": "1", "function": {"name": "look"}}
    return ({"role": "user", "content": "go"}, *({"role": "assistant", "tool_calls": [call]} for _ in range(times)))


def group(task: Task, step: int, rewards: tuple[float | None, ...], calls: int = 0) -> Group:
    made = (Rollout(task, step, n, "", messages=calling(calls), reward=reward) for n, reward in enumerate(rewards))
    return Group(task, step, tuple(made))


GROUPS = (
    group(TASKS[0], 0, (1.0, 0.0, 1.0, 0.0), 3),
    group(TASKS[1], 0, (0.0, 0.0, 0.0, None), 1),
    group(TASKS[0], 1, (1.0, 1.0), 1),
    group(TASKS[1], 1, (0.0, 0.5, 1.0, 1.0), 1),
    group(TASKS[0], 2, (None, None)),
)


def test_each_step_tells_its_entropy_and_the_calls_of_all_rollouts_a_success() -> None:
    first, second = health_of(GROUPS)
    assert (first.step, first.entropy, first.tool_calls, first.calls_a_success) == (1, 0.5, 16, 8.0)
    assert second.entropy == 0.75
    assert second.calls_a_success == pytest.approx(6 / 4.5)
    (nothing,) = health_of([group(TASKS[0], 0, (0.0, 0.0), 2)])
    assert (nothing.entropy, nothing.calls_a_success) == (0.0, None)
    assert health_of(()) == ()


def test_calls_that_a_rollout_was_shown_are_not_its_own() -> None:
    messages = ({"role": "user", "content": "of old"}, *calling(2)[1:], *calling(1))
    (step,) = health_of([Group(Task("go"), 0, (Rollout(Task("go"), 0, 0, "", messages=messages, reward=1.0),))])
    assert step.tool_calls == 1


def test_rollouts_tell_the_health_of_a_run(folder: Path) -> None:
    with Store("tfgrpo.db") as store:
        store.add_tasks(TASKS)
        run, _ = store.begin(Run("learn", "default", FRAME, {}, tuple(task.id for task in TASKS), "exact"))
        for each in GROUPS[:4]:
            store.add_group(run.id, each)
    said = works("rollouts", run.id).stdout
    assert "(0: all of a group earned the same): 0.50 -> 0.75\n" in said
    assert "tool calls a success by step: 8.0 -> 1.3\n" in said
    assert "entropy" not in works("rollouts", run.id, "--step", "1").stdout
