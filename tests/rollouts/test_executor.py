"""Rollouts: what each request states, what a failure becomes, and how many run together."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tfgrpo.errors import InputError, ModelError, StoreError, UpstreamError
from tfgrpo.records import (
    Backend,
    CallKey,
    ChatBody,
    Demonstration,
    Experience,
    Frame,
    Group,
    Prior,
    Reply,
    Rollout,
    Task,
    TokenBias,
    Usage,
)
from tfgrpo.rollouts.executor import ChatExecutor, request_body, request_frame, rollout_once, sampling, with_failure
from tfgrpo.rollouts.group import Under, concurrently, roll_groups
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy

FRAME = Frame("fake", "Route it.", {"max_tokens": 8, "temperature": 9, "logit_bias": {"1": 5}}, 0.7, 0.95)
TASK = Task("Where is my invoice?", "billing")
PRIOR = Prior(
    (Experience("Answer with one word."), Experience("Be sure.")),
    (TokenBias(1, b"a", 2.0, 3, 4), TokenBias(2, b"b", -1.0, 3, 4)),
)
HONOURED = Backend(logit_bias="honoured", logprobs=True, token_ids=True)


class Recorder:
    """A Model that notes the keys of its calls."""

    def __init__(self, inner: ScriptedModel) -> None:
        self.inner, self.keys = inner, list[CallKey]()

    async def __call__(self, body: ChatBody, key: CallKey) -> Reply:
        self.keys.append(key)
        return await self.inner(body, key)


def executor(model: Recorder | ScriptedModel, backend: Backend = HONOURED, **more: int) -> ChatExecutor:
    return ChatExecutor(model, FRAME, backend, run="run_1", stage="rollout", seed=more.pop("seed", 0), **more)


# Requests


def test_where_there_is_no_system_role_the_user_begins_with_what_it_says() -> None:
    talk = Task(({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which queue?"}), "billing")
    bare = Backend(system_role="rejected")
    said = [request_body(FRAME, bare, task, 1)["messages"] for task in (TASK, talk)]
    assert said == [
        [{"role": "user", "content": f"Route it.\n\n{TASK.input}"}],
        [{"role": "user", "content": "Route it.\n\nBe brief.\n\nWhich queue?"}],
    ]
    assert len(request_body(FRAME, HONOURED, talk, 1)["messages"]) == 3


@pytest.mark.parametrize(
    ("kind", "off"),
    [
        ("llama.cpp", {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}),
        ("vllm", {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}),
        ("other", {}),
    ],
)
def test_every_sampling_setting_is_stated_and_hidden_samplers_are_off(kind: Any, off: dict[str, float]) -> None:
    stated = {"temperature": 0.7, "top_p": 0.95, "seed": 5, **off}
    backend = Backend(kind=kind)
    assert sampling(FRAME, backend, 5) == stated
    body = request_body(FRAME, backend, TASK, 5)
    assert {name: body[name] for name in stated} == stated


def test_a_request_is_the_frame_around_the_task() -> None:
    body = request_body(FRAME, Backend(), TASK, 5)
    assert body["model"] == "fake"
    assert body["messages"] == [{"role": "system", "content": "Route it."}, {"role": "user", "content": TASK.input}]
    assert body["max_tokens"] == 8
    chat = Task(({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}))
    assert request_body(Frame("fake"), Backend(), chat, 5)["messages"] == list(chat.messages)


@pytest.mark.parametrize(
    ("backend", "asked", "logprobs", "biases"),
    [
        (HONOURED, 20, (True, 20), {"1": 5, "2": -1.0}),
        (HONOURED, 0, (None, None), {"1": 5, "2": -1.0}),
        (Backend(logit_bias="inert"), 20, (None, None), {"1": 5}),
        (Backend(logit_bias="rejected", logprobs=True), 5, (True, 5), {"1": 5}),
    ],
)
async def test_an_upstream_is_only_asked_for_what_it_honours(
    backend: Backend, asked: int, logprobs: tuple[object, object], biases: dict[str, float]
) -> None:
    model = ScriptedModel(lambda body: "billing")
    await executor(model, backend, top_logprobs=asked)(TASK, PRIOR, 0, 0)
    (body,) = model.requests
    assert (body.get("logprobs"), body.get("top_logprobs")) == logprobs
    assert body["logit_bias"] == biases


@pytest.mark.parametrize(
    ("prior", "asked", "listed"),
    [(PRIOR, 20, 50), (PRIOR, 0, 50), (PRIOR, 60, 60), (Prior(), 20, 20), (Prior(), 0, None)],
)
async def test_labels_are_decided_again_by_as_many_alternatives_as_come(
    prior: Prior, asked: int, listed: int | None
) -> None:
    model = ScriptedModel(lambda body: "billing")
    backend = Backend(logit_bias="rejected", logprobs=True, alternatives=50)
    frame = replace(FRAME, labels=("billing", "sales"), request={"max_tokens": 8})
    make = ChatExecutor(model, frame, backend, run="run_1", stage="eval", seed=0, top_logprobs=asked)
    await make(TASK, prior, 0, 0)
    assert model.requests[0].get("top_logprobs") == listed


async def test_seeds_and_keys_are_those_of_the_place_and_not_of_the_order() -> None:
    places = [(step, task, number) for step in range(2) for task in (TASK, Task("Hi")) for number in range(3)]

    async def calls(order: list[tuple[int, Task, int]], seed: int = 0) -> dict[CallKey, int]:
        model = ScriptedModel(lambda body: "billing")
        recorder = Recorder(model)
        for step, task, number in order:
            await executor(recorder, seed=seed)(task, PRIOR, step, number)
        return dict(zip(recorder.keys, [body["seed"] for body in model.requests], strict=True))

    forth = await calls(places)
    assert forth == await calls(places[::-1])
    assert set(forth) == {CallKey("run_1", "rollout", step, task.id, number) for step, task, number in places}
    assert len(set(forth.values())) == len(places)
    assert not set(forth.values()) & set((await calls(places, seed=1)).values())


# Rollouts


async def test_a_rollout_holds_the_whole_trajectory_and_what_it_was_shown() -> None:
    model = ScriptedModel(SimulatedPolicy(("billing",), lambda prompt: [0.0]))
    rollout = await executor(model, top_logprobs=1)(TASK, PRIOR, 3, 2)
    assert rollout.messages == (*model.requests[0]["messages"], {"role": "assistant", "content": "billing"})
    assert rollout.messages[0]["content"].startswith("Route it.\n\n")
    assert "Answer with one word." in rollout.messages[0]["content"]
    assert rollout.included == tuple(experience.id for experience in PRIOR.experiences)
    assert (rollout.task, rollout.step, rollout.sample, rollout.prior) == (TASK, 3, 2, PRIOR.id)
    assert (rollout.text, rollout.finish_reason, rollout.error, rollout.reward) == ("billing", "stop", None, None)
    assert rollout.usage.calls == 1
    assert rollout.trace is not None
    assert rollout.trace.pieces == {0: b"billing"}


@pytest.mark.parametrize("nearest", [0, 1])
async def test_a_task_is_never_shown_its_own_example(nearest: int) -> None:
    pool = Demonstration(str(TASK.input), "billing", TASK.id), Demonstration("My card was charged twice.", "refund")
    model = ScriptedModel(lambda body: "billing")
    rollout = await executor(model)(TASK, Prior(demonstrations=pool, nearest=nearest), 0, 0)
    asked = [message["content"] for message in model.requests[0]["messages"]]
    assert asked == ["Route it.", "My card was charged twice.", "refund", TASK.input]
    assert [message["content"] for message in rollout.messages] == [*asked, "billing"]


async def test_a_call_that_fails_is_a_rollout_with_an_error() -> None:
    rollout = await executor(ScriptedModel(lambda body: Answer("overloaded", status=500)))(TASK, PRIOR, 0, 0)
    assert "overloaded" in (rollout.error or "")
    assert (rollout.text, rollout.reward, rollout.usage) == ("", None, Usage())
    assert rollout.messages[-1]["content"] == TASK.input


class Gone:
    async def __call__(self, body: ChatBody, key: CallKey) -> Reply:
        raise UpstreamError("cannot reach it")


async def test_an_upstream_that_cannot_be_used_is_no_rollout() -> None:
    with pytest.raises(UpstreamError):
        await ChatExecutor(Gone(), FRAME, HONOURED, run="", stage="", seed=0)(TASK, PRIOR, 0, 0)


async def test_a_single_call_is_biased_and_raises() -> None:
    model = ScriptedModel(lambda body: "billing")
    assert (
        await rollout_once(model, FRAME, Task("Where?"), PRIOR, backend=Backend(logit_bias="honoured"), seed=4)
    ).text == "billing"
    assert model.requests[0]["logit_bias"] == {"1": 5, "2": -1.0}
    model.script = lambda body: Answer("overloaded", status=500)
    with pytest.raises(ModelError, match="overloaded"):
        await rollout_once(model, FRAME, Task("Where?"), PRIOR, backend=Backend())


async def test_a_group_is_in_order_of_sample_and_of_one_prior() -> None:
    """Later samples land first, and each is shown its own experiences."""
    finished: list[int] = []

    async def backwards(task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        for _ in range(10 - sample):
            await asyncio.sleep(0)
        finished.append(sample)
        return Rollout(task, step, sample, prior.id, tuple(one.id for one in prior.experiences))

    def under(task: Task, sample: int) -> Under:
        return Under(replace(PRIOR, experiences=PRIOR.experiences[: sample % 3]), f"variant {sample % 2}")

    told: list[Group] = []

    def kept(group: Group) -> Group:
        told.append(group)
        return group

    (group,) = await roll_groups(backwards, [TASK], PRIOR, step=2, size=6, under=under, landed=kept)
    assert told == [group]
    assert finished == [5, 4, 3, 2, 1, 0]
    assert [rollout.sample for rollout in group.rollouts] == list(range(6))
    assert [len(rollout.included) for rollout in group.rollouts] == [0, 1, 2, 0, 1, 2]
    assert {rollout.prior for rollout in group.rollouts} == {PRIOR.id}
    assert [rollout.variant for rollout in group.rollouts] == ["variant 0", "variant 1"] * 3
    assert (group.task, group.step) == (TASK, 2)


# Together


async def value(result: int, turns: int = 0) -> int:
    for _ in range(turns):
        await asyncio.sleep(0)
    return result


async def failing(error: BaseException, turns: int = 0) -> int:
    await value(0, turns)
    raise error


async def test_results_come_in_the_order_given() -> None:
    assert await concurrently(value(number, 10 - number) for number in range(10)) == list(range(10))
    assert await concurrently(()) == []


async def test_the_first_error_cancels_the_rest_and_comes_out_bare() -> None:
    cancelled: list[int] = []

    async def patient(number: int) -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    with pytest.raises(StoreError, match="first"):
        await concurrently(
            [patient(1), failing(ModelError("second"), 5), failing(StoreError("first"), 2), patient(4)],
        )
    assert sorted(cancelled) == [1, 4]
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("error", [UpstreamError("gone"), ExceptionGroup("theirs", [ValueError("x")])])
async def test_an_error_deep_inside_comes_out_as_it_is(error: Exception) -> None:
    async def nested(depth: int) -> int:
        if not depth:
            return await failing(error, 3)
        return sum(await concurrently([nested(depth - 1), nested(depth - 1)]))

    with pytest.raises(type(error)) as caught:
        await nested(3)
    assert caught.value is error
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_work_that_cannot_even_be_listed_is_an_error_and_starts_nothing() -> None:
    started: list[int] = []

    async def work(number: int) -> int:
        started.append(number)
        return number

    def listed() -> Iterator[Coroutine[None, None, int]]:
        yield work(1)
        raise StoreError("no second")

    with pytest.raises(StoreError, match="no second"):
        await concurrently(listed())
    assert started == []


async def test_cancelling_cancels_the_work_and_is_passed_on() -> None:
    cleaned: list[int] = []

    async def work(number: int) -> int:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(number)
        return number

    async def two(number: int) -> list[int]:
        return await concurrently([work(number), work(number + 1)])

    everything = asyncio.create_task(concurrently([two(0), two(2)]))
    await value(0, 5)
    everything.cancel()
    with pytest.raises(asyncio.CancelledError):
        await everything
    assert sorted(cleaned) == [0, 1, 2, 3]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_an_interrupt_inside_the_work_ends_the_program_as_itself(error: BaseException) -> None:
    async def nested() -> list[list[int]]:
        return await concurrently([concurrently([failing(error, 2), value(1, 50)])])

    with pytest.raises(type(error)):
        asyncio.run(nested())


def test_a_request_of_numbers_that_json_cannot_carry_is_refused() -> None:
    with pytest.raises(InputError, match="request: not JSON: Out of range float"):
        request_frame("m", request={"extra": {"weight": 1e400}})


def test_a_failure_is_the_requests_own_or_the_upstreams() -> None:
    """One table decides it for gate, credit, race and eval: the own one is a reward of 0, the other one is missing."""
    own = (
        "127.0.0.1:1 answered 400: too long",
        "127.0.0.1:1 answered 413: too large",
        "127.0.0.1:1 answered 422: no",
        "127.0.0.1:1 did not answer within 600 s; is --base-url right?",
        "127.0.0.1:1 gave no chat completion: {}",
        "127.0.0.1:1 gave an answer that cannot be read: more than 64,000,000 bytes; is --base-url right?",
        "the agent gave no answer within 600 s (--agent-timeout)",
        "the agent failed: ValueError: it read: api answered 503: busy",
        "the program ended with code 3: killed",
        "the reward failed: ValueError: cannot reach a number in this text",
        "the reward failed: KeyError: 'x answered 503: no'",
        "the reward failed: RewardError: it took more than 120 s on one rollout",
    )
    the_upstreams = (
        "127.0.0.1:1 answered 429: slow down",
        "127.0.0.1:1 answered 500: oops, the other one answered 400",
        "127.0.0.1:1 answered 503: busy; the program ended with code 1: it gave up",
        "cannot reach 127.0.0.1:1: refused; is it running, and is --base-url right?",
        "127.0.0.1:1 gave an answer that cannot be read: it is packed as br, which nobody asked for",
        "the reward failed: ModelError: judge:80 answered 503: busy",
        "the reward failed: ConnectError: refused",
    )
    blank = Rollout(TASK, 0, 0, "")
    for error in own:
        assert with_failure(replace(blank, error=error)).reward == 0, error
    for error in the_upstreams:
        assert with_failure(replace(blank, error=error)).reward is None, error
    assert with_failure(blank) == blank
    assert with_failure(replace(blank, text="yes", reward=0.5)).reward == 0.5
