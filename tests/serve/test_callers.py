"""Callers who keep the proxy waiting, or say what is no HTTP: they hold no place for ever, and spoil no answer."""

import asyncio
import gc
import weakref
from contextlib import suppress
from typing import Any, ClassVar

import pytest

from tests.serve.fronts import CHAT, PATIENCE, Receive, Recorder, Scope, Send, Serve, running, soon
from tests.serve.test_faults import asked_raw, said
from tfgrpo.serve.proxy.protocol import Protocol

_ASKS = b" HTTP/1.1\r\nHost: p\r\n"
_LONG = b"GET /v1/models" + _ASKS


class Watched(Protocol):
    """As the proxy's; its time is up when a test says so, since machines stand still for seconds."""

    made: ClassVar[list["Watched"]] = []
    came = b""

    def connection_made(self, transport: Any) -> None:
        """Remember it."""
        self.made.append(self)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Keep what has come."""
        self.came += data
        super().data_received(data)

    async def time_is_up(self) -> None:
        """As after the silence that is allowed."""
        if self._timer:
            self._timer.cancel()
        self._deadline = 0.0
        self._late()
        await asyncio.sleep(0.01)


async def _connected(address: str, *, limit: int = 2**16) -> tuple[Watched, asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]), limit=limit)
    while not Watched.made:
        await asyncio.sleep(0.01)
    return Watched.made.pop(), reader, writer


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"POST /v1/chat",
        b"POST %b%bContent-Length: 100\r\n\r\n{" % (CHAT.encode(), _ASKS),
        b"POST /v1/files%bContent-Length: 100\r\n\r\nhalf" % _ASKS,
    ],
)
async def test_a_caller_who_falls_silent_within_a_request_is_let_go(half: bytes, front: Serve) -> None:
    began, left = asyncio.Event(), asyncio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        began.set()
        await _until_left(receive)
        left.set()

    at = await front(upstream)
    async with running(at.proxy, Watched) as address:
        protocol, reader, writer = await _connected(address)
        writer.write(half)
        while protocol.came != half:
            await asyncio.sleep(0.01)
        if b"files" in half:
            await soon(began.wait())
        await protocol.time_is_up()
        with suppress(ConnectionResetError):
            assert await soon(reader.read()) == b""
        if b"files" in half:
            await soon(left.wait())
        while at.proxy._in_flight:
            await asyncio.sleep(0.01)
        writer.close()


async def test_a_connection_that_has_ended_holds_no_memory_until_garbage_is_looked_for(front: Serve) -> None:
    began, left = asyncio.Event(), asyncio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith("files"):
            began.set()
            await _until_left(receive)
            left.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    at = await front(upstream)
    async with running(at.proxy, Watched) as address:
        gc.disable()
        try:
            protocol, reader, writer = await _connected(address)
            writer.write(_LONG + b"\r\n")
            await soon(reader.readuntil(b"{}"))
            writer.write(b"POST /v1/files%bContent-Length: 2\r\n\r\n{}" % _ASKS)
            await soon(began.wait())
            known = weakref.ref(protocol)
            del protocol
            writer.close()
            await soon(left.wait())
            async with asyncio.timeout(PATIENCE):
                while known():
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()


async def test_a_caller_who_waits_for_an_answer_is_not_hurried(front: Serve) -> None:
    began, onward = asyncio.Event(), asyncio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        began.set()
        await onward.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    at = await front(upstream)
    async with running(at.proxy, Watched) as address:
        protocol, reader, writer = await _connected(address)
        writer.write(b"POST /v1/files%bContent-Length: 2\r\nConnection: close\r\n\r\n{}" % _ASKS)
        await soon(began.wait())
        await protocol.time_is_up()
        writer.write(b"\r\n")  # as old clients do
        while not protocol.came.endswith(b"{}\r\n"):
            await asyncio.sleep(0.01)
        await protocol.time_is_up()
        onward.set()
        assert (await soon(reader.read())).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_slow_reader_is_not_let_go_while_only_the_system_sees_it_read(front: Serve) -> None:
    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(300):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        await _until_left(receive)

    at = await front(upstream)
    async with running(at.proxy, Watched) as address:
        caller, loop = await asked_raw(address, _LONG + b"\r\n"), asyncio.get_running_loop()
        while not (Watched.made and Watched.made[0].flow and Watched.made[0].flow.write_paused):
            await asyncio.sleep(0.01)
        protocol = Watched.made.pop()
        with caller:
            for _ in range(2):
                for _ in range(20):  # of megabytes that the system holds
                    assert await soon(loop.sock_recv(caller, 10_000))
                await protocol.time_is_up()
                assert not protocol._lost


async def test_a_caller_who_takes_no_answer_is_let_go(front: Serve) -> None:
    left = asyncio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        watching = asyncio.create_task(_until_left(receive))
        while not watching.done():
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            await asyncio.sleep(0)
        left.set()

    at = await front(upstream)
    async with running(at.proxy, Watched) as address:
        protocol, _, writer = await _connected(address, limit=1)
        writer.write(_LONG + b"\r\n")
        while not (protocol.flow and protocol.flow.write_paused):
            await asyncio.sleep(0.01)
        while not protocol._lost:
            await protocol.time_is_up()
        await soon(left.wait())
        writer.close()
    assert not at.proxy._in_flight


@pytest.mark.parametrize("wish", [b"", b"Connection: close\r\n"])
async def test_a_caller_who_does_not_take_the_end_of_an_answer_is_let_go(wish: bytes, front: Serve) -> None:
    met = asyncio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await met.wait()
        while not protocol.transport.get_write_buffer_size():
            await send({"type": "http.response.body", "body": b"x" * 5_000, "more_body": True})
            await asyncio.sleep(0.001)
        await send({"type": "http.response.body", "body": b"the end"})

    at = await front(upstream)
    async with running(at.proxy, Watched) as address:
        with await asked_raw(address, _LONG + wish + b"\r\n"):
            while not (Watched.made and Watched.made[0].cycle):
                await asyncio.sleep(0.01)
            protocol = Watched.made.pop()
            met.set()
            while not protocol.cycle.response_complete:
                await asyncio.sleep(0.01)
            assert not protocol.flow.write_paused
            while not protocol._lost:
                await protocol.time_is_up()


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET /v1/",
        _LONG + b"x: ",
        b"POST /v1/files%bTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx: " % _ASKS,
    ],
)
async def test_a_head_without_end_is_refused(beginning: bytes, front: Serve) -> None:
    at = await front(Recorder())
    reader, writer = await asyncio.open_connection("127.0.0.1", int(at.address.rpartition(":")[2]))
    writer.write(beginning)
    answered, sent = asyncio.create_task(reader.read(20)), 0
    while sent < 2_000_000 and not answered.done():
        writer.write(b"y" * 50_000)
        sent += 50_000
        await asyncio.sleep(0.001)
    answer = await soon(answered)
    writer.close()
    assert (answer[:12], sent < 2_000_000) == (b"HTTP/1.1 431", True)


async def test_what_is_no_http_is_a_400_that_sdks_read_and_never_within_another_answer(front: Serve) -> None:
    onward = asyncio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await soon(onward.wait())
        await send({"type": "http.response.body"})

    at = await front(upstream)
    alone = await said(at.address, b"G\xff\r\n\r\n")
    assert alone.startswith(b"HTTP/1.1 400 ")
    assert b'"invalid_request_error"' in alone
    reader, writer = await asyncio.open_connection("127.0.0.1", int(at.address.rpartition(":")[2]))
    writer.write(_LONG + b"\r\n")
    got = await soon(reader.readuntil(b"data: 1\n\n\r\n"))
    writer.write(b"G\xff\r\n\r\n")
    got += await soon(reader.read())
    onward.set()
    writer.close()
    assert (got.count(b"HTTP/1.1"), got.endswith(b"data: 1\n\n\r\n")) == (1, True)


async def test_what_is_refused_is_read_on_so_that_the_answer_arrives(front: Serve) -> None:
    at = await front(Recorder())
    async with running(at.proxy, Watched) as address:
        protocol, reader, writer = await _connected(address)
        writer.write(_LONG + b"x: " + b"x" * 2**18)
        while not protocol._is_refused:
            await asyncio.sleep(0.01)
        for _ in range(20):
            writer.write(b"x" * 2**16)
            await soon(writer.drain())
        assert (await soon(reader.read())).startswith(b"HTTP/1.1 431")
        writer.close()
        while not protocol._lost:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("large", [False, True])
async def test_an_answer_that_comes_after_a_refusal_is_not_written_behind_it(
    large: bool, front: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    began, left = asyncio.Event(), asyncio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        began.set()
        await _until_left(receive)
        left.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"late"})

    at = await front(upstream)
    async with running(at.proxy, Watched) as address:
        protocol, reader, writer = await _connected(address)
        writer.write(b"POST /v1/files%bTransfer-Encoding: chunked\r\n\r\n" % _ASKS)
        writer.write(b"1\r\nx\r\n")
        await soon(began.wait())
        writer.write(b"%x\r\n%b\r\nno length\r\n" % (2**17, b"x" * 2**17) if large else b"no length\r\n")
        while not protocol._is_refused:
            await asyncio.sleep(0.01)
        assert protocol._leaving is None
        assert not protocol.flow.read_paused
        await soon(left.wait())
        assert not protocol._lost, "it is told at once, and what comes is read on"
        got = await soon(reader.read())
        assert (got.startswith(b"HTTP/1.1 400"), got.count(b"HTTP/1.1")) == (True, 1)
        writer.close()
        while at.proxy._in_flight:
            await asyncio.sleep(0.01)
    assert not caplog.records or all("Exception" not in one.message for one in caplog.records)


async def test_an_idle_connection_is_closed_a_while_after_its_last_answer_by_one_timer() -> None:
    async with running(Recorder(), Watched) as address:
        caller, reader, writer = await _connected(address)
        caller.timeout_keep_alive = 3_600
        timers = []
        for _ in range(2):
            writer.write(_LONG + b"\r\n")
            await soon(reader.readuntil(b"0\r\n\r\n"))
            timers.append(caller.timeout_keep_alive_task)
        assert timers[0] is timers[1] is not None
        caller.timeout_keep_alive_handler()  # after the first answer it was so long, and after the last one it was not
        assert not caller.transport.is_closing()
        assert caller.timeout_keep_alive_task not in (None, *timers)
        caller._idle_from -= 7_200
        writer.write(b"GET")
        while not caller.came.endswith(b"GET"):
            await asyncio.sleep(0.01)
        caller.timeout_keep_alive_handler()  # it is not idle any more
        assert (caller.transport.is_closing(), caller.timeout_keep_alive_task) == (False, None)
        writer.write(_LONG[3:] + b"\r\n")
        await soon(reader.readuntil(b"0\r\n\r\n"))
        caller._idle_from -= 7_200
        caller.timeout_keep_alive_handler()
        assert await soon(reader.read()) == b""
        writer.close()
