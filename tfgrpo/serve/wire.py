"""The live prior over httpx2, blocking and async: around one request, and as transports."""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import httpx2

from ..surfaces.http import PRIOR_HEADER, Rewrite, rewrite, takes_prior
from .source import PriorSource


def send_with_prior(
    request: httpx2.Request, source: PriorSource, send: Callable[[httpx2.Request], httpx2.Response]
) -> httpx2.Response:
    """Send the request, or a marked copy of it that has the prior; the request itself is not altered."""
    if not takes_prior(request.method, request.url.path, request.headers):
        return send(request)
    if not (snapshot := source.current()):
        return send(request)
    rewritten = rewrite(request.read(), snapshot, backends=source.backends(str(request.url)))
    source.say(rewritten.notice)
    return _marked(send(request if rewritten.content is None else _copy(request, rewritten)), rewritten)


async def send_with_prior_async(
    request: httpx2.Request, source: PriorSource, send: Callable[[httpx2.Request], Awaitable[httpx2.Response]]
) -> httpx2.Response:
    """As `send_with_prior`."""
    if not takes_prior(request.method, request.url.path, request.headers):
        return await send(request)
    if not (snapshot := await source.current_async()):
        return await send(request)
    rewritten = rewrite(await request.aread(), snapshot, backends=source.backends(str(request.url)))
    source.say(rewritten.notice)
    return _marked(await send(request if rewritten.content is None else _copy(request, rewritten)), rewritten)


def _copy(request: httpx2.Request, rewritten: Rewrite) -> httpx2.Request:
    headers = request.headers.copy()
    for framing in ("content-length", "transfer-encoding"):
        headers.pop(framing, None)
    headers[PRIOR_HEADER] = rewritten.prior
    kind = type(request)  # the SDK also takes clients of httpx, whose requests are of another class
    return kind(request.method, request.url, headers=headers, content=rewritten.content, extensions=request.extensions)


def _marked(response: httpx2.Response, rewritten: Rewrite) -> httpx2.Response:
    response.headers.update(rewritten.marks_beside(response.headers))
    return response


class PriorTransport(httpx2.BaseTransport):
    """Another httpx2 transport, with the prior added to the chat completions that pass through it."""

    def __init__(self, inner: httpx2.BaseTransport, source: PriorSource) -> None:
        self._inner = inner
        self._source = source

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, biased at most once."""
        return send_with_prior(request, self._source, self._inner.handle_request)

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._inner.__exit__(exc_type, exc_value, traceback)


class AsyncPriorTransport(httpx2.AsyncBaseTransport):
    """As PriorTransport, for `httpx2.AsyncClient`."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, source: PriorSource) -> None:
        self._inner = inner
        self._source = source

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, biased at most once."""
        return await send_with_prior_async(request, self._source, self._inner.handle_async_request)

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._inner.__aexit__(exc_type, exc_value, traceback)
