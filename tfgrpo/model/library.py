"""The HTTP library that the installed openai SDK speaks through: httpx2 since its version 3, httpx before.

What is used of it here is the same in both. And a transport of it for many calls at once.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2 as http
else:
    from importlib import import_module

    import openai

    http = import_module(openai.DefaultHttpxClient.__base__.__module__.partition(".")[0])

__all__ = ["ManyConnections", "http"]

_LIMITS = http.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30.0)

_OPENED_AT_ONCE = 16


class ManyConnections(http.AsyncBaseTransport):
    """Any number of connections, each in a pool of its own.

    The library's pool looks through all that it has for every request: a thousand calls in flight took most of their
    time for that, and some never got a connection.
    """

    def __init__(self, trusted: ssl.SSLContext | bool = True) -> None:
        """`trusted`: whose certificates are believed."""
        self._verify = trusted
        self.every: list[http.AsyncHTTPTransport] = []
        self.free: list[http.AsyncHTTPTransport] = []
        """Those that no call has."""
        self._open: set[http.AsyncHTTPTransport] = set()
        """Those that had an answer."""
        self._opening = asyncio.Semaphore(_OPENED_AT_ONCE)

    async def handle_async_request(self, request: "http.Request") -> "http.Response":
        """The answer; its connection is free once that was read."""
        if not self.free:
            self.free.append(http.AsyncHTTPTransport(verify=self._verify, limits=_LIMITS))
            self.every.append(self.free[-1])
        one = self.free.pop()
        try:
            if one in self._open:
                response = await one.handle_async_request(request)
            else:
                response = await self._opened(one, request)
        except BaseException:
            self.free.append(one)
            raise
        response.stream = _Reading(response.stream, partial(self.free.append, one))
        return response

    async def _opened(self, one: "http.AsyncHTTPTransport", request: "http.Request") -> "http.Response":
        """The first answer over a connection. Only some are opened at once: else a busy machine takes longer for all of
        them together than it may take for one."""
        await self._opening.acquire()
        waits = [self._opening]

        async def seen(event: str, _: object) -> None:
            if waits and event.endswith("send_request_headers.started"):
                waits.pop().release()

        request.extensions = {**request.extensions, "trace": seen}
        try:
            response = await one.handle_async_request(request)
        finally:
            if waits:
                waits.pop().release()
        self._open.add(one)
        return response

    async def aclose(self) -> None:
        """Close all of them."""
        for one in self.every:
            await one.aclose()


class _Reading(http.AsyncByteStream):
    """A response's bytes; what is to be done at the end is done once."""

    def __init__(self, inner: Any, ended: Callable[[], None]) -> None:
        self._inner, self._ended = inner, [ended]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._inner:
            yield part

    async def aclose(self) -> None:
        """Close what is below."""
        try:
            await self._inner.aclose()
        finally:
            if self._ended:
                self._ended.pop()()
