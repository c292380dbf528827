"""A caller over ASGI: the body of the request as it arrives, and answers in JSON."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import orjson

from ...records import JSON

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Caller:
    """The sender of one request: its body, and whether it is still there."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._arriving: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._held: list[bytes] = []

    async def listen(self) -> None:
        """Take in the body no faster than it is read; returns when the caller has left."""
        while (event := await self._receive())["type"] == "http.request":
            if event.get("body"):
                await self._arriving.put(event["body"])
            if not event.get("more_body"):
                await self._arriving.put(None)

    async def whole(self, limit: int) -> bytes | None:
        """The body at once; None if it is longer than `limit` bytes, when `body` still gives all of it."""
        size = 0
        while size <= limit:
            chunk = await self._arriving.get()
            if chunk is None:
                return b"".join(self._held)
            self._held.append(chunk)
            size += len(chunk)
        return None

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        for chunk in self._held:
            yield chunk
        while (arrived := await self._arriving.get()) is not None:
            yield arrived


async def respond(send: Send, status: int, value: JSON) -> None:
    """Answer with JSON."""
    body = orjson.dumps(value)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def respond_error(send: Send, status: int, kind: str, code: str, message: str) -> None:
    """Answer with an error in the shape of the OpenAI API."""
    await respond(send, status, {"error": {"message": message, "type": kind, "param": None, "code": code}})
