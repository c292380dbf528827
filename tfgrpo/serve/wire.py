"""The live prior over HTTP, blocking and async: around one request, and as parts of transports and clients.

`over_httpx` and `over_httpx2` make them of either library.
"""

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

from .access import Access, access_to
from .ahead import draft_of
from .exchange import Exchange, HTTPRequest, HTTPResponse, exchange_of
from .forks import renewed_in_children
from .mould import Mould, builds_plainly
from .source import PriorSource


def send_with_prior(request: HTTPRequest, access: Access, send: Callable[[HTTPRequest], HTTPResponse]) -> HTTPResponse:
    """Send the request, or a marked copy of it that has the prior; the request itself is not altered."""
    exchange = exchange_of(request, access)
    if exchange.source:
        exchange.source.current()
        request.read()
        if asked := exchange.asks_vector():
            exchange.takes_vector(_answer(asked, send))
    response = send(exchange.begin())
    if exchange.has_to_be_read(response):
        response.read()
    if exchange.goes_again(response):
        response.close()
        response = send(exchange.plain())
        exchange.went_without(response)
    return exchange.told(response)


async def send_with_prior_async(
    request: HTTPRequest, access: Access, send: Callable[[HTTPRequest], Awaitable[HTTPResponse]]
) -> HTTPResponse:
    """As `send_with_prior`."""
    exchange = exchange_of(request, access)
    if exchange.source:
        await exchange.source.current_async()
        await request.aread()
        if asked := exchange.asks_vector():
            exchange.takes_vector(await _answer_async(asked, send))
    response = await send(exchange.begin())
    if exchange.has_to_be_read(response):
        await response.aread()
    if exchange.goes_again(response):
        await response.aclose()
        response = await send(exchange.plain())
        exchange.went_without(response)
    return exchange.told(response)


def _answer(asked: HTTPRequest, send: Callable[[HTTPRequest], HTTPResponse]) -> HTTPResponse | None:
    """The answer to a request of ours, whole; None where there is none."""
    try:
        response = send(asked)
        response.read()
    except Exception:  # of whichever library: the caller's own call goes on
        return None
    return response


async def _answer_async(
    asked: HTTPRequest, send: Callable[[HTTPRequest], Awaitable[HTTPResponse]]
) -> HTTPResponse | None:
    """As `_answer`."""
    try:
        response = await send(asked)
        await response.aread()
    except Exception:  # as above
        return None
    return response


class Carrying:
    """A blocking transport: another one, with the prior added to the requests that pass through it."""

    def __init__(self, inner: Any, source: PriorSource | Access) -> None:
        self._inner = inner
        self._access = access_to(source)

    def handle_request(self, request: HTTPRequest) -> HTTPResponse:
        """Send one request, biased at most once."""
        return send_with_prior(request, self._access, self._inner.handle_request)

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


class AsyncCarrying:
    """As Carrying, of an async client."""

    def __init__(self, inner: Any, source: PriorSource | Access) -> None:
        self._inner = inner
        self._access = access_to(source)

    async def handle_async_request(self, request: HTTPRequest) -> HTTPResponse:
        """Send one request, biased at most once."""
        return await send_with_prior_async(request, self._access, self._inner.handle_async_request)

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


class _Through:
    """The transport of a client that sends through another: whatever reaches it goes that way too."""

    def __init__(self, client: Any) -> None:
        """`client` is a Sending or an AsyncSending."""
        self._client = weakref.ref(client)

    def handle_request(self, request: HTTPRequest) -> HTTPResponse:
        return self._sent(request)

    async def handle_async_request(self, request: HTTPRequest) -> HTTPResponse:
        return await self._sent(request)

    def _sent(self, request: HTTPRequest) -> Any:
        client = self._client()
        assert client is not None, "a client that speaks is there"
        return client.send(request, stream=True, follow_redirects=False)

    def close(self) -> None:
        """What is behind it is closed by the client."""

    async def aclose(self) -> None:
        """As `close`."""


class _Sending:
    """An HTTP client that sends through another, which stays as its owner made it, and adds the prior on the way.

    One that `make` has made belongs to this client, and is made anew in a forked process, so that each has connections
    of its own.
    """

    def __init__(self, inner: Any, access: Access, make: Callable[[], Any] | None = None) -> None:
        self.access = access
        self.inner = inner
        self._make = make
        self._mould = Mould()
        self._inherited: list[Any] = []  # the parent's connections: not even to be closed here
        library: Any = super()
        library.__init__(transport=_Through(self))  # given one, it makes none of its own, which would read certificates
        if make:
            renewed_in_children(self)

    def renew(self) -> None:
        """In a forked child: connections of its own."""
        if self._make:
            self._inherited.append(self.inner)
            self.inner = self._make()

    def build_request(self, *args: Any, **options: Any) -> HTTPRequest:
        """As the other client does, with its headers, cookies, parameters and base URL; a Draft's has the prior.

        What a client builds in its own way is read once it is built: it may have a part in the body.
        """
        if builds_plainly(self.inner) and (draft := draft_of(self.inner, options)):
            exchange = Exchange(draft, self.access)
            if entered := exchange.begin_ahead():
                return exchange.goes_with(self._mould.request(self.inner, options, draft, entered))
            return exchange.goes_with(self.inner.build_request(*args, **options))
        return self.inner.build_request(*args, **options)

    @property
    def is_closed(self) -> bool:
        """Whether the other client is closed."""
        return bool(self.inner.is_closed)

    @property
    def timeout(self) -> Any:
        """The other client's."""
        return self.inner.timeout

    @timeout.setter
    def timeout(self, given: Any) -> None:
        self.inner.timeout = given

    @property
    def event_hooks(self) -> Any:
        """The other client's."""
        return self.inner.event_hooks

    @event_hooks.setter
    def event_hooks(self, given: Any) -> None:
        self.inner.event_hooks = given


class Sending(_Sending):
    """A blocking client that adds the prior."""

    def send(self, request: HTTPRequest, **options: Any) -> HTTPResponse:
        """Send the request with the prior, and once more without it where the upstream refuses it."""
        return send_with_prior(request, self.access, partial(self.inner.send, **options))

    def close(self) -> None:
        """Close the other client."""
        self.inner.close()

    def __del__(self) -> None:
        if self.__dict__.get("_make") and not self.is_closed:
            self.close()


class AsyncSending(_Sending):
    """An async client that adds the prior."""

    async def send(self, request: HTTPRequest, **options: Any) -> HTTPResponse:
        """As `Sending.send`."""
        return await send_with_prior_async(request, self.access, partial(self.inner.send, **options))

    async def aclose(self) -> None:
        """Close the other client."""
        await self.inner.aclose()

    def __del__(self) -> None:
        if self.__dict__.get("_make") and not self.is_closed:
            with suppress(RuntimeError):  # no loop runs any more: the sockets are closed with their objects
                asyncio.get_running_loop().create_task(self.aclose())
