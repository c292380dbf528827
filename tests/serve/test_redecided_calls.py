"""Labels decided again through the clients and the proxy: for upstreams that refuse biases, with the reason told."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

import tfgrpo
from tests.serve.fronts import running
from tests.surfaces.test_labels import ENTRIES, HEARD, LABELS, PRIOR, chat, piece_of
from tfgrpo.model.library import http
from tfgrpo.records import Backend, Frame, backend_key
from tfgrpo.serve.proxy import Proxy, RelayTarget, Shelf
from tfgrpo.store import Store

USAGE = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
ASKED: list[Any] = []


def said(body: Any) -> tuple[bytes, str]:
    """The answer to a request, and its type; with log-probabilities where they are asked for."""
    ASKED.append(body)
    listed = ENTRIES if body.get("logprobs") else None
    if not body.get("stream"):
        one = chat(listed)["choices"][0] | {"finish_reason": "stop"}
        whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "m", "choices": [one]}
        return json.dumps(whole | {"usage": USAGE}).encode(), "application/json"
    chunks = [piece_of(one) | {"object": "chat.completion.chunk", "created": 0, "model": "m"} for one in ENTRIES]
    return b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in chunks) + b"data: [DONE]\n\n", (
        "text/event-stream"
    )


def a_store(folder: Path, url: str, backend: Backend = HEARD, labels: tuple[str, ...] = LABELS) -> Path:
    ASKED.clear()
    with Store(folder / "tfgrpo.db") as store:
        store.add_prior(PRIOR)
        store.set_state("default", PRIOR.id, "ungated", frame=Frame("m", labels=labels))
        store.add_probe(backend_key(url), "m", backend)
    return folder / "tfgrpo.db"


@pytest.fixture
def http_client() -> Iterator[http.Client]:
    def answer(request: http.Request) -> http.Response:
        content, kind = said(json.loads(request.content))
        pieces = iter([content[:50], content[50:]])  # not read before the client does
        return http.Response(200, content=pieces, headers={"content-type": kind})

    with http.Client(transport=http.MockTransport(answer)) as client:
        yield client


URL = "http://api.test/v1"
MESSAGES: Any = [{"role": "user", "content": "?"}]


def test_a_client_decides_the_label_again_and_says_so(tmp_path: Path, http_client: http.Client) -> None:
    store = a_store(tmp_path, URL)
    with tfgrpo.OpenAI(api_key="k", base_url=URL, store=store, http_client=http_client) as client:
        raw = client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES, seed=1)
        chunks = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
        plain = client.chat.completions.create(model="m", messages=MESSAGES, extra_headers={"x-tfgrpo-prior": "none"})
    found = raw.parse()
    assert (found.choices[0].message.content, found.choices[0].logprobs) == ("technical.", None)
    assert (raw.headers["x-tfgrpo-way"], raw.headers["x-tfgrpo-redecided"]) == ("re-decide", "changed")
    assert "x-tfgrpo-token-prior" not in raw.headers
    assert raw.elapsed.total_seconds() > 0
    told = tfgrpo.info(found)
    assert (told.way, told.redecided, list(told.biases)) == ("re-decide", "changed", ["0"])
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "technical."
    assert tfgrpo.info("chatcmpl-none").reason == "unknown"
    assert ASKED[0]["top_logprobs"] == 20
    assert "logit_bias" not in ASKED[0]
    assert plain.choices[0].message.content == "billing."


@pytest.mark.parametrize(
    ("backend", "labels"), [(Backend("other", "rejected"), LABELS), (HEARD, ()), (Backend("other", "inert"), LABELS)]
)
def test_without_log_probabilities_or_labels_it_says_that_the_token_prior_is_left_out(
    tmp_path: Path, http_client: http.Client, backend: Backend, labels: tuple[str, ...]
) -> None:
    store = a_store(tmp_path, URL, backend, labels)
    with tfgrpo.OpenAI(api_key="k", base_url=URL, store=store, http_client=http_client) as client:
        raw = client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
    assert raw.headers["x-tfgrpo-token-prior"] == backend.logit_bias
    assert raw.parse().choices[0].message.content == "billing."
    assert "logprobs" not in ASKED[0]


@pytest.mark.parametrize("stream", [False, True])
def test_where_the_upstream_refuses_what_is_asked_for_the_answer_is_that_of_the_call_as_written(
    tmp_path: Path, stream: bool
) -> None:
    """The caller wants log-probabilities himself; an answer that had no prior is not decided again by one."""

    def answer(request: http.Request) -> http.Response:
        body = json.loads(request.content)
        if "x-tfgrpo-prior" in request.headers:
            return http.Response(400, json={"error": {"message": "no"}})
        content, kind = said(body)
        return http.Response(200, content=content, headers={"content-type": kind})

    store = a_store(tmp_path, URL)
    with (
        http.Client(transport=http.MockTransport(answer)) as inner,
        tfgrpo.OpenAI(api_key="k", base_url=URL, store=store, http_client=inner) as client,
    ):
        asked: Any = {"model": "m", "messages": MESSAGES, "logprobs": True, "stream": stream}
        raw = client.chat.completions.with_raw_response.create(**asked)
        text = raw.http_response.read().decode()
    assert "technical" not in text.replace(json.dumps(ENTRIES[0]["top_logprobs"])[1:-1], "")
    assert (raw.headers["x-tfgrpo-prior"], raw.headers["x-tfgrpo-reason"]) == ("none", "refused")
    assert "x-tfgrpo-way" not in raw.headers


def listing_twenty(request: http.Request) -> http.Response:
    body = json.loads(request.content)
    if body.get("top_logprobs", 0) > 20:
        ASKED.append(body)
        return http.Response(400, json={"error": {"message": "top_logprobs must be at most 20"}})
    content, kind = said(body)
    return http.Response(200, content=content, headers={"content-type": kind})


def test_as_many_alternatives_are_asked_for_as_were_measured_and_twenty_where_so_many_are_refused(
    tmp_path: Path,
) -> None:
    store = a_store(tmp_path, URL, replace(HEARD, alternatives=70))
    with (
        http.Client(transport=http.MockTransport(listing_twenty)) as inner,
        tfgrpo.OpenAI(api_key="k", base_url=URL, store=store, http_client=inner) as client,
    ):
        told = [client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES) for _ in range(4)]
        own: Any = {"model": "m", "messages": MESSAGES, "logprobs": True, "top_logprobs": 2}
        client.chat.completions.create(**own)
    assert [one.headers.get("x-tfgrpo-redecided") for one in told] == [None, None, None, "changed"]
    assert [one.parse().choices[0].message.content for one in told] == ["billing."] * 3 + ["technical."]
    assert [body.get("top_logprobs") for body in ASKED] == [70, None] * 3 + [20, 2]


def test_no_more_alternatives_are_asked_for_than_were_seen_to_come_where_these_are_few(tmp_path: Path) -> None:
    def answer(request: http.Request) -> http.Response:
        body = json.loads(request.content)
        if body.get("top_logprobs", 0) > 8:
            return http.Response(400, json={"error": {"message": "top_logprobs must be at most 8"}})
        content, kind = said(body)
        return http.Response(200, content=content, headers={"content-type": kind})

    store = a_store(tmp_path, URL, replace(HEARD, alternatives=8))
    with (
        http.Client(transport=http.MockTransport(answer)) as inner,
        tfgrpo.OpenAI(api_key="k", base_url=URL, store=store, http_client=inner) as client,
    ):
        told = client.chat.completions.create(model="m", messages=MESSAGES)
    assert (told.choices[0].message.content, ASKED[-1]["top_logprobs"]) == ("technical.", 8)


def test_one_request_that_is_refused_for_its_length_leaves_the_alternatives_of_others_as_they_are(
    tmp_path: Path,
) -> None:
    def answer(request: http.Request) -> http.Response:
        if len(request.content) > 5_000 and "x-tfgrpo-prior" in request.headers:
            return http.Response(400, json={"error": {"message": "context length exceeded"}})
        content, kind = said(json.loads(request.content))
        return http.Response(200, content=content, headers={"content-type": kind})

    store = a_store(tmp_path, URL, replace(HEARD, alternatives=70))
    with (
        http.Client(transport=http.MockTransport(answer)) as inner,
        tfgrpo.OpenAI(api_key="k", base_url=URL, store=store, http_client=inner) as client,
    ):
        for text in ["long " * 2_000, "?"] * 4:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
    assert [body.get("top_logprobs") for body in ASKED] == [None, 70] * 4


async def test_the_proxy_asks_for_twenty_alternatives_where_more_are_refused(tmp_path: Path) -> None:
    async def upstream(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        answer = listing_twenty(http.Request("POST", URL, content=body))
        kind = [(b"content-type", answer.headers["content-type"].encode())]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": kind})
        await send({"type": "http.response.body", "body": answer.content})

    async with running(upstream) as address:
        store = a_store(tmp_path, f"{address}/v1", replace(HEARD, alternatives=1_000))
        proxy = Proxy([RelayTarget.parse(f"{address}/v1")], Shelf(store, "default"))
        async with proxy, running(proxy) as at, openai.AsyncOpenAI(api_key="k", base_url=f"{at}/v1") as client:
            told = [await client.chat.completions.create(model="m", messages=MESSAGES) for _ in range(4)]
    assert [one.choices[0].message.content for one in told] == ["billing."] * 3 + ["technical."]
    assert [body.get("top_logprobs") for body in ASKED] == [100, None] * 3 + [20]


async def test_the_proxy_decides_the_label_again_and_a_client_before_it_does_not_do_so_twice(tmp_path: Path) -> None:
    async def upstream(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        content, kind = said(json.loads(body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind.encode())]})
        await send({"type": "http.response.body", "body": content})

    async with running(upstream) as address:
        store = a_store(tmp_path, f"{address}/v1")
        proxy = Proxy([RelayTarget.parse(f"{address}/v1")], Shelf(store, "default"))
        async with proxy, running(proxy) as at:
            async with openai.AsyncOpenAI(api_key="k", base_url=f"{at}/v1") as client:
                raw = await client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
                stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
                chunks = [chunk async for chunk in stream]
            with Store(store) as opened:
                opened.add_probe(backend_key(f"{at}/v1"), "m", HEARD)
            async with tfgrpo.AsyncOpenAI(api_key="k", base_url=f"{at}/v1", store=store) as client:
                both = await client.chat.completions.create(model="m", messages=MESSAGES)
    assert raw.parse().choices[0].message.content == "technical."
    assert (raw.headers["x-tfgrpo-way"], raw.headers["x-tfgrpo-redecided"]) == ("re-decide", "changed")
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "technical."
    assert both.choices[0].message.content == "technical."
    assert len(ASKED) == 3


def test_several_answers_are_paid_for_only_where_a_call_says_so(tmp_path: Path, http_client: http.Client) -> None:
    store = a_store(tmp_path, URL, labels=())
    with tfgrpo.OpenAI(api_key="k", base_url=URL, store=store, http_client=http_client) as client:
        create = client.chat.completions.with_raw_response.create
        asked = create(model="m", messages=MESSAGES, extra_headers={"x-tfgrpo-resample": "4"})
        plain = create(model="m", messages=MESSAGES)
    assert [body.get("n") for body in ASKED] == [4, None]
    assert (asked.headers["x-tfgrpo-way"], asked.headers["x-tfgrpo-resampled"]) == ("resample", "1 answer")
    assert tfgrpo.info(asked).resampled == "1 answer"
    assert "x-tfgrpo-resampled" not in plain.headers
