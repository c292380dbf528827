"""Long answers through a proxy that has them written in chunks, by a SIMULATED model that counts."""

import asyncio
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.going_on import ASKED as LONG_ASKED
from tests.going_on import LONG, UPSTREAMS, Continuing, upstream_named
from tests.live import MODEL, TEXT, file_of
from tests.rollouts.test_bounded import GOAL, TASK, counting
from tests.serve.fronts import CHAT, Serve, soon
from tfgrpo.errors import InputError
from tfgrpo.records import Backend, ChatBody, backend_key
from tfgrpo.serve.proxy import Recording, Serving, Shelf
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, serving

WHOLE = [str(number) for number in range(1, GOAL + 1)]
ASKED: Any = {"model": MODEL, "messages": [{"role": "user", "content": TASK.prompt}]}
BOUNDED = "x-tfgrpo-bounded"


def known(shelf: Shelf, url: str, kind: Any) -> None:
    with Store(file_of(shelf)) as store:
        store.add_probe(backend_key(url), MODEL, Backend(kind))


@pytest.mark.usefixtures("written_in_thread")
@pytest.mark.parametrize("kind", ["llama.cpp", "vllm"])
async def test_a_long_answer_is_one_completion_with_the_prior_in_each_chunk(
    front: Serve, shelf: Shelf, kind: str
) -> None:
    model = ScriptedModel(counting, name=MODEL)
    with serving(model.app) as url:
        known(shelf, url, kind)
        there = await front(url.removesuffix("/v1"), bounded="64:32:20", recording=Recording(1.0))
        packed = zlib.compress(json.dumps(ASKED).encode())
        sent = await there.outside.post(CHAT, content=packed, headers={"content-encoding": "deflate"})
        few = await there.chat({**ASKED, "max_tokens": 100})
        await soon(there.proxy.__aexit__())
    count, _, way = sent.headers[BOUNDED].partition("; ")
    chunks = int(count)
    assert way == {"llama.cpp": "message", "vllm": "continue_final_message"}[kind]
    said, asked = sent.json(), model.requests[:chunks]
    assert said["choices"][0]["message"]["content"].split() == WHOLE
    assert (said["choices"][0]["finish_reason"], said["usage"]["completion_tokens"]) == ("stop", GOAL)
    assert said["usage"]["total_tokens"] == said["usage"]["prompt_tokens"] + GOAL
    assert [body["max_tokens"] for body in asked] == [64] + [32] * (chunks - 1)
    assert all(str(body["messages"]).count(TEXT) == 1 and body["logit_bias"] for body in asked)
    assert ("continue_final_message" in asked[1]) is (kind == "vllm")
    assert [body["max_tokens"] for body in model.requests[chunks:]] == [64, 32, 4]
    assert few.json()["choices"][0]["finish_reason"] == "length"
    assert (few.json()["usage"]["completion_tokens"], few.headers[BOUNDED]) == (100, f"3; {way}")
    with Store(file_of(shelf)) as store:
        calls = store.inferences("default")
    assert [json.loads(call.request)["messages"] for call in calls] == [ASKED["messages"]] * 2
    assert [json.loads(call.response)["usage"] for call in calls] == [said["usage"], few.json()["usage"]]


@pytest.mark.usefixtures("written_in_thread")
@pytest.mark.parametrize("name", [name for name, (_, way) in UPSTREAMS.items() if way != "text"])
async def test_an_answer_is_whole_by_each_way_that_was_probed(front: Serve, shelf: Shelf, name: str) -> None:
    there, way = upstream_named(name), UPSTREAMS[name][1]
    with serving(there.app) as url:
        with Store(file_of(shelf)) as store:
            store.add_probe(backend_key(url), MODEL, Backend(goes_on=way))
        proxy = await front(url.removesuffix("/v1"), bounded="100:40:40", recording=Recording(1.0))
        asked = {"model": MODEL, "messages": [{"role": "user", "content": LONG_ASKED}]}
        sent = await proxy.chat({**asked, "max_completion_tokens": 5_000, "min_p": 0.1})
        await soon(proxy.proxy.__aexit__())
    said, chunks = sent.json(), there.chunks
    choice = said["choices"][0]
    assert (choice["message"], choice["finish_reason"]) == ({"role": "assistant", "content": LONG}, "stop")
    assert (said["object"], sent.headers[BOUNDED]) == ("chat.completion", f"{len(chunks)}; {way}")
    assert said["usage"]["prompt_tokens"] == 7 * len(chunks)
    assert all(TEXT in str(body) for body in chunks if "messages" in body or isinstance(body["prompt"], str))
    assert all(body["min_p"] == 0.1 and body["logit_bias"] for body in chunks)
    assert any("prompt" in body for body in chunks) is (way in ("apply-template", "tokenize"))
    with Store(file_of(shelf)) as store:
        (call,) = store.inferences("default")
    assert json.loads(call.response)["usage"] == said["usage"]


async def test_what_was_reasoned_out_of_sight_is_given_as_text(front: Serve, shelf: Shelf) -> None:
    there = Continuing("message", reasons=True)
    with serving(there.app) as url:
        with Store(file_of(shelf)) as store:
            store.add_probe(backend_key(url), MODEL, Backend(goes_on="message"))
        proxy = await front(url.removesuffix("/v1"), bounded="100:40:40")
        sent = await proxy.chat({"model": MODEL, "messages": [{"role": "user", "content": LONG_ASKED}]})
    assert sent.json()["choices"][0]["message"]["content"] == LONG
    assert sent.headers[BOUNDED] == f"{len(there.chunks)}; text"


async def test_a_template_that_is_gone_is_the_answer_and_one_that_is_none_a_clear_error(
    front: Serve, shelf: Shelf
) -> None:
    there = Continuing(routes=("/v1/completions",))
    model = ScriptedModel(lambda body: Answer("1 ", "length"), name=MODEL)
    for app, status in ((there.app, 404), (model.app, 502)):
        with serving(app) as url:
            with Store(file_of(shelf)) as store:
                store.add_probe(backend_key(url), MODEL, Backend(goes_on="apply-template"))
            proxy = await front(url.removesuffix("/v1"), bounded="100:40:40")
            told = await proxy.chat({"model": MODEL, "messages": [{"role": "user", "content": LONG_ASKED}]})
            assert told.status_code == status
    assert told.json()["error"]["message"] == "/apply-template gives no prompt"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"stream": True}, "stream"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"n": 2}, "n"),
        ({"response_format": {"type": "json_object"}}, "structured"),
        ({"logprobs": True}, "logprobs"),
        ({"max_tokens": 64}, "short"),
        ({"model": "unknown"}, "upstream"),
        ({"messages": [*ASKED["messages"], {"role": "assistant", "content": "1 2"}]}, "continues"),
        ({"messages": "?"}, "shape"),
    ],
)
async def test_what_cannot_be_cut_passes_as_it_is_and_says_why(
    front: Serve, shelf: Shelf, more: ChatBody, why: str
) -> None:
    model = ScriptedModel(lambda body: Answer("1 2"), name=MODEL)
    with serving(model.app) as url:
        known(shelf, url, "llama.cpp")
        there = await front(url.removesuffix("/v1"), bounded="64:32:20")
        told = await there.chat({**ASKED, **more})
        other = await there.in_process.get("/v1/models")
    assert told.headers[BOUNDED] == f"none; {why}"
    assert BOUNDED not in other.headers
    assert all(body.get("max_tokens") == more.get("max_tokens") for body in model.requests)


async def test_a_chunk_that_fails_is_the_answer_and_one_without_text_a_clear_error(front: Serve, shelf: Shelf) -> None:
    came: list[int] = []

    async def fails_once(scope: Any, receive: Any, send: Any) -> None:
        came.append(1)
        if len(came) != 2:
            await model.app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 429, "headers": [(b"retry-after", b"7")]})
        await send({"type": "http.response.body", "body": b"slower"})

    model = ScriptedModel(lambda body: Answer("" if len(came) > 2 else "1 2 ", "length"), name=MODEL)
    with serving(fails_once) as url:
        known(shelf, url, "llama.cpp")
        there = await front(url.removesuffix("/v1"), bounded="64:32:20")
        later, textless = await there.chat(ASKED), await there.chat(ASKED)
    assert (later.status_code, later.text, later.headers["retry-after"]) == (429, "slower", "7")
    assert later.headers[BOUNDED] == "1"
    assert (textless.status_code, textless.json()["error"]["code"]) == (502, "upstream_chunk")
    assert "a chunk has no text" in textless.json()["error"]["message"]


@pytest.mark.parametrize("used", [None, [1], {"prompt_tokens": None, "completion_tokens": "5"}, {"input_tokens": 3}])
async def test_an_upstream_that_counts_its_tokens_in_no_known_form_is_gone_on_with(
    front: Serve, shelf: Shelf, used: Any
) -> None:
    said = iter([("1 ", "length"), ("2", "stop")])

    async def counts(scope: Any, receive: Any, send: Any) -> None:
        text, finish = next(said)
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps({"choices": [choice], "usage": used}).encode()})

    there = await front(counts, bounded="64:32:20")
    known(shelf, there.proxy._rotation.targets[0].base, "llama.cpp")
    await asyncio.to_thread(shelf.refresh)
    told = await there.chat(ASKED)
    assert told.json()["choices"][0]["message"]["content"] == "1 2"
    assert told.headers[BOUNDED] == "2; message"


async def test_a_caller_who_leaves_ends_the_chunk_that_is_on_its_way_and_none_follows(
    front: Serve, shelf: Shelf
) -> None:
    asked, left = asyncio.Semaphore(0), asyncio.Event()

    async def hangs(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        asked.release()
        if len(seen) == 0:
            seen.append(1)
            content = json.dumps({"choices": [{"message": {"content": "1 "}, "finish_reason": "length"}]}).encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": content})
            return
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    seen: list[int] = []
    there = await front(hangs, bounded="64:32:20", in_flight=1)
    target = there.proxy._rotation.targets[0]
    known(shelf, target.base, "llama.cpp")
    await asyncio.to_thread(shelf.refresh)
    call = asyncio.create_task(there.outside.post(CHAT, json=ASKED))
    await soon(asked.acquire())
    await soon(asked.acquire())
    assert (await there.chat(ASKED)).status_code == 429  # the call in chunks has the one place
    call.cancel()
    await soon(left.wait())


def test_bounds_that_cannot_be_are_told() -> None:
    with pytest.raises(InputError, match="CHUNK:CARRY:CHUNKS"):
        Serving([], Path("s.db"), bounded="64:64:2")
