"""Long answers of the SDK's clients in bounded context, with the live prior in each chunk, by a SIMULATED model."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import openai
import pytest

import tfgrpo
from tests.going_on import ASKED as LONG_ASKED
from tests.going_on import LONG, UPSTREAMS, Continuing, upstream_named
from tests.live import MODEL, OTHER, go_live
from tests.rollouts.test_bounded import GOAL, TASK, counting
from tfgrpo.errors import InputError, ModelError
from tfgrpo.probe.goes_on import MOST_TRIED
from tfgrpo.records import Backend, message_text
from tfgrpo.rollouts.bounded import HEAD, bounds_of
from tfgrpo.rollouts.chunk_answers import ChunkSaid
from tfgrpo.rollouts.ways_on import ChunkRequest
from tfgrpo.serve.chunk_steps import _counting, written_in_chunks
from tfgrpo.testing import Answer, ScriptedModel, serving

WHOLE = [str(number) for number in range(1, GOAL + 1)]
ASKED: Any = [{"role": "system", "content": "Count."}, {"role": "user", "content": TASK.prompt}]


@pytest.mark.parametrize("owner", ["llamacpp", "vllm", "openai"])
def test_a_long_answer_is_whole_and_no_request_is_long(owner: str) -> None:
    model = ScriptedModel(counting, name="m", owner=owner)
    with serving(model.app) as url, openai.OpenAI(base_url=url, api_key="none") as client:
        said = tfgrpo.chat_in_chunks(client, "64:32:20", model="m", messages=ASKED, max_tokens=999, temperature=0)
    requests = [body for body in model.requests if body["messages"][0] == ASKED[0]]
    assert said.text.split() == WHOLE
    assert (said.finish_reason, said.usage.calls, said.usage.completion_tokens) == ("stop", len(requests), GOAL)
    assert said.way == {"llamacpp": "message", "vllm": "continue_final_message", "openai": "text"}[owner]
    assert [body["max_tokens"] for body in requests] == [64] + [32] * (len(requests) - 1)
    longest = max(sum(len(message_text(one).split()) for one in body["messages"]) for body in requests)
    assert longest <= len(TASK.prompt.split()) + HEAD + 64 + 25
    assert ("continue_final_message" in requests[1]) is (owner == "vllm")
    assert len(model.requests) - len(requests) == (3 if owner == "openai" else 0)  # by which it was tried


@pytest.mark.parametrize("name", UPSTREAMS)
async def test_how_it_goes_on_is_tried_once_for_each_client_and_model(name: str) -> None:
    there, asked = upstream_named(name), [{"role": "user", "content": LONG_ASKED}]
    extra: Any = {"extra_headers": {"x-of-caller": "1"}, "extra_body": {"min_p": 0.1}, "timeout": 60}
    with serving(there.app) as url:
        with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
            made = [
                tfgrpo.chat_in_chunks(client, "100:40:40", model="m", messages=asked, **extra),
                tfgrpo.chat_in_chunks(client, "100:40:40", model="m", messages=asked, max_completion_tokens=5_000),
            ]
        chunks, requests = list(there.chunks), list(there.requests)
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as other:
            made.append(await tfgrpo.achat_in_chunks(other, "100:40:40", model="m", messages=asked, temperature=0.0))
    assert [(said.text, said.finish_reason, said.way) for said in made] == [(LONG, "stop", UPSTREAMS[name][1])] * 3
    assert sum(said.usage.calls for said in made[:2]) == len(chunks)
    tried = [body for route, body in requests if "days of the week" in str(body) and route != "/tokenize"]
    assert len(tried) <= MOST_TRIED
    assert all(body.get("min_p") == (0.1 if place < len(chunks) / 2 else None) for place, body in enumerate(chunks))
    assert all("temperature" not in body for _, body in requests)


def test_where_a_prior_is_added_no_text_is_gone_on_from_without_it(tmp_path: Path) -> None:
    """A completion of a text would have none of its experiences: the work goes as text, and each chunk has them."""
    there = upstream_named("template")
    with (
        serving(there.app) as url,
        tfgrpo.OpenAI(base_url=url, api_key="none", store=go_live(tmp_path / "t.db", OTHER, model="m")) as client,
    ):
        asked: Any = [{"role": "user", "content": LONG_ASKED}]
        said = tfgrpo.chat_in_chunks(client, "100:40:40", model="m", messages=asked)
        with tfgrpo.disabled():
            plain = tfgrpo.chat_in_chunks(client, "100:40:40", model="m", messages=asked)
    assert [(one.text, one.way) for one in (said, plain)] == [(LONG, "text"), (LONG, "apply-template")]
    words = OTHER.experiences[0].text
    assert [words in str(body) for body in there.chunks] == [True] * said.usage.calls + [False] * plain.usage.calls
    assert not any(words in str(body) for _, body in there.requests if "days of the week" in str(body))


def test_a_chunk_that_the_upstream_refuses_is_raised_as_the_sdk_does() -> None:
    model = ScriptedModel(
        lambda body: Answer("slower", status=429) if len(model.requests) > 4 else Answer("1 ", "length")
    )
    with (
        serving(model.app) as url,
        openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client,
        pytest.raises(openai.RateLimitError),
    ):
        tfgrpo.chat_in_chunks(client, "64:32:20", model="m", messages=ASKED)
    assert len(model.requests) == 5


@pytest.mark.parametrize(
    "told",
    [
        "<html>",
        '{"err',
        "null",
        '{"error": {"message": "no"}}',
        '{"choices": []}',
        '{"choices": [{"text": 1}]}',
        "nested",
    ],
)
@pytest.mark.parametrize("kind", [b"application/json", b"text/html"])
def test_what_is_only_tried_may_be_answered_by_anything(told: str, kind: bytes) -> None:
    there = Continuing(routes=("/apply-template",))

    async def garbling(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        if b"days of the week" not in message["body"] or scope["path"] == "/apply-template":
            await there.app(scope, lambda: _at_once(message), send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        body = b"[" * 99_999 if told == "nested" else told.encode()
        await send({"type": "http.response.body", "body": body})

    with serving(garbling) as url, openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        asked: Any = [{"role": "user", "content": LONG_ASKED}]
        said = tfgrpo.chat_in_chunks(client, "100:40:40", model="m", messages=asked)
        with pytest.raises(ModelError, match="no chat completion"):
            tfgrpo.chat_in_chunks(client, "9:4:4", model="m", messages=[{"role": "user", "content": _TRIED}])
    assert (said.text, said.way) == (LONG, "text")


_TRIED = "Name the days of the week."


async def _at_once(message: Any) -> Any:
    return message


def test_who_is_told_to_wait_while_it_is_tried_finds_the_way_the_next_time() -> None:
    there, busy = Continuing("prefix"), [True]

    async def slower(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        if busy and b"days of the week" in message["body"]:
            await send({"type": "http.response.start", "status": 429, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})
            return
        await there.app(scope, lambda: _at_once(message), send)

    asked: Any = [{"role": "user", "content": LONG_ASKED}]
    with serving(slower) as url, openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        with pytest.raises(openai.RateLimitError):
            tfgrpo.chat_in_chunks(client, "100:40:40", model="m", messages=asked)
        busy.clear()
        said = tfgrpo.chat_in_chunks(client, "100:40:40", model="m", messages=asked)
    assert (said.text, said.way) == (LONG, "prefix")


def test_what_is_reasoned_in_a_later_chunk_is_not_gone_on_with_either() -> None:
    steps = written_in_chunks(bounds_of("9:4:4"), {"model": "m", "messages": ASKED}, _prefix)
    next(steps)
    asked = steps.send(ChunkSaid("1 2 ", "length"))
    assert asked.body["messages"][-1]["prefix"]
    asked = steps.send(ChunkSaid("3 4 ", "length", reasoned=True))
    assert "<work>" in asked.body["messages"][-1]["content"]
    with pytest.raises(StopIteration) as done:
        steps.send(ChunkSaid("5", "stop"))
    assert (done.value.value.text, done.value.value.way) == ("1 2 3 4 5", "text")


def _prefix(first: ChunkSaid) -> Generator[ChunkRequest, Any, Backend]:
    yield from ()
    return Backend(goes_on="prefix")


def test_our_client_adds_the_live_prior_to_each_chunk(tmp_path: Path) -> None:
    model = ScriptedModel(counting, name=MODEL, owner="llamacpp")
    with (
        serving(model.app) as url,
        tfgrpo.OpenAI(base_url=url, api_key="none", store=go_live(tmp_path / "t.db", OTHER)) as client,
    ):
        said = tfgrpo.chat_in_chunks(client, "64:32:20", model=MODEL, messages=ASKED)
    assert said.text.split() == WHOLE
    assert all(OTHER.experiences[0].text in message_text(body["messages"][0]) for body in model.requests)


async def test_an_async_client_does_the_same_and_too_few_chunks_are_told() -> None:
    with serving(ScriptedModel(counting, name="m").app) as url:
        async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
            said = await tfgrpo.achat_in_chunks(client, "64:32:20", model="m", messages=ASKED)
            cut = await tfgrpo.achat_in_chunks(client, "64:32:3", model="m", messages=ASKED)
            short = await tfgrpo.achat_in_chunks(client, "64:32:3", model="m", messages=ASKED, max_tokens=100)
            extra: Any = {"extra_body": {"max_tokens": 100, "min_p": 0.1}}
            alike = await tfgrpo.achat_in_chunks(client, "64:32:3", model="m", messages=ASKED, **extra)
    assert said.text.split() == WHOLE
    assert (cut.finish_reason, cut.usage.calls, len(cut.text.split())) == ("length", 3, 128)
    assert (short.finish_reason, short.usage.calls, len(short.text.split())) == ("length", 3, 100)
    assert alike == short


@pytest.mark.parametrize(
    ("bounded", "more", "words"),
    [
        ("32:64:8", {}, "bounded is '32:64:8'"),
        ("64", {}, "CHUNK:CARRY:CHUNKS"),
        (None, {}, "CHUNK:CARRY:CHUNKS"),
        ("64:32:8", {"max_completion_tokens": 0}, "max_completion_tokens is 0; it must be a whole number from 1 on"),
        ("64:32:8", {"max_tokens": 9.5}, "max_tokens is 9.5; it must be a whole number"),
        ("64:32:8", {"stream": True}, "stream goes with no answer in chunks"),
        ("64:32:8", {"n": 2}, "n goes with no answer in chunks"),
        ("64:32:8", {"tools": [{}]}, "tools goes with no answer in chunks"),
        ("64:32:8", {"response_format": {"type": "json_object"}}, "response_format goes with no answer in chunks"),
        ("64:32:8", {"extra_body": {"guided_json": {}, "grammar": "x"}}, "grammar goes with no answer in chunks"),
        ("64:32:8", {"messages": []}, "none of a user"),
    ],
)
def test_what_cannot_be_cut_is_said_before_anything_is_sent(bounded: Any, more: dict[str, Any], words: str) -> None:
    client = openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="none")
    with pytest.raises(InputError, match=words):
        tfgrpo.chat_in_chunks(client, bounded, **{"model": "m", "messages": ASKED, **more})


def test_a_chunk_without_text_is_an_error() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    model = ScriptedModel(lambda body: Answer("", tool_calls=[call]), name="m")
    with (
        serving(model.app) as url,
        openai.OpenAI(base_url=url, api_key="none") as client,
        pytest.raises(ModelError, match="a chunk has no text"),
    ):
        tfgrpo.chat_in_chunks(client, "64:32:8", model="m", messages=ASKED)


async def test_an_upstream_without_a_list_of_models_will_do_and_a_limit_keeps_its_name() -> None:
    model = ScriptedModel(lambda body: counting({**body, "max_tokens": body["max_completion_tokens"]}), name="m")

    async def unlisted(scope: Any, receive: Any, send: Any) -> None:
        await model.app({**scope, "path": scope["path"].replace("/models", "/none")}, receive, send)

    with serving(unlisted) as url:
        async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
            asked: Any = {"model": "m", "messages": ASKED, "max_completion_tokens": 999}
            said = await tfgrpo.achat_in_chunks(client, "64:32:20", **asked)
    assert said.text.split() == WHOLE
    assert not any("max_tokens" in body for body in model.requests)


def test_where_no_tokens_are_counted_a_chunk_has_no_more_of_an_answer_than_its_carry() -> None:
    assert _counting(0, "word " * 1_000)("word " * 100) > 100
