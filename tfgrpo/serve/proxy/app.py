"""The ASGI app of the proxy: what lives as long as the server, and how an exchange goes."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
import orjson
from yarl import URL

from ...surfaces.http import NO_PRIOR, PRIOR_HEADER, STANDARD, Codec, is_completion, rewrite, takes_prior
from ..source import CHECK_SECONDS, PriorSource
from .asgi import Caller, Receive, Scope, Send, respond, respond_error
from .relay import Relayed, RelayTarget

HEALTH_PATH = "/healthz"
_HEADER_BYTES = 65_536
_BODILESS = (204, 304)

_CODECS = (Codec(orjson.loads, orjson.dumps), STANDARD)
"""The fast one makes floats of integers with more than 64 bits, and refuses what it could not write again (NaN)."""

_logger = logging.getLogger("tfgrpo")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one exchange may take."""

    connect: float = 10.0
    """Seconds until the upstream has taken a connection."""
    silence: float = 600.0
    """Seconds without a byte from the upstream, before its first one too."""
    rewrite: int = 32 * 2**20
    """Bytes of a chat request that are held and parsed; a longer one is relayed as it is, without the prior."""


class Proxy:
    """An OpenAI-compatible ASGI app that relays to an upstream and adds the prior to chat completions.

    It serves between `__aenter__` and `__aexit__`, which the server's lifespan calls. No request waits for the store: a
    task in the background keeps the prior up to date. A caller who leaves cancels the call upstream at any point.
    An upstream that cannot be reached is a 502, one that is silent for too long a 504, both with an OpenAI error as
    body; one that breaks off in the middle breaks off the caller's connection too, so that half an answer never looks
    whole. GET /healthz answers without asking the upstream.
    """

    def __init__(self, upstream: RelayTarget, source: PriorSource, limits: Limits | None = None) -> None:
        self._upstream = upstream
        self._source = source
        self._limits = limits or Limits()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._source.refresh)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
            timeout=aiohttp.ClientTimeout(connect=self._limits.connect, sock_read=self._limits.silence),
            proxy=self._upstream.forward_proxy(),
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
        )
        self._refresher = asyncio.create_task(self._refresh())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._refresher.cancel()
        await self._session.close()
        self._source.close()
        with suppress(asyncio.CancelledError):
            await self._refresher

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await asyncio.to_thread(self._source.refresh)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["path"] == HEALTH_PATH:
            await respond(send, 200, {"status": "ok"})
        else:
            await self._serve(scope, Caller(receive), send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, caller: Caller, send: Send) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(caller.listen()), group.create_task(self._exchange(scope, caller, send))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()

    async def _exchange(self, scope: Scope, caller: Caller, send: Send) -> None:
        url = self._upstream.url(scope["raw_path"], scope["query_string"])
        if url is None:
            await respond_error(send, 400, "invalid_request_error", "bad_path", "a path may not hold '..'")
            return
        relayed = await self._relayed(scope, caller, url)
        try:
            response = await self._session.request(
                scope["method"],
                URL(url, encoded=True),
                headers=relayed.headers,
                data=relayed.body,
                allow_redirects=False,
            )
        except TimeoutError:
            await self._fail(send, 504, "upstream_timeout", "gave no answer in time")
        except aiohttp.ClientError as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            await self._fail(send, 502, "upstream_unreachable", f"cannot be reached ({reason})")
        else:
            if await _relay(response, relayed, send):
                await send({"type": "http.response.body"})

    async def _relayed(self, scope: Scope, caller: Caller, url: str) -> Relayed:
        """The caller's request as it goes on: with the prior where it takes one."""
        relayed = self._upstream.relayed(scope["headers"], caller.body())
        if not is_completion(scope["method"], scope["path"]):
            return relayed
        given = dict(relayed.headers)
        snapshot = self._source.snapshot
        if snapshot is None or not takes_prior(scope["method"], scope["path"], given):
            return relayed.telling(given.get(PRIOR_HEADER, NO_PRIOR))
        content = await caller.whole(self._limits.rewrite)
        if content is None:
            self._source.say(f"a chat request of over {self._limits.rewrite} bytes went on without the prior")
            return relayed.telling(NO_PRIOR)
        rewritten = rewrite(content, snapshot, _CODECS, self._source.backends(url))
        self._source.say(rewritten.notice)
        if rewritten.content is None:
            return relayed.holding(content).telling(NO_PRIOR, rewritten.left_out)
        return relayed.holding(rewritten.content).marked(rewritten.prior, snapshot.state, rewritten.left_out)

    async def _fail(self, send: Send, status: int, code: str, what: str) -> None:
        message = f"the upstream {self._upstream.base} {what}"
        _logger.warning(message)
        await respond_error(send, status, "upstream_error", code, message)


async def _relay(response: aiohttp.ClientResponse, relayed: Relayed, send: Send) -> bool:
    """Pass the answer on as it comes, all but its end; False when the upstream broke off."""
    async with response:
        headers = relayed.response_headers(response.raw_headers)
        if response.status in _BODILESS:  # they may give the length that another answer would have
            headers = [(name, value) for name, value in headers if name != b"content-length"]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        try:
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except (aiohttp.ClientError, TimeoutError) as error:
            _logger.warning("the upstream broke off an answer (%s)", type(error).__name__)
            return False
    return True
