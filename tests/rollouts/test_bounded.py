"""Answers written in chunks, by a SIMULATED model that counts on from the last number that it sees."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.going_on import ASKED, LONG, UPSTREAMS, Continuing, upstream_named
from tests.inprocess import MemoryJournal, upstream
from tests.toy import tokenizer
from tfgrpo.probe.goes_on import with_way_on
from tfgrpo.records import Backend, ChatBody, Frame, Prior, Task, message_text
from tfgrpo.rollouts.bounded import (
    HEAD,
    BoundedExecutor,
    Bounds,
    bounds_of,
    carried,
    first_tokens,
    last_tokens,
)
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.rollouts.ways_on import added, steps_on
from tfgrpo.testing import Answer, ScriptedModel

Kind: TypeAlias = Literal["llama.cpp", "vllm", "other"]
GOAL = 400
TASK = Task(f"Count from 1 to {GOAL}.")
BOUNDS = Bounds(chunk=64, carry=32, chunks=20)


def counting(body: ChatBody) -> Answer:
    """Words of numbers, from the last one that stands in the request's work, as many as `max_tokens` lets it write."""
    last = message_text(body["messages"][-1])
    asked = "Count from" in last and "<work>" not in last
    work = last.partition("<work>")[2].partition("</work>")[0] or last
    seen = 0 if asked else int((re.findall(r"\d+", work) or ["0"])[-1])  # none in what a probe asks
    numbers = range(seen + 1, min(GOAL, seen + body.get("max_tokens", 1)) + 1)
    text = "".join(f"{number} " for number in numbers)
    return Answer(text, "stop" if numbers.stop > GOAL else "length")


def executor(model: ScriptedModel, backend: Backend, bounds: Bounds = BOUNDS) -> BoundedExecutor:
    plain = ChatExecutor(model, Frame("fake"), backend, run="run_1", stage="rollout", seed=0)
    return BoundedExecutor(plain, bounds, lambda: None)


@pytest.mark.parametrize("kind", ["llama.cpp", "vllm", "other"])
async def test_a_long_answer_is_written_whole_in_chunks_of_bounded_context(kind: Kind) -> None:
    model = ScriptedModel(counting)
    rollout = await executor(model, Backend(kind))(TASK, Prior(), 0, 0)
    assert rollout.text.split() == [str(number) for number in range(1, GOAL + 1)]
    assert (rollout.finish_reason, rollout.usage.calls) == ("stop", len(model.requests))
    assert rollout.usage.completion_tokens == GOAL
    assert [body["max_tokens"] for body in model.requests] == [64] + [32] * (len(model.requests) - 1)
    longest = max(sum(len(message_text(one).split()) for one in body["messages"]) for body in model.requests)
    assert longest <= len(TASK.prompt.split()) + HEAD + BOUNDS.chunk + 20  # the words around the work
    assert rollout.messages[-1] == {"role": "assistant", "content": rollout.text}


async def test_where_it_goes_on_from_its_own_message_or_is_told_its_work() -> None:
    asked = {}
    kinds: tuple[Kind, ...] = ("llama.cpp", "vllm", "other")
    for kind in kinds:
        model = ScriptedModel(counting)
        await executor(model, Backend(kind))(TASK, Prior(), 0, 0)
        asked[kind] = model.requests[1]
    assert asked["llama.cpp"]["messages"][-1]["role"] == "assistant"
    assert "continue_final_message" not in asked["llama.cpp"]
    assert (asked["vllm"]["continue_final_message"], asked["vllm"]["add_generation_prompt"]) == (True, False)
    (told,) = asked["other"]["messages"]
    assert told["content"].startswith(TASK.prompt)
    assert "<work>" in told["content"]


@pytest.mark.parametrize("name", UPSTREAMS)
async def test_a_rollout_is_whole_by_each_way_that_was_found(name: str) -> None:
    there, journal = upstream_named(name), MemoryJournal()
    async with upstream(there.app, journal=journal) as calling:
        backend = await with_way_on(calling, Backend(), Frame("m"), run="run_1")
        plain = ChatExecutor(calling, Frame("m"), backend, run="run_1", stage="rollout", seed=0)
        of = BoundedExecutor(plain, Bounds(100, 40, 40), lambda: None)
        made = await of(Task(ASKED), Prior(), 0, 0)
        asked, refused = len(there.requests), there.refused
        again = await of(Task(ASKED), Prior(), 0, 0)
    assert (made.text, made.finish_reason, made.error) == (LONG, "stop", None)
    assert made.usage.calls == len(there.chunks) > 3
    least = -(-len(LONG.encode()) // 3)
    assert least <= made.usage.completion_tokens <= least + made.usage.calls  # those that end within a token
    assert {body["max_tokens"] for body in there.chunks} == {100, 60}
    assert (again, len(there.requests), there.refused) == (made, asked, refused)
    by_text = [body for body in there.chunks if "prompt" in body]
    assert bool(by_text) is (backend.goes_on in ("apply-template", "tokenize"))
    assert all(body["seed"] == there.chunks[0]["seed"] for body in by_text)


async def test_what_was_reasoned_out_of_sight_is_not_gone_on_with_though_the_probe_saw_a_way() -> None:
    there = Continuing("message", reasons=True)
    async with upstream(there.app) as calling:
        plain = ChatExecutor(calling, Frame("m"), Backend(goes_on="message"), run="", stage="rollout", seed=0)
        made = await BoundedExecutor(plain, Bounds(100, 40, 40), lambda: None)(Task(ASKED), Prior(), 0, 0)
    assert (made.text, made.finish_reason) == (LONG, "stop")
    assert ["<work>" in str(body) for body in there.chunks] == [False, *[True] * (len(there.chunks) - 1)]


async def test_a_further_chunk_that_adds_nothing_is_the_last_one() -> None:
    there = Continuing("message", empty=True)
    async with upstream(there.app) as calling:
        plain = ChatExecutor(calling, Frame("m"), Backend(goes_on="message"), run="", stage="rollout", seed=0)
        made = await BoundedExecutor(plain, Bounds(100, 40, 40), lambda: None)(Task(ASKED), Prior(), 0, 0)
    assert (made.text, made.finish_reason, made.error) == (LONG.encode()[:300].decode(errors="ignore"), "length", None)
    assert made.usage.calls == 2


async def test_truncation_fails_where_chunks_do_not_and_chunks_end_in_time() -> None:
    cut = await executor(ScriptedModel(counting), Backend(), replace(BOUNDS, chunks=1))(TASK, Prior(), 0, 0)
    assert (cut.finish_reason, len(cut.text.split())) == ("length", 64)
    three = await executor(ScriptedModel(counting), Backend(), replace(BOUNDS, chunks=3))(TASK, Prior(), 0, 0)
    assert (three.finish_reason, three.usage.calls, len(three.text.split())) == ("length", 3, 128)


async def test_a_limit_of_the_request_is_one_on_the_whole_answer() -> None:
    for name, limit, asked in (("max_tokens", 100, [64, 32, 4]), ("max_completion_tokens", 20, [20])):
        model = ScriptedModel(counting)
        plain = ChatExecutor(model, Frame("fake", request={name: limit}), Backend(), run="r", stage="rollout", seed=0)
        rollout = await BoundedExecutor(plain, BOUNDS, lambda: None)(TASK, Prior(), 0, 0)
        assert [body["max_tokens"] for body in model.requests] == asked
        assert not any("max_completion_tokens" in body for body in model.requests)
        assert (rollout.finish_reason, len(rollout.text.split())) == ("length", limit)
    assert [BOUNDS.most(limit) for limit in (None, -1, 64, 65)] == [(20, 672), (20, 672), (1, 64), (2, 65)]


async def test_reasoning_that_fills_the_first_chunk_out_of_sight_is_said_and_not_gone_on_from() -> None:
    model = ScriptedModel(lambda body: Answer("", "length"))
    rollout = await executor(model, Backend())(TASK, Prior(), 0, 0)
    assert "reasons out of sight" in (rollout.error or "")
    assert (rollout.usage.calls, len(model.requests)) == (1, 1)


async def test_a_chunk_that_fails_is_a_rollout_with_an_error_and_what_it_has_cost() -> None:
    model = ScriptedModel(lambda body: counting(body) if "<work>" not in str(body) else Answer("no", status=400))
    rollout = await executor(model, Backend())(TASK, Prior(), 0, 0)
    assert rollout.error
    assert (rollout.reward, rollout.usage.completion_tokens) == (None, 64)


TOY = tokenizer(["alpha", "beta", "gamma"])


def toy_count(text: str) -> int:
    return len(TOY.encode(text))


@given(st.text(alphabet="alphbetgm é漢🙂", max_size=60), st.integers(0, 30))
def test_cuts_are_of_whole_characters_and_hold_no_more_tokens_than_asked(text: str, tokens: int) -> None:
    count: Callable[[str], int] = toy_count
    head, tail = first_tokens(text, tokens, count), last_tokens(text, tokens, count)
    assert text.startswith(head)
    assert text.endswith(tail)
    assert max(count(head), count(tail)) <= tokens
    assert len(head) == len(text) or count(text[: len(head) + 1]) > tokens - 2


async def test_a_server_that_says_the_work_again_is_not_taken_at_its_word_twice() -> None:
    """As llama.cpp was seen to; some templates take blanks off its end."""

    def echoing(body: ChatBody) -> Answer:
        last = body["messages"][-1]
        said = counting(body)
        return replace(said, text=last["content"] + said.text) if last["role"] == "assistant" else said

    rollout = await executor(ScriptedModel(echoing), Backend("llama.cpp"))(TASK, Prior(), 0, 0)
    assert rollout.text.split() == [str(number) for number in range(1, GOAL + 1)]
    work = ("1, 2", "1, 2 ", "", "4")
    for kind in ("llama.cpp", "other"):
        assert [added("1, 2, 3", one, Backend(kind)) for one in work] == [", 3", ", 3", "1, 2, 3", "1, 2, 3"]


async def test_what_repeats_itself_is_whole_where_the_upstream_goes_on(kind: Kind = "vllm") -> None:
    beats = ScriptedModel(lambda body: Answer("la " * body["max_tokens"], "length"))
    rollout = await executor(beats, Backend(kind), Bounds(chunk=64, carry=32, chunks=3))(TASK, Prior(), 0, 0)
    assert len(rollout.text.split()) == 128


async def test_a_model_that_goes_on_from_text_is_told_of_a_gap_where_there_is_one() -> None:
    model = ScriptedModel(counting)
    await executor(model, Backend("other"))(TASK, Prior(), 0, 0)
    told = ["without its middle part" in message_text(body["messages"][0]) for body in model.requests]
    assert told == sorted(told)
    assert told[:3] == [False, False, False]  # the question alone, then 64 and 96 words of 100 and 32
    assert told[-1]


def test_what_is_carried_over_is_all_of_it_or_both_ends() -> None:
    short, long = "x" * 50, "".join(chr(97 + place % 26) for place in range(400))
    assert carried(short, BOUNDS, len) == short
    assert carried(long, BOUNDS, len) == long[:HEAD] + long[-32:]
    assert carried("x" * (HEAD + 32), BOUNDS, len) == "x" * (HEAD + 32)
    assert bounds_of("64:32:20") == BOUNDS


def test_a_picture_in_the_question_is_in_every_chunk() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,x"}}
    asked = {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]}
    with pytest.raises(StopIteration) as done:
        next(steps_on(asked, "It has", Backend("other"), "It has"))
    first, told = done.value.value.body["messages"][0]["content"]
    assert first == picture
    assert "What is it?" in told["text"]
    assert "It has" in told["text"]
