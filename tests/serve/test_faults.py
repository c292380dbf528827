"""What upstreams, callers and stores do wrong, and what a caller of the proxy sees of it: as little as may be."""

import asyncio
import gc
import gzip
import json
import os
import random
import socket
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx2
import pytest

from tests.live import OTHER, PRIOR, file_of, go_live
from tests.serve.fronts import (
    BODY,
    CHAT,
    REASON_HEADER,
    Receive,
    Recorder,
    Scope,
    Send,
    Serve,
    is_as_written,
    is_biased,
    nobody,
    soon,
)
from tfgrpo.errors import InputError
from tfgrpo.serve.proxy import Limits, Shelf
from tfgrpo.surfaces.http import PRIOR_HEADER
from tfgrpo.testing import Answer, ScriptedModel

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw(handler: Handler) -> AsyncIterator[str]:
    """An upstream that writes bytes as it likes; yields its address."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """The head of a request, once its body has been read too."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if length:
        await reader.readexactly(int(length[0].partition(b":")[2]))
    return head


async def said(address: str, request: bytes) -> bytes:
    """What the proxy answers to bytes, to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    writer.write(request)
    answer = await soon(reader.read())
    writer.close()
    return answer


async def asked_raw(address: str, request: bytes) -> socket.socket:
    """A socket over which the proxy was asked, so that nothing of its answer is taken unasked."""
    caller, loop = socket.socket(), asyncio.get_running_loop()
    caller.setblocking(False)
    await loop.sock_connect(caller, ("127.0.0.1", int(address.rpartition(":")[2])))
    await loop.sock_sendall(caller, request)
    return caller


# Upstreams


async def test_an_answer_of_many_header_lines_passes(front: Serve) -> None:
    at = await front(Recorder(200, [(f"x-{number}".encode(), b"1") for number in range(400)]))
    response = await at.chat()
    assert (response.status_code, response.headers["x-399"]) == (200, "1")


async def test_statuses_and_what_goes_with_them_are_the_upstreams(front: Serve) -> None:
    told = [(b"retry-after", b"7"), (b"x-request-id", b"req_1"), (b"x-ratelimit-remaining-requests", b"0")]
    for status in (429, 500, 503):
        at = await front(Recorder(status, told, b'{"error": {"message": "no"}}'))
        response = await at.chat()
        assert (response.status_code, response.json()) == (status, {"error": {"message": "no"}})
        assert told == [line for line in response.headers.raw if line in told]


async def test_an_upstream_that_resets_is_a_502_and_one_in_the_middle_breaks_off(front: Serve) -> None:
    async def at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    async def midway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")

    async with raw(at_once) as first, raw(midway) as second:
        response = await (await front(first)).chat()
        assert (response.status_code, response.json()["error"]["type"]) == (502, "upstream_error")
        with pytest.raises(httpx2.RemoteProtocolError):
            await (await front(second)).outside.post(CHAT, json=BODY)


async def test_an_error_that_breaks_off_while_it_is_looked_at_breaks_off_too(
    front: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def midway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 500 Oh\r\ncontent-length: 100\r\n\r\nno")

    async with raw(midway) as address:
        with pytest.raises(httpx2.RemoteProtocolError):
            await (await front(address)).outside.post(CHAT, json=BODY)
    assert "failed within the proxy" not in caplog.text


@pytest.mark.parametrize("packed", [False, True])
async def test_the_error_of_a_template_is_known_packed_or_not(packed: bool, front: Serve) -> None:
    fault = b'{"error": {"message": "Jinja: conversation roles must alternate"}}'
    fault = gzip.compress(fault) if packed else fault
    encoding = b"content-encoding: gzip\r\n" if packed else b""

    async def picky(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"x-tfgrpo-prior: prior_" in await request_of(reader):
            writer.write(
                b"HTTP/1.1 500 Oh\r\nconnection: close\r\n%bcontent-length: %d\r\n\r\n%b"
                % (encoding, len(fault), fault)
            )
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with raw(picky) as address:
        response = await (await front(address)).outside.post(CHAT, json=BODY)
    assert (response.status_code, response.headers["x-tfgrpo-reason"]) == (200, "refused")


@pytest.mark.parametrize("end", ["data: [DONE]\n\n", ""])
async def test_half_a_character_and_half_a_frame_at_a_time_arrive_whole_done_or_not(end: str, front: Serve) -> None:
    whole = f'data: {{"x": "é€😀"}}\n\n{end}'.encode()

    async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for place in range(len(whole)):
            writer.write(b"1\r\n" + whole[place : place + 1] + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")

    async with raw(dripping) as address:
        assert (await (await front(address)).outside.post(CHAT, json=BODY)).content == whole


async def test_a_stream_that_stalls_breaks_off_after_the_silence_that_is_allowed(front: Serve) -> None:
    async def stalling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
        await reader.read()

    async with raw(stalling) as address:
        with pytest.raises(httpx2.RemoteProtocolError):
            await (await front(address, silence=0.05)).outside.post(CHAT, json=BODY)


@pytest.mark.parametrize("limit", ["first_byte", "total"])
async def test_an_answer_that_takes_too_long_to_begin_or_in_all_is_a_504(limit: str, front: Serve) -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    assert (await (await front(silent, **{limit: 0.05})).chat()).status_code == 504


async def test_an_answer_may_take_longer_to_begin_than_it_may_be_silent(front: Serve) -> None:
    async def thinking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        await asyncio.sleep(0.2)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()

    async with raw(thinking) as address:
        assert (await (await front(address, silence=0.05)).outside.post(CHAT, json=BODY)).content == b"{}"


async def test_an_upstream_that_closes_idle_connections_fails_no_call(front: Serve) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()

    async with raw(once) as address:
        at = await front(address)
        statuses = []
        for _ in range(5):
            statuses.append((await at.chat()).status_code)
            await asyncio.sleep(0.005)
    assert statuses == [200] * 5


async def test_another_upstream_is_asked_where_one_cannot_be_reached_and_only_there(front: Serve) -> None:
    here, failing = Recorder(), Recorder(500)
    with nobody() as away:
        at = await front(away, here)
        assert [(await at.chat()).status_code for _ in range(3)] == [200] * 3
        assert len(here.scopes) == 3
        files = await at.outside.post("/v1/files", content=b"x" * 100_000)
        assert (files.status_code, here.bodies[-1]) == (200, b"x" * 100_000)
    at = await front(failing, here)
    assert sorted([(await at.chat()).status_code for _ in range(2)]) == [200, 500]


async def test_a_prior_is_never_the_reason_for_a_failure(front: Serve) -> None:
    model = ScriptedModel(lambda body: Answer("no", status=422) if "logit_bias" in body else "BILL")
    at = await front(model.app)
    responses = [await at.chat() for _ in range(5)]
    assert [(one.status_code, one.headers[REASON_HEADER]) for one in responses] == [
        *[(200, "refused")] * 3, *[(200, "suspended")] * 2,
    ]  # fmt: skip
    assert [one.headers[PRIOR_HEADER] for one in responses] == ["none"] * 5
    assert [is_as_written(body) for body in model.requests] == [False, True] * 3 + [True] * 2
    wrong = await (await front(ScriptedModel(lambda body: Answer("no", status=400)).app)).chat()
    assert wrong.status_code == 400


# Callers


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET * HTTP/1.1\r\nHost: p\r\n", b"400"),
        (b"GET /v1/..%2fadmin HTTP/1.1\r\nHost: p\r\n", b"400"),
        (b"GET /v1/models HTTP/1.1\r\nHost: p\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", b"501"),
        (b"POST /v1/files HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", b"501"),
        (b"POST /v1/files HTTP/1.1\r\nHost: p\r\nContent-Length: 999999999999\r\n", b"413"),
        (b"TRACE /v1/models HTTP/1.1\r\nHost: p\r\n", b"405"),
    ],
)
async def test_what_is_not_relayed_is_refused_in_so_many_words(head: bytes, status: bytes, front: Serve) -> None:
    upstream = Recorder()
    at = await front(upstream)
    answer = await said(at.address, head + b"Connection: close\r\n\r\n" if b"Upgrade" not in head else head + b"\r\n")
    assert answer.split(b" ")[1] == status
    assert not upstream.scopes


@pytest.mark.parametrize("path", ["/v1/files", CHAT])
async def test_trailers_that_nobody_announced_are_no_headers(path: str, front: Serve) -> None:
    upstream = Recorder()
    at = await front(upstream)
    head = f"POST {path} HTTP/1.1\r\nHost: p\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    trailers = b"0\r\nAuthorization: Bearer other\r\nContent-Encoding: gzip\r\n\r\n"
    assert (await said(at.address, head.encode() + b"2\r\n{}\r\n" + trailers)).split(b" ")[1] == b"200"
    assert upstream.bodies == [b"{}"]
    assert not {"authorization", "content-encoding"} & upstream.headers().keys()


async def test_a_body_that_turns_out_too_long_is_a_413(front: Serve) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 1_000

    at = await front(Recorder(), request=5_000)
    for path in ("/v1/files", CHAT):
        assert (await at.outside.post(path, content=pieces())).status_code == 413


async def test_an_answer_that_is_too_long_breaks_off(front: Serve) -> None:
    at = await front(Recorder(body=b"x" * 10_000), response=5_000)
    with pytest.raises(httpx2.RemoteProtocolError):
        await at.outside.get("/v1/files")


async def test_an_answer_that_comes_at_once_is_passed_on_as_one_that_comes_in_parts(front: Serve) -> None:
    async def at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            writer.write(b"HTTP/1.1 299 Odd\r\nX-Note: caf\xe9\tau lait\r\nX-Empty:\r\ncontent-length: 2\r\n\r\n{}")

    call = b"GET /v1/models HTTP/1.1\r\nHost: p\r\n%b\r\n"
    async with raw(at_once) as address:
        got = await said((await front(address)).address, call % b"" + call % b"Connection: close\r\n")
    first, last = got.split(b"HTTP/1.1 299")[1:]
    assert first == last.replace(b"connection: close\r\n", b"")
    assert b"x-note: caf\xe9\tau lait\r\nx-empty: \r\n" in first


async def test_the_marks_of_callers_are_not_kept_whatever_they_say(front: Serve) -> None:
    async def at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with raw(at_once) as address:
        at = await front(address)

        async def marked(mark: bytes) -> None:
            head = b"POST %b HTTP/1.1\r\nHost: p\r\nConnection: close\r\nContent-Length: 2\r\n%b: %b\r\n\r\n{}"
            got = await said(at.address, head % (CHAT.encode(), PRIOR_HEADER.encode(), mark))
            assert mark in got

        await marked(b"prior_first")
        tracemalloc.start()
        try:
            for number in range(40):
                await marked(b"prior_%d_" % number + b"x" * 50_000)
            gc.collect()  # connections that are over
            assert tracemalloc.get_traced_memory()[0] < 2_000_000, "kept, they are 4 MB"
        finally:
            tracemalloc.stop()


async def test_a_caller_of_http_1_0_gets_no_chunks(front: Serve) -> None:
    async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await send({"type": "http.response.body"})

    at = await front(streaming, Recorder(200, [(b"content-length", b"2")], b"{}"))
    for body in (b"data: 1\n\n" * 3, b"{}"):
        head, _, got = (await said(at.address, b"GET /v1/models HTTP/1.0\r\nHost: p\r\n\r\n")).partition(b"\r\n\r\n")
        assert got == body
        assert b"transfer-encoding" not in head


async def test_to_a_caller_of_http_1_0_half_an_answer_never_looks_whole_and_all_of_it_arrives(front: Serve) -> None:
    async def midway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1e8480\r\n" + b"x" * 2_000_000 + b"\r\n")
        await writer.drain()

    async with raw(midway) as address:
        at, loop, got = await front(address), asyncio.get_running_loop(), b""
        caller = await asked_raw(at.address, b"GET /v1/models HTTP/1.0\r\nHost: p\r\n\r\n")
        with caller, pytest.raises(ConnectionResetError):
            while part := await soon(loop.sock_recv(caller, 50_000)):
                got += part
                await asyncio.sleep(0.005)
    assert got.partition(b"\r\n\r\n")[2] == b"x" * 2_000_000


async def test_what_is_no_http_ends_no_answer_to_http_1_0_as_if_it_were_whole(front: Serve) -> None:
    async def unending(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    at, loop = await front(unending), asyncio.get_running_loop()
    with await asked_raw(at.address, b"GET /v1/models HTTP/1.0\r\nConnection: keep-alive\r\n\r\n") as caller:
        assert (await soon(loop.sock_recv(caller, 50_000))).startswith(b"HTTP/1.1 200")
        await loop.sock_sendall(caller, b"G\xff\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while await soon(loop.sock_recv(caller, 50_000)):
                pass


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_a_caller_who_offers_http_2_is_served_by_http_1_and_its_body_arrives(framing: str, front: Serve) -> None:
    upstream = Recorder(200, [(b"content-length", b"2")], b"{}")
    at, body = await front(upstream), json.dumps(BODY).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    )
    if framing == "length":
        call = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
    else:
        call = b"%bTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body)
    last = b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    assert (await said(at.address, call * 2 + last)).count(b"HTTP/1.1 200") == 3
    assert [bool(sent) and is_biased(json.loads(sent)) for sent in upstream.bodies] == [True, True, False]
    assert not {"upgrade", "connection", "http2-settings"} & {*upstream.headers(0)}
    assert (await said(at.address, head.replace(b"POST", b"G\xff"))).startswith(b"HTTP/1.1 400")


async def test_calls_beyond_those_that_may_be_in_flight_are_told_to_come_back(front: Serve) -> None:
    came, onward = asyncio.Queue[None](), asyncio.Event()

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        came.put_nowait(None)
        await onward.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    at = await front(waiting, in_flight=2)
    calls = [asyncio.create_task(at.chat()) for _ in range(2)]
    for _ in calls:
        await soon(came.get())
    refused = await at.chat()
    onward.set()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert [one.status_code for one in await asyncio.gather(*calls)] == [200, 200]


async def test_a_slow_reader_does_not_fill_the_memory(front: Serve) -> None:
    sent = [0]

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1_000):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            sent[0] += 100_000

    at = await front(endless)
    _, writer = await asyncio.open_connection("127.0.0.1", int(at.address.rpartition(":")[2]))
    writer.write(b"GET /v1/models HTTP/1.1\r\nHost: p\r\n\r\n")
    await asyncio.sleep(0.3)
    assert sent[0] < 30_000_000
    writer.close()


async def test_what_callers_say_to_the_proxy_never_reaches_the_provider(front: Serve) -> None:
    upstream = Recorder()
    at = await front(upstream)
    asked = {"x-tfgrpo-disable": "1", "x-tfgrpo-namespace": "default", "x-tfgrpo-sticky-key": "anna", "x-mine": "1"}
    response = await at.chat(**asked)
    ours = {name: value for name, value in upstream.headers().items() if name.startswith("x-")}
    assert ours == {"x-mine": "1", PRIOR_HEADER: "none"}
    assert (response.headers[PRIOR_HEADER], response.headers[REASON_HEADER]) == ("none", "disabled")


@pytest.mark.parametrize(
    ("headers", "model", "prior", "reason"),
    [
        ({}, "fake", PRIOR.id, None),
        ({"x-tfgrpo-namespace": "support"}, "fake", OTHER.id, None),
        ({}, "fake@support", OTHER.id, None),
        ({}, "fake@2026", PRIOR.id, None),
        ({"x-tfgrpo-namespace": "nobody"}, "fake", "none", "namespace"),
    ],
)
async def test_a_namespace_is_named_by_header_or_model(
    headers: dict[str, str], model: str, prior: str, reason: str | None, front: Serve, shelf: Shelf
) -> None:
    go_live(file_of(shelf), OTHER, namespace="support")
    scripted = ScriptedModel(lambda body: "BILL")
    at = await front(scripted.app)
    response = await at.chat({**BODY, "model": model}, **headers)
    assert (response.headers[PRIOR_HEADER], response.headers.get(REASON_HEADER)) == (prior, reason)
    assert scripted.requests[0]["model"] == model.removesuffix("@support")


# Bodies


async def test_a_packed_request_gets_the_prior(front: Serve) -> None:
    upstream = Recorder()
    at = await front(upstream)
    packed = gzip.compress(json.dumps(BODY).encode())
    response = await at.in_process.post(CHAT, content=packed, headers={"content-encoding": "gzip"})
    assert response.headers[PRIOR_HEADER] == PRIOR.id
    assert is_biased(json.loads(upstream.bodies[0]))
    assert "content-encoding" not in upstream.headers()
    response = await at.in_process.post(CHAT, content=b"\x0b\x02", headers={"content-encoding": "br"})
    assert (response.headers[REASON_HEADER], upstream.bodies[1]) == ("not-json", b"\x0b\x02")
    assert upstream.headers()["content-encoding"] == "br"


async def test_a_long_body_holds_nobody_up(front: Serve) -> None:
    upstream = Recorder()
    at = await front(upstream)
    image = "A" * 29_000_000
    body = json.dumps({**BODY, "messages": [{"role": "user", "content": image}]}).encode()
    gaps = [0.0]

    async def beat() -> None:
        while True:
            before = perf_counter()
            await asyncio.sleep(0)
            gaps.append(perf_counter() - before)

    beating = asyncio.create_task(beat())
    response = await at.outside.post(CHAT, content=body)
    beating.cancel()
    assert response.headers[PRIOR_HEADER] == PRIOR.id
    sent = json.loads(upstream.bodies[0])
    assert sent["messages"][-1] == {"role": "user", "content": image}
    assert "logit_bias" in sent
    print(f"longest gap: {max(gaps):.3f} s")


async def test_long_integers_stay_integers(front: Serve) -> None:
    upstream = Recorder()
    at = await front(upstream)
    await at.in_process.post(CHAT, content=json.dumps({**BODY, "seed": 2**80}).encode())
    assert json.loads(upstream.bodies[0])["seed"] == 2**80


# Stores


async def _gone(path: Path) -> None:
    path.unlink()


async def _cut_off(path: Path) -> None:
    os.truncate(path, 5_000)


async def _overwritten(path: Path) -> None:
    path.write_bytes(b"no store at all")


@pytest.mark.parametrize("harm", [_gone, _cut_off, _overwritten])
async def test_the_last_good_prior_is_served_whatever_becomes_of_the_store(
    harm: Callable[[Path], Awaitable[None]], front: Serve, shelf: Shelf, tmp_path: Path
) -> None:
    at = await front(Recorder())
    assert (await at.chat()).headers[PRIOR_HEADER] == PRIOR.id
    await harm(file_of(shelf))
    for _ in range(2):
        shelf.refresh()
        assert shelf.trouble
        assert (await at.chat()).headers[PRIOR_HEADER] == PRIOR.id
    go_live(tmp_path / "new.db", OTHER).rename(file_of(shelf))
    shelf.refresh()
    assert (await at.chat()).headers[PRIOR_HEADER] == OTHER.id


async def test_a_store_that_is_replaced_is_followed_at_the_next_look(
    front: Serve, shelf: Shelf, tmp_path: Path
) -> None:
    at = await front(Recorder())
    go_live(tmp_path / "new.db", OTHER).rename(file_of(shelf))
    shelf.refresh()
    assert (await at.chat()).headers[PRIOR_HEADER] == OTHER.id


async def test_a_prior_that_is_rolled_back_is_served_no_more(front: Serve, shelf: Shelf) -> None:
    at = await front(Recorder())
    go_live(file_of(shelf), replace(OTHER, experiences=()))
    shelf.refresh()
    response = await at.chat()
    assert (response.headers[PRIOR_HEADER], response.headers[REASON_HEADER]) == ("none", "empty")


def test_limits_of_nothing_are_refused() -> None:
    for wrong in (0, float("inf"), float("nan")):
        with pytest.raises(InputError, match=f"limit connect is {wrong}"):
            Limits(connect=wrong)


@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/v1/messages", "/v1/completions", "/v1/decisions"])
async def test_no_body_is_one_that_the_proxy_fails_at(path: str, front: Serve) -> None:
    rng = random.Random(path)
    odd: list[Any] = [
        None,
        True,
        0,
        -1.5,
        2**70,
        "",
        "x@default",
        [],
        {},
        [[]],
        [{}],
        {"role": 1},
        [{"role": "user"}],
        "\ud83d",
    ]
    fields = ("model", "messages", "input", "instructions", "system", "prompt", "logit_bias", "questions", "stream")
    upstream = Recorder()
    at = await front(upstream)
    for _ in range(150):
        body: object = {name: rng.choice(odd) for name in rng.sample(fields, rng.randint(0, 6))}
        if rng.random() < 0.2:
            body = rng.choice(odd)
        content = json.dumps(body).encode()
        if rng.random() < 0.2:
            content = content[: rng.randint(0, len(content))] + rng.randbytes(3)
        response = await at.in_process.post(path, content=content)
        assert response.status_code == 200, content
        assert response.headers[PRIOR_HEADER] in (PRIOR.id, "none")
