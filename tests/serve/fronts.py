"""A proxy before an upstream app, for the tests of what passes through it."""

import asyncio
import os
import pickle
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, TypeAlias, TypeVar

import httpx2
import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.live import MODEL, TEXT, go_live
from tfgrpo.model.library import http
from tfgrpo.records import ChatBody
from tfgrpo.serve.proxy import Door, Limits, Proxy, Recording, RelayTarget, Shelf
from tfgrpo.serve.proxy.protocol import Protocol
from tfgrpo.serve.proxy.record import Traffic
from tfgrpo.serve.writing import NOT_RECORDED, write_batches

Scope: TypeAlias = MutableMapping[str, Any]

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]

Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

T = TypeVar("T")

App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

VARIANT_HEADER = "x-tfgrpo-variant"

REASON_HEADER = "x-tfgrpo-reason"

CHAT = "/v1/chat/completions"

QUESTION: Any = [{"role": "user", "content": "Which queue?"}]

BODY = {"model": MODEL, "messages": QUESTION}

PATIENCE = 60.0
"""Seconds until a test that waits for an event fails instead of hanging: machines stand still for seconds."""


def is_biased(body: ChatBody) -> bool:
    return str(body["messages"]).count(TEXT) == 1 and body["logit_bias"] == {"7": 1.5, "9": -2.0}


def is_as_written(body: ChatBody) -> bool:
    return list(body["messages"]) == QUESTION and "logit_bias" not in body


@asynccontextmanager
async def running(app: App, protocol: type[Protocol] = Protocol) -> AsyncIterator[str]:
    """The app behind a real socket, in this event loop; yields `http://127.0.0.1:PORT`."""
    config = uvicorn.Config(app, interface="asgi3", ws="none", lifespan="off", log_level="critical", date_header=False)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(config, state, app_state={}), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.gather(*state.tasks)


async def soon(event: Awaitable[T]) -> T:
    """Wait for what must happen, but not for ever."""
    async with asyncio.timeout(PATIENCE):
        return await event


@contextmanager
def nobody() -> Iterator[str]:
    """An address where nobody answers; its port is held, so that nobody else is given it meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def calling(app: App) -> httpx2.AsyncClient:
    """A client of an app in this process."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://proxy")


class Front:
    """A proxy before an upstream, and clients of it."""

    def __init__(self, proxy: Proxy, address: str) -> None:
        self.proxy = proxy
        self.address = address
        self.in_process = calling(proxy)
        self.outside = httpx2.AsyncClient(base_url=address, timeout=PATIENCE, verify=False)  # it speaks no TLS

    @property
    def of_sdk(self) -> http.AsyncClient:
        """As `in_process`, of the library that the SDK speaks through."""
        return http.AsyncClient(transport=http.ASGITransport(app=self.proxy), base_url="http://proxy")

    async def chat(self, body: object = BODY, **headers: str) -> httpx2.Response:
        return await self.in_process.post(CHAT, json=body, headers=headers)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(go_live(tmp_path / "s.db"), "default")


Serve: TypeAlias = Callable[..., Awaitable[Front]]


@pytest.fixture
async def front(shelf: Shelf) -> AsyncIterator[Serve]:
    """A function that puts a proxy before an ASGI app, or before an address."""
    async with AsyncExitStack() as stack:

        async def start(
            *upstreams: App | str,
            key: str | None = None,
            door: Door | None = None,
            recording: Recording = NOT_RECORDED,
            bounded: str | None = None,
            **limits: Any,
        ) -> Front:
            addresses = [
                upstream if isinstance(upstream, str) else await stack.enter_async_context(running(upstream))
                for upstream in upstreams
            ]
            targets = [RelayTarget.parse(f"{address}/v1", key) for address in addresses]
            limits.setdefault("silence", PATIENCE)
            allowed = Limits(**limits)
            proxy = Proxy(targets, shelf, allowed, door=door, recording=recording, bounded=bounded)
            await stack.enter_async_context(proxy)
            front = Front(proxy, await stack.enter_async_context(running(proxy)))
            await stack.enter_async_context(front.in_process)
            await stack.enter_async_context(front.outside)
            return front

        yield start


class ThreadThatWrites:
    """What writes calls, in this process: one of its own takes half a second to start."""

    def __init__(self, traffic: Traffic) -> None:
        (handed, stdin), (stdout, told) = os.pipe(), os.pipe()
        self.stdin, self.stdout = os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb")
        self._thread = Thread(target=self._run, args=(handed, told), daemon=True)
        self._thread.start()
        pickle.dump((traffic.path, traffic.recording, traffic._is_made), self.stdin)
        self.stdin.flush()

    def _run(self, handed: int, told: int) -> None:
        with os.fdopen(handed, "rb") as given, os.fdopen(told, "wb") as to:
            write_batches(given, to)

    def wait(self, seconds: float | None = None) -> None:
        """As of a process."""
        self._thread.join(seconds)

    def kill(self) -> None:
        """A thread cannot be; it ends with its pipes."""


@pytest.fixture
def written_in_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is written: that a process of its own writes it is told by those without."""

    def start(traffic: Traffic) -> ThreadThatWrites:
        traffic._child = child = ThreadThatWrites(traffic)  # pyrefly: ignore[bad-assignment]  # it has all that is used
        return child

    monkeypatch.setattr(Traffic, "_new_child", start)


class Recorder:
    """An upstream that keeps each request as it came, and answers the same to all."""

    def __init__(self, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None, body: bytes = b"") -> None:
        self.status = status
        self.answer = headers or []
        self.body = body
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pieces, more = [], True
        while more:
            event = await receive()
            pieces.append(event.get("body", b""))
            more = event.get("more_body", False)
        self.scopes.append(scope)
        self.bodies.append(b"".join(pieces))
        await send({"type": "http.response.start", "status": self.status, "headers": self.answer})
        await send({"type": "http.response.body", "body": self.body})

    def headers(self, place: int = -1) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.scopes[place]["headers"]}
