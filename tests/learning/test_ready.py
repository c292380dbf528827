"""Rollouts that production has made: which of them are samples of what would be asked for."""

import json
from dataclasses import replace

import pytest

from tfgrpo.learning.ready import ReadyRollout, ready_executors
from tfgrpo.model.upstream import Upstream
from tfgrpo.records import Backend, Demonstration, Frame, Prior, Rollout, Task
from tfgrpo.rollouts.executor import Executor

FRAME = Frame("m", None, {"max_tokens": 3})
TASKS = [Task(f"{number} apples", f"{number}") for number in range(4)]
EXAMPLES = tuple(Demonstration(str(task.input), str(task.answer), task.id) for task in TASKS[:3])


def made(*args: object, **named: object) -> Executor:
    async def one(task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        return Rollout(task, step, sample, prior.id, text="made")

    return one


@pytest.mark.parametrize("prior", [Prior(demonstrations=EXAMPLES[:2]), Prior(demonstrations=EXAMPLES, nearest=2)])
async def test_what_production_answered_with_the_tasks_own_example_in_sight_is_no_sample(prior: Prior) -> None:
    answer = {"choices": [{"message": {"role": "assistant", "content": "ready"}, "finish_reason": "stop"}]}
    ready = {task.id: [ReadyRollout(prior.id, json.dumps(answer))] for task in (TASKS[0], TASKS[3])}
    async with Upstream("http://127.0.0.1:9/v1", api_key="k") as upstream:
        make = ready_executors(made, upstream, Backend(), ready, FRAME, note=print)
        roll = make(FRAME, Backend(), run="r", stage="rollout", seed=1)
        texts = [(await roll(task, prior, 0, 0)).text for task in (TASKS[0], TASKS[3], TASKS[3])]
    assert texts == ["made", "ready", "made"]


async def test_what_a_server_sampled_with_defaults_of_its_own_is_no_sample_where_these_are_off() -> None:
    answer = {"choices": [{"message": {"role": "assistant", "content": "ready"}, "finish_reason": "stop"}]}
    ready = {TASKS[0].id: [ReadyRollout("", json.dumps(answer))]}
    stated = replace(FRAME, request={"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0})
    texts, notes = list[str](), list[str]()
    async with Upstream("http://127.0.0.1:9/v1", api_key="k") as upstream:
        for frame, backend in ((FRAME, Backend()), (FRAME, Backend("llama.cpp")), (stated, Backend("llama.cpp"))):
            make = ready_executors(made, upstream, backend, ready, frame, note=notes.append)
            roll = make(frame, backend, run="r", stage="rollout", seed=1)
            texts.append((await roll(TASKS[0], Prior(), 0, 0)).text)
    assert texts == ["ready", "made", "ready"]
    assert ["llama.cpp had defaults of its own" in note for note in notes] == [True]
