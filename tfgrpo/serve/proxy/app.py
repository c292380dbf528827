"""The ASGI app of the proxy: what lives as long as the server, and which calls are its own to answer."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ...http1.connections import UpstreamConnections
from ...http1.dialing import UpstreamSite
from ..reporting import CALLS_PATH
from ..writing import NOT_RECORDED, Recording
from .admin import AdminSide
from .asgi import Receive, Scope, Send, error_body, respond
from .call import RelayedCall, Works
from .collecting import CollectorDesk
from .door import Door, Refusal
from .feedback import FEEDBACK_PATH, FeedbackDesk
from .head import Head
from .limits import Limits
from .metrics import Metrics
from .onward import Onward
from .pages import Pages
from .record import Traffic
from .relay import RelayTarget, Rotation
from .shadow import Shadows
from .shelf import SHELF_SECONDS, Shelf
from .spans import Tracer

if TYPE_CHECKING:
    from .bounding import Cut  # few proxies cut answers

_OWN = "/tfgrpo"
_FIRST_LOOK_SECONDS = 5.0
"""For the first look at the store, before calls are served without what it would have told."""
_BUSY = Refusal(
    429, "too_many_calls", "this proxy has as many calls in flight as it may; try again", "rate_limit_error"
)

_COLLECTS = Refusal(404, "no_upstream", "this is a collector of calls and feedback: it has no model behind it")

_logger = logging.getLogger("tfgrpo")


class Proxy:
    """An OpenAI-compatible ASGI app that relays to upstreams and adds the prior to the calls that can have one.

    It serves between `__aenter__` and `__aexit__`, which the server's lifespan calls. No call waits for the store: a
    task in the background keeps the prior up to date. A caller who leaves cancels the call upstream at any point. An
    upstream that cannot be reached is a 502, one that is silent for too long a 504, both with an OpenAI error as body;
    one that breaks off in the middle breaks off the caller's connection too, so that half an answer never looks whole.
    """

    def __init__(
        self,
        upstreams: RelayTarget | Sequence[RelayTarget],
        shelf: Shelf,
        limits: Limits | None = None,
        *,
        door: Door | None = None,
        tracer: Tracer | None = None,
        recording: Recording = NOT_RECORDED,
        secret: bytes | None = None,
        bounded: str | None = None,
    ) -> None:
        """Without a `door` whoever reaches the app may call; without upstreams it only collects.

        `secret` is shared by the workers of one server, for the sessions of its dashboard; `bounded` is how a long
        answer is asked for in chunks (`bounding`), as CHUNK:CARRY:CHUNKS in tokens.
        """
        targets = [upstreams] if isinstance(upstreams, RelayTarget) else upstreams
        self._rotation = Rotation(targets)
        self._shelf, self._limits, self._door, self._tracer = shelf, limits or Limits(), door or Door(), tracer
        self._recording = recording
        self._secret = secret
        self._in_flight = 0
        self._cut: Cut | None = None
        if bounded:
            from .bounding import cutting  # few proxies do

            self._cut = cutting(bounded)

    async def __aenter__(self) -> Self:
        sites = {target: UpstreamSite.of(target.base, target.forward_proxy()) for target in self._rotation.targets}
        connections = UpstreamConnections(self._limits, [*sites.values()])
        onward = Onward(self._rotation, self._limits, Metrics(), connections, sites)
        self._traffic = Traffic(self._shelf.path, self._recording, onward.metrics)
        if self._recording.share is not None:
            self._traffic.start()
        wanted = self._recording.shadows
        self._shadows = Shadows(wanted, onward, self._traffic, onward.metrics) if wanted.share else None
        self._works = Works(
            self._shelf, self._door, onward.metrics, onward, self._tracer, self._traffic, self._shadows, self._cut
        )
        self._desk = FeedbackDesk(self._works, self._traffic, self._shelf.path)
        self._collecting = CollectorDesk(self._works, self._shelf.path)
        self._pages, self._admin = Pages(self._works), AdminSide(self._works, self._secret)
        self._looked = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._looked.wait(), _FIRST_LOOK_SECONDS)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper
        self._admin.close()
        if self._shadows:
            await self._shadows.close()
        await asyncio.to_thread(self._collecting.close)
        self._works.onward.connections.close()
        await asyncio.to_thread(self._traffic.close)
        await asyncio.to_thread(self._shelf.close)

    async def _keep(self) -> None:
        """Look at the store again and again."""
        while True:
            before = self._shelf.held.backends
            await asyncio.to_thread(self._shelf.refresh)
            self._looked.set()
            if self._shelf.held.backends != before:
                self._works.onward.forget_refusals()
            self._works.metrics.note(self._in_flight, self._shelf)
            if isinstance(self._shelf.path, Path) or not await asyncio.to_thread(self._shelf.listen, SHELF_SECONDS):
                await asyncio.sleep(SHELF_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif not (scope["path"].startswith(_OWN) or self._pages.has(scope["path"])):  # nearly all
            await self._relay(scope, receive, send)
        elif scope["path"] == FEEDBACK_PATH:
            await self._desk.answer(Head.of(scope), receive, send)
        elif scope["path"] == CALLS_PATH and self._collects:
            await self._collecting.answer(Head.of(scope), receive, send)
        elif self._admin.has(scope["path"]):
            await self._admin.answer(scope, receive, send)
        elif self._pages.has(scope["path"]):
            await self._pages.answer(Head.of(scope), send, self._in_flight)
        else:
            await self._relay(scope, receive, send)

    @property
    def _collects(self) -> bool:
        """Whether calls of others may be reported here: where there is no upstream, or what passes is recorded here."""
        return not self._rotation.targets or (self._recording.share is not None and self._recording.to is None)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self:
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception:
            _logger.exception("the proxy could not be started or stopped in order")
            raise
        await send({"type": "lifespan.shutdown.complete"})

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._rotation.targets:
            self._works.metrics.refused(_COLLECTS.code)
            await respond(send, _COLLECTS.status, error_body(_COLLECTS.kind, _COLLECTS.code, _COLLECTS.message))
            return
        if self._in_flight >= self._limits.in_flight:
            self._works.metrics.refused(_BUSY.code)
            await respond(send, _BUSY.status, error_body(_BUSY.kind, _BUSY.code, _BUSY.message), _BUSY.lines)
            return
        self._in_flight += 1
        try:
            await RelayedCall(self._works, scope, receive, send).run()
        finally:
            self._in_flight -= 1
