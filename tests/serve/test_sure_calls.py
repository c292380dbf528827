"""Triggers that look at log-probabilities, through the clients and the proxy: heard where the caller asks for them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tfgrpo
from tests.live import MODEL, go_live
from tests.serve.fronts import Serve
from tests.serve.test_feedback import written
from tests.surfaces.test_sureness import listed
from tfgrpo.model.events import events
from tfgrpo.model.library import http
from tfgrpo.records import Experience, Prior
from tfgrpo.serve.call_info import INFERENCE_HEADER
from tfgrpo.serve.passing import look_at_all
from tfgrpo.serve.proxy import Recording, Shelf
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel

SAID = "Look again."
PRIOR = Prior((Experience(f"[on margin below .5] {SAID}"),), template="t")
ASKS = {"logprobs": True, "top_logprobs": 2}
ENTRIES = [listed(0.45, 0.4)]


def begun(answer: str) -> list[Any]:
    """A conversation whose first answer is this; the question is of one test alone, since a process remembers."""
    question = {"role": "user", "content": f"Where is it, {answer}?"}
    return [question, {"role": "assistant", "content": answer}, {"role": "user", "content": "Sure?"}]


@pytest.fixture
def asked() -> list[Any]:
    return []


@pytest.fixture
def http_client(asked: list[Any]) -> Iterator[http.Client]:
    def answer(request: http.Request) -> http.Response:
        asked.append(body := json.loads(request.content))
        said = {"role": "assistant", "content": "in Rome" if body.get("stream") else "in Lima"}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        choice |= {"logprobs": {"content": ENTRIES}} if body.get("logprobs") else {}
        whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice]}
        content = b"".join(events(whole, usage=False)) if body.get("stream") else json.dumps(whole).encode()
        kind = "text/event-stream" if body.get("stream") else "application/json"
        return http.Response(200, content=iter([content[:30], content[30:]]), headers={"content-type": kind})

    with http.Client(transport=http.MockTransport(answer)) as client:
        yield client


@pytest.mark.parametrize(("streams", "answer"), [(True, "in Rome"), (False, "in Lima")])
def test_a_client_hears_how_sure_an_answer_was(
    tmp_path: Path, http_client: http.Client, asked: list[Any], streams: bool, answer: str
) -> None:
    store, talk = go_live(tmp_path / "s.db", PRIOR), begun(answer)
    with tfgrpo.OpenAI(api_key="k", base_url="http://api.test/v1", store=store, http_client=http_client) as client:
        create: Any = client.chat.completions.create
        for more in ({}, ASKS):
            got = create(model=MODEL, messages=talk[:1], stream=streams, **more)
            if streams:
                list(got)
            create(model=MODEL, messages=talk)
    assert [body["messages"][-1]["content"] for body in asked[1::2]] == ["Sure?", f"Sure?\n\n{SAID}"]


async def test_the_proxy_hears_it_and_keeps_no_text_for_it(front: Serve, shelf: Shelf, written_in_thread: None) -> None:
    go_live(shelf.path, PRIOR)
    model = ScriptedModel(lambda _: Answer("in Oslo", logprobs=ENTRIES))
    at, talk = await front(model.app, recording=Recording(0.0)), begun("in Oslo")
    for more in ({}, ASKS):
        first = await at.chat({"model": MODEL, "messages": talk[:1], **more})
        await at.chat({"model": MODEL, "messages": talk})
    assert [body["messages"][-1]["content"] for body in model.requests[1::2]] == ["Sure?", f"Sure?\n\n{SAID}"]
    one = first.headers[INFERENCE_HEADER]
    await written(shelf.path, lambda store: store.inference(one) is not None)
    with Store(shelf.path) as store:
        call = store.inference(one)
    assert call is not None
    assert (call.request, call.response) == ("", "")


async def test_where_nobody_asks_for_them_it_says_so_once(
    front: Serve, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    go_live(shelf.path, PRIOR)
    at = await front(ScriptedModel(lambda _: "in Kyiv").app)
    for _ in range(2):
        await at.chat({"model": MODEL, "messages": begun("in Kyiv")})
    assert caplog.text.count("callers do not ask for them: logprobs true, top_logprobs 5") == 1


def test_a_response_that_cannot_be_unpacked_is_its_callers_to_see() -> None:
    packed, told = {"content-encoding": "gzip"}, list[bytes]()
    response = http.Response(200, headers=packed, content=iter([b"no gzip"]))
    look_at_all(response, told.append)
    assert list(response.iter_raw()) == [b"no gzip"]
    assert told == []
