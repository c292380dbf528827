"""Rollouts of agents that used tools and were right, shortened, as demonstrations."""

from dataclasses import replace
from typing import Any

from tests.tables import each
from tfgrpo.experiences.trajectories import TURN_CHARS, shortened_turns, verified_trajectories
from tfgrpo.experiences.variants import as_prior
from tfgrpo.records import Group, Message, Rollout, Task
from tfgrpo.settings import Settings
from tfgrpo.surfaces.chat import with_prior
from tfgrpo.surfaces.messages import MESSAGES
from tfgrpo.surfaces.surface import PLAIN

SETTINGS = Settings()
TASKS = [Task(f"What was order {number}?", f"item {number}") for number in range(6)]


def call(number: int, word: str) -> Message:
    function = {"name": "look_up", "arguments": f'{{"word": "{word}"}}'}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": f"c{number}", "function": function}]}


def result(number: int, text: str) -> Message:
    return {"role": "tool", "tool_call_id": f"c{number}", "content": text}


def rollout(task: Task, *between: Message, reward: float = 1.0, sample: int = 0) -> Rollout:
    asked = ({"role": "system", "content": "Use tools."}, {"role": "user", "content": task.prompt})
    answer = {"role": "assistant", "content": str(task.answer)}
    return Rollout(
        task,
        0,
        sample,
        "",
        messages=(*asked, *between, answer),
        text=str(task.answer),
        reward=reward,
    )


DETOURS = (
    call(1, "ordr"),
    result(1, "Error: not found"),
    call(2, "order"),
    result(2, "item"),
    call(3, "order"),
    result(3, "x" * 5_000),
)


def test_calls_that_failed_or_are_made_again_go_with_their_results_and_long_results_are_cut() -> None:
    user = {"role": "user", "content": "y" * 5_000}
    turns = shortened_turns([user, *DETOURS])
    assert turns[:2] == [user, DETOURS[4]]
    assert len(turns) == 3
    assert len(str(turns[2]["content"])) <= TURN_CHARS
    assert turns[2]["tool_call_id"] == "c3"
    assert shortened_turns(turns) == turns


def test_the_shortest_whole_rollout_of_each_task_is_shown_as_its_turns() -> None:
    groups = [
        Group(
            task,
            0,
            (
                rollout(task, *DETOURS, call(4, "more"), result(4, "more")),
                rollout(task, *DETOURS, sample=1),
                rollout(task, call(1, "no"), result(1, "no"), reward=0.0, sample=2),
                rollout(task, sample=3),
            ),
        )
        for task in TASKS
    ]
    found = verified_trajectories(groups, SETTINGS)
    assert found
    assert found.source == "6 whole rollouts with tools"
    assert {entry.task for entry in found.demonstrations} == {task.id for task in TASKS}
    assert all(len(entry.messages) == 3 for entry in found.demonstrations)
    asked = {"model": "m", "messages": [{"role": "user", "content": "What was order 9?"}]}
    shown = with_prior(asked, as_prior(found))["messages"]
    assert [one["role"] for one in shown] == ["user", "assistant", "tool", "assistant"] * 6 + ["user"]
    text = str(MESSAGES.enter({**asked, "max_tokens": 9}, as_prior(found), PLAIN)["messages"])
    assert 'assistant: calls look_up({"word": "order"})' in text


def test_what_was_said_at_the_end_of_the_task_is_shown_to_no_other() -> None:
    made = [rollout(task, *DETOURS) for task in TASKS]
    told = [{**one.messages[1], "content": f"{one.task.prompt}\n\nLook it up."} for one in made]
    groups = [
        Group(one.task, 0, (replace(one, messages=(one.messages[0], asked, *one.messages[2:])),))
        for one, asked in zip(made, told, strict=True)
    ]
    found = verified_trajectories(groups, SETTINGS)
    assert found
    assert {entry.messages[0]["content"] for entry in found.demonstrations} == {task.prompt for task in TASKS}


@each(
    "change",
    [
        {"reward": 0.5},
        {"messages": ({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"})},
        {"messages": (*rollout(TASKS[0], *DETOURS).messages, *rollout(TASKS[0], *DETOURS).messages)},
        {"messages": rollout(TASKS[0], *DETOURS).messages[:-1]},
        {"messages": ()},
    ],
)
def test_what_is_no_whole_rollout_with_tools_of_its_own_is_not_shown(change: dict[str, Any]) -> None:
    groups = [Group(task, 0, (replace(rollout(task, *DETOURS), **change),)) for task in TASKS]
    assert verified_trajectories(groups, SETTINGS) is None


def test_fewer_tasks_than_the_smallest_set_are_too_few() -> None:
    assert verified_trajectories([Group(task, 0, (rollout(task, *DETOURS),)) for task in TASKS[:3]], SETTINGS) is None


def test_a_rollout_in_which_a_tool_gave_a_secret_is_shown_to_nobody() -> None:
    """In a prior every later call would hold it, and no import would take that prior."""
    key = f"password = {'hunter2' * 2}, aws_key AKIA{'ABCDEFGH' * 2}"
    groups = [Group(task, 0, (rollout(task, call(1, "x"), result(1, key)),)) for task in TASKS]
    assert verified_trajectories(groups, SETTINGS) is None
