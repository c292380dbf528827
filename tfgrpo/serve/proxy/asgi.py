"""A caller over ASGI: the body of the request as it arrives, whether they are still there, and answers in JSON."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any, TypeAlias

import orjson

from ...records import JSON

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


Heed: TypeAlias = Callable[[Callable[[], None] | None], None]
HEED = "tfgrpo.heed"
"""In a scope: what a server offers to have something called when the caller leaves, once, or never more (None)."""

AnswerWhole: TypeAlias = Callable[[Send, int, Sequence[tuple[bytes, bytes]], bytes], bool]
ANSWER_WHOLE = "tfgrpo.answer_whole"
"""In a scope: what a server offers to send an answer that is all there, in place of `send`; False: it cannot."""


class Left(Exception):
    """The caller has left before the request was whole."""


class TooLong(Exception):
    """The body of a request is longer than is relayed."""


class Caller:
    """The sender of one request: its body, and whether it is still there. Once the body is read, `leaving` may wait."""

    def __init__(self, receive: Receive, limit: int, heed: Heed | None = None) -> None:
        """`limit` is of the body, in bytes; `heed` is what the server offers under HEED."""
        self._receive = receive
        self._heed = heed
        self._limit = limit
        self._size = 0
        self._held: list[bytes] = []
        self._complete = False
        self._watcher: asyncio.Task[None] | None = None
        self._exchange: asyncio.Task[Any] | None = None
        self.left = False
        self.too_long = False

    async def _next(self) -> bytes:
        event = await self._receive()
        if event["type"] != "http.request":
            self.left = True
            raise Left
        self._complete = not event.get("more_body")
        chunk: bytes = event.get("body", b"")
        self._size += len(chunk)
        if self._size > self._limit:
            self.too_long = True
            raise TooLong
        return chunk

    async def whole(self, limit: int) -> bytes | None:
        """The body at once; None if it is longer than `limit` bytes, when `body` still gives all of it."""
        while not self._complete and self._size <= limit:
            self._held.append(await self._next())
        if self._size > limit:
            return None
        return self._held[0] if len(self._held) == 1 else b"".join(self._held)

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it comes; a caller who leaves in the middle ends the exchange."""
        held, self._held = self._held, []
        for chunk in held:
            yield chunk
        while not self._complete:
            try:
                chunk = await self._next()
            except Left:
                self._end()
                raise
            if chunk:
                yield chunk
        self._listen()

    def watch(self, streaming: bool) -> None:
        """From now on the task that calls this is cancelled when the caller leaves; where the body is `streaming`, its
        reader notices until it is whole."""
        self._exchange = asyncio.current_task()
        if not streaming:
            self._listen()

    def _listen(self) -> None:
        if self._heed:
            if self._exchange:
                self._heed(self._end)
        elif self._exchange and self._watcher is None:
            self._watcher = asyncio.create_task(self._leaving())

    async def _leaving(self) -> None:
        while (await self._receive())["type"] == "http.request":
            pass
        self._end()

    def _end(self) -> None:
        self.left = True
        exchange, self._exchange = self._exchange, None
        if exchange:
            exchange.cancel()

    def unwatch(self) -> None:
        """The exchange is over, or its last byte is about to go."""
        self._exchange = None
        if self._heed:
            self._heed(None)
        elif self._watcher:
            self._watcher.cancel()


async def respond(send: Send, status: int, value: JSON, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answer with JSON."""
    await respond_bytes(send, status, orjson.dumps(value), [(b"content-type", b"application/json"), *headers])


async def respond_bytes(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Answer with bytes."""
    lines = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def error_body(kind: str, code: str, message: str) -> JSON:
    """An error in the shape of the OpenAI API."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
