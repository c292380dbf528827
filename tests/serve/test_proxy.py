"""The proxy between the real SDK and an upstream app: what it adds, what it passes on, and who may leave when."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import httpx2
import openai
import pytest

from tests.live import MODEL, OTHER, PRIOR, TEXT, file_of, go_live
from tests.serve.fronts import (
    BODY,
    CHAT,
    PATIENCE,
    QUESTION,
    VARIANT_HEADER,
    Receive,
    Recorder,
    Scope,
    Send,
    Serve,
    calling,
    is_as_written,
    is_biased,
    nobody,
    running,
    soon,
)
from tfgrpo import AsyncOpenAI
from tfgrpo.records import Backend
from tfgrpo.serve.proxy import Proxy, RelayTarget, Shelf
from tfgrpo.store import Store
from tfgrpo.surfaces.http import PRIOR_HEADER, TOKEN_PRIOR_HEADER
from tfgrpo.testing import ScriptedModel


async def test_the_sdk_gets_the_prior_through_the_proxy(front: Serve) -> None:
    model = ScriptedModel(lambda body: "To BILL with it")
    at = await front(model.app)
    async with openai.AsyncOpenAI(api_key="sk-caller", base_url="http://proxy/v1", http_client=at.of_sdk) as client:
        raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
        stream = await client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
        words = [chunk.choices[0].delta.content async for chunk in stream]
    assert raw.parse().choices[0].message.content == "To BILL with it"
    assert (raw.headers[PRIOR_HEADER], raw.headers[VARIANT_HEADER]) == (PRIOR.id, "live")
    assert words == ["To", " BILL", " with", " it", None]
    assert [is_biased(body) for body in model.requests] == [True, True]
    assert model.headers[0]["authorization"] == "Bearer sk-caller"
    assert model.headers[0][PRIOR_HEADER] == PRIOR.id


async def test_a_blocking_sdk_gets_it_too(front: Serve) -> None:
    model = ScriptedModel(lambda body: "BILL")
    at = await front(model.app)

    def call() -> str | None:
        with openai.OpenAI(api_key="sk", base_url=f"{at.address}/v1") as client:
            return client.chat.completions.create(model=MODEL, messages=QUESTION).choices[0].message.content

    assert await asyncio.to_thread(call) == "BILL"
    assert is_biased(model.requests[0])


async def test_a_tfgrpo_client_before_the_proxy_does_not_double_it(front: Serve, shelf: Shelf) -> None:
    model = ScriptedModel(lambda body: "BILL")
    at = await front(model.app)
    options: Any = {"api_key": "sk", "base_url": "http://proxy/v1", "http_client": at.of_sdk}
    async with AsyncOpenAI(store=file_of(shelf), **options) as client:
        raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
    assert is_biased(model.requests[0])
    assert (raw.headers[PRIOR_HEADER], raw.headers[VARIANT_HEADER]) == (PRIOR.id, "live")


async def test_a_proxy_before_a_proxy_does_not_double_it(front: Serve) -> None:
    model = ScriptedModel(lambda body: "BILL")
    inner = await front(model.app)
    outer = await front(inner.address)
    response = await outer.chat()
    assert is_biased(model.requests[0])
    assert (response.headers[PRIOR_HEADER], response.headers[VARIANT_HEADER]) == (PRIOR.id, "live")


async def test_what_an_inner_proxy_did_is_told_through_an_outer_one_that_did_nothing(
    front: Serve, tmp_path: Path
) -> None:
    inner = await front(ScriptedModel(lambda body: "BILL").app)
    idle = Shelf(tmp_path / "none.db", "default")
    async with Proxy(RelayTarget.parse(f"{inner.address}/v1"), idle) as outer, calling(outer) as client:
        response = await client.post(CHAT, json=BODY)
    assert response.headers.get_list(PRIOR_HEADER) == [PRIOR.id]
    assert response.headers.get_list(VARIANT_HEADER) == ["live"]


async def test_a_caller_can_opt_out(front: Serve) -> None:
    model = ScriptedModel(lambda body: "BILL")
    at = await front(model.app)
    response = await at.chat(**{PRIOR_HEADER: "none"})
    assert is_as_written(model.requests[0])
    assert model.headers[0][PRIOR_HEADER] == "none"
    assert (response.headers[PRIOR_HEADER], response.headers[VARIANT_HEADER]) == ("none", "none")


async def test_the_variant_is_the_state_of_the_prior(front: Serve, shelf: Shelf) -> None:
    go_live(file_of(shelf), OTHER, state="ungated")
    at = await front(ScriptedModel(lambda body: "BILL").app)
    response = await at.chat()
    assert (response.headers[PRIOR_HEADER], response.headers[VARIANT_HEADER]) == (OTHER.id, "ungated")


async def test_another_model_gets_the_experiences_alone(front: Serve, caplog: pytest.LogCaptureFixture) -> None:
    model = ScriptedModel(lambda body: "BILL")
    at = await front(model.app)
    for _ in range(2):
        assert (await at.chat({**BODY, "model": "else"})).headers[PRIOR_HEADER] == PRIOR.id
    assert TEXT in str(model.requests[0]["messages"])
    assert "logit_bias" not in model.requests[0]
    assert len([record for record in caplog.records if "'else'" in record.getMessage()]) == 1


@pytest.mark.parametrize("logit_bias", ["rejected", "inert"])
async def test_an_upstream_that_cannot_use_the_token_prior_never_sees_it(
    front: Serve, shelf: Shelf, logit_bias: Literal["rejected", "inert"]
) -> None:
    model = ScriptedModel(lambda body: "BILL")
    async with running(model.app) as address:
        with Store(file_of(shelf)) as store:
            store.add_probe(f"{address}/v1", MODEL, Backend(logit_bias=logit_bias))
        at = await front(address)
        response = await at.chat()
    told = {name: response.headers[name] for name in (PRIOR_HEADER, VARIANT_HEADER, TOKEN_PRIOR_HEADER)}
    assert list(told.values()) == [PRIOR.id, "live", logit_bias]
    assert TEXT in str(model.requests[0]["messages"])
    assert "logit_bias" not in model.requests[0]


async def test_what_is_measured_while_the_proxy_runs_is_heeded(front: Serve, shelf: Shelf) -> None:
    go_live(file_of(shelf), replace(PRIOR, experiences=()))
    model = ScriptedModel(lambda body: "BILL")
    async with running(model.app) as address:
        at = await front(address)
        assert TOKEN_PRIOR_HEADER not in (await at.chat()).headers
        with Store(file_of(shelf)) as store:
            store.add_probe(f"{address}/v1", MODEL, Backend(logit_bias="rejected"))
        shelf.refresh()
        response = await at.chat()
    assert (response.headers[PRIOR_HEADER], response.headers[TOKEN_PRIOR_HEADER]) == ("none", "rejected")
    assert ["logit_bias" in body for body in model.requests] == [True, False]


async def test_a_new_prior_is_taken_up_without_a_request(
    front: Serve, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfgrpo.serve.proxy.app.SHELF_SECONDS", 0.001)
    await front(Recorder())
    go_live(file_of(shelf), OTHER)
    async with asyncio.timeout(PATIENCE):
        while shelf.snapshot is None or shelf.snapshot.prior != OTHER:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("content", [None, b"no database"], ids=["missing", "damaged"])
async def test_a_store_that_cannot_be_used_is_said_once_and_fails_no_call(
    content: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if content:
        (tmp_path / "t.db").write_bytes(content)
    model = ScriptedModel(lambda body: "BILL")
    shelf = Shelf(tmp_path / "t.db", "default")
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(running(model.app))
        client = calling(await stack.enter_async_context(Proxy(RelayTarget.parse(f"{address}/v1"), shelf)))
        responses = [await client.post(CHAT, json=BODY) for _ in range(2)]
    assert [response.headers[PRIOR_HEADER] for response in responses] == ["none", "none"]
    assert all(is_as_written(body) for body in model.requests)
    of_the_store = [record for record in caplog.records if str(tmp_path) in record.getMessage()]
    assert [record.levelno for record in of_the_store] == [logging.WARNING]


@pytest.mark.parametrize(
    "body",
    [b'{"model": "fake",  "messages": []}', b"no JSON", gzip.compress(json.dumps(BODY).encode()), b"[" * 5_000, b""],
    ids=["no message", "no JSON", "compressed", "nested", "empty"],
)
async def test_a_body_that_is_no_chat_request_passes_to_the_byte(body: bytes, front: Serve) -> None:
    upstream = Recorder()
    response = await (await front(upstream)).in_process.post(CHAT, content=body)
    assert upstream.bodies == [body]
    assert upstream.headers()["content-length"] == str(len(body))
    assert response.headers[PRIOR_HEADER] == "none"


async def _in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 1_000):
        yield body[start : start + 1_000]


@pytest.mark.parametrize("pieces", [False, True], ids=["with length", "chunked"])
async def test_a_chat_request_over_the_limit_passes_to_the_byte(pieces: bool, front: Serve) -> None:
    upstream = Recorder()
    at = await front(upstream, rewrite=10_000)
    body = json.dumps({**BODY, "padding": "x" * 300_000}).encode()
    response = await at.outside.post(CHAT, content=_in_pieces(body) if pieces else body)
    assert upstream.bodies == [body]
    assert upstream.headers().get("content-length") == (None if pieces else str(len(body)))
    assert response.headers[PRIOR_HEADER] == "none"


async def test_a_chat_request_in_pieces_gets_the_prior(front: Serve) -> None:
    upstream = Recorder()
    at = await front(upstream)
    body = json.dumps({**BODY, "padding": "x" * 300_000}).encode()
    await at.outside.post(CHAT, content=_in_pieces(body))
    assert is_biased(json.loads(upstream.bodies[0]))
    assert upstream.headers()["content-length"] == str(len(upstream.bodies[0]))
    assert "transfer-encoding" not in upstream.headers()


@pytest.mark.parametrize("odd", [b'"\\ud83d"', b"NaN", b"1e-7", b"18446744073709551615", b'"\xc3\xa9\\u0000"'])
async def test_json_that_others_refuse_is_kept(odd: bytes, front: Serve) -> None:
    upstream = Recorder()
    body = b'{"model":"fake","odd":' + odd + b',"messages":[{"role":"user","content":"Which queue?"}]}'
    await (await front(upstream)).in_process.post(CHAT, content=body)
    sent = json.loads(upstream.bodies[0])
    assert is_biased(sent)
    assert repr(sent["odd"]) == repr(json.loads(odd))


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_routes_pass_to_the_byte_both_ways(method: str, front: Serve) -> None:
    answered = [(b"x-one", b"1"), (b"x-one", b"2"), (b"set-cookie", b"a=b"), (b"date", b"today"), (b"server", b"s")]
    upstream = Recorder(404, answered, b"\x00\xff")
    at = await front(upstream)
    given = {"x-mine": "m", "content-type": "audio/wav", "cookie": "own=1", "user-agent": "mine"}
    path = "/v1/files/a%2Fb%20c?x=%2F&y=1&y=2"
    response = await at.outside.request(method, path, content=b"\x01" * 200_000, headers=given)
    assert (response.status_code, response.content) == (404, b"\x00\xff")
    ours = (b"transfer-encoding", PRIOR_HEADER.encode(), b"x-tfgrpo-reason", VARIANT_HEADER.encode())
    assert [line for line in response.headers.raw if line[0] not in ours] == answered
    assert (response.headers[PRIOR_HEADER], response.headers["x-tfgrpo-reason"]) == ("none", "route")
    scope = upstream.scopes[0]
    assert (scope["method"], scope["raw_path"], scope["query_string"]) == (
        method,
        b"/v1/files/a%2Fb%20c",
        b"x=%2F&y=1&y=2",
    )
    assert upstream.bodies == [b"\x01" * 200_000]
    assert given.items() <= upstream.headers().items()
    assert upstream.headers()["content-length"] == "200000"


async def test_the_proxy_keeps_no_cookies_and_adds_no_headers(front: Serve) -> None:
    upstream = Recorder(200, [(b"set-cookie", b"a=b")])
    async with running(upstream) as address:
        at = await front(address.replace("127.0.0.1", "localhost"))
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(at.address.rpartition(":")[2]))
            writer.write(b"GET /v1/models HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n")
            await reader.read()
            writer.close()
    assert [name for name, _ in upstream.scopes[1]["headers"]] == [b"host"]


@pytest.mark.parametrize("path", [CHAT, "/v1/other"])
async def test_connections_to_the_upstream_are_used_again(path: str, front: Serve) -> None:
    upstream = Recorder(body=b"whole")
    at = await front(upstream)
    for _ in range(3):
        await at.outside.post(path, json=BODY)
    assert len({scope["client"] for scope in upstream.scopes}) == 1


async def test_a_request_streams_to_the_upstream_as_it_comes(front: Serve) -> None:
    arrived, onward = asyncio.Queue[bytes](), asyncio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            event = await receive()
            await arrived.put(event["body"])
            more = event["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await onward.wait()
        yield b"second"

    at = await front(upstream)
    call = asyncio.create_task(at.outside.post("/v1/files", content=body()))
    assert await soon(arrived.get()) == b"first"
    onward.set()
    assert (await call).status_code == 200
    assert await soon(arrived.get()) == b"second"


@pytest.mark.parametrize("path", [CHAT, "/v1/other"])
async def test_a_stream_is_relayed_chunk_by_chunk(path: str, front: Serve) -> None:
    onward = asyncio.Queue[None]()
    events = [b"data: 1\n\n", b"data: 2\n", b"\ndata: [DONE]\n\n"]

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for event in events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
            await onward.get()
        await send({"type": "http.response.body"})

    at = await front(upstream)
    async with at.outside.stream("POST", path, json=BODY) as response:
        seen = []
        async for chunk in response.aiter_raw():
            seen.append(chunk)
            onward.put_nowait(None)
    assert seen == events
    assert response.headers["content-type"] == "text/event-stream"


@pytest.mark.parametrize("path", [CHAT, "/v1/other"])
async def test_a_compressed_answer_is_relayed_to_the_byte(path: str, front: Serve) -> None:
    packed = gzip.compress(b'{"choices": []}' * 1_000)
    answered = [(b"content-encoding", b"gzip"), (b"content-length", str(len(packed)).encode())]
    at = await front(Recorder(200, answered, packed))
    async with at.outside.stream("POST", path, json=BODY) as response:
        raw = b"".join([chunk async for chunk in response.aiter_raw()])
    assert raw == packed
    assert response.headers["content-length"] == str(len(packed))
    assert response.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(("method", "status", "length"), [("HEAD", 200, "12"), ("GET", 204, None), ("GET", 304, None)])
async def test_an_answer_without_a_body_stays_one(method: str, status: int, length: str | None, front: Serve) -> None:
    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await reader.readline()).strip():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 {status} So\r\nContent-Length: 12\r\nETag: e\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(upstream, "127.0.0.1", 0)
    async with server:
        at = await front(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        responses = [await at.outside.request(method, "/v1/models") for _ in range(2)]
    assert [(response.status_code, response.content) for response in responses] == [(status, b"")] * 2
    assert responses[0].headers.get("content-length") == length
    assert responses[0].headers["etag"] == "e"


async def test_redirects_are_for_the_caller_to_follow(front: Serve) -> None:
    at = await front(Recorder(307, [(b"location", b"http://elsewhere/v1")]))
    response = await at.chat()
    assert (response.status_code, response.headers["location"]) == (307, "http://elsewhere/v1")


async def test_the_key_of_the_upstream_replaces_the_callers_and_is_never_told(
    front: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream = Recorder()
    at = await front(upstream, key="sk-secret")
    await at.chat(authorization="Bearer sk-caller")
    await at.in_process.get("/v1/models")
    assert [upstream.headers(place)["authorization"] for place in (0, 1)] == ["Bearer sk-secret"] * 2
    assert "secret" not in repr(RelayTarget.parse("http://host/v1", "sk-secret"))
    assert "sk-" not in caplog.text


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.mark.parametrize("path", [CHAT, "/v1/other"])
async def test_a_caller_who_leaves_before_the_first_byte_cancels_the_call(path: str, front: Serve) -> None:
    began, left = asyncio.Event(), asyncio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        began.set()
        await _until_left(receive)
        left.set()

    at = await front(upstream)
    call = asyncio.create_task(at.outside.post(path, json=BODY))
    await soon(began.wait())
    call.cancel()
    await soon(left.wait())


@pytest.mark.parametrize("path", [CHAT, "/v1/other"])
async def test_a_caller_who_leaves_a_stream_cancels_the_call(path: str, front: Serve) -> None:
    left = asyncio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await _until_left(receive)
        left.set()

    at = await front(upstream)
    async with at.outside.stream("POST", path, json=BODY) as response:
        async for _ in response.aiter_raw():
            break
    await soon(left.wait())


async def test_a_caller_who_leaves_an_upload_cancels_the_call(front: Serve) -> None:
    began, left = asyncio.Event(), asyncio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        began.set()
        await _until_left(receive)
        left.set()

    at = await front(upstream)
    _, writer = await asyncio.open_connection("127.0.0.1", int(at.address.rpartition(":")[2]))
    writer.write(b"POST /v1/files HTTP/1.1\r\nHost: proxy\r\nContent-Length: 100\r\n\r\nhalf")
    await soon(began.wait())
    writer.close()
    await soon(left.wait())


async def test_an_upstream_that_breaks_off_never_looks_whole(front: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
        writer.close()

    server = await asyncio.start_server(upstream, "127.0.0.1", 0)
    async with server:
        at = await front(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(httpx2.RemoteProtocolError):
            await at.outside.post(CHAT, json=BODY)
    assert "broke off" in caplog.text


async def test_an_upstream_that_cannot_be_reached_is_a_502_of_the_openai_shape(front: Serve) -> None:
    with nobody() as address:
        at = await front(address)
        response = await at.in_process.post(f"{CHAT}?api-key=sk-query", json=BODY)
        error = response.json()["error"]
        assert response.status_code == 502
        assert (error["type"], error["code"], error["param"]) == ("upstream_error", "upstream_unreachable", None)
        assert address in error["message"]
        assert "sk-query" not in response.text
        async with openai.AsyncOpenAI(
            api_key="sk", base_url="http://proxy/v1", http_client=at.of_sdk, max_retries=0
        ) as client:
            with pytest.raises(openai.InternalServerError, match="cannot be reached"):
                await client.chat.completions.create(model=MODEL, messages=QUESTION)


async def test_an_upstream_that_keeps_silent_is_a_504(front: Serve) -> None:
    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await _until_left(receive)

    response = await (await front(upstream, silence=0.01, first_byte=0.01)).chat()
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "upstream_timeout"


async def test_a_path_that_climbs_is_refused(front: Serve) -> None:
    upstream = Recorder()
    response = await (await front(upstream)).outside.get("/v1/%2e%2e/admin")
    assert response.status_code == 400
    assert not upstream.scopes
