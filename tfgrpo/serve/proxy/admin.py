"""The way to the dashboard, which is loaded in a thread when it is first called: others go without it."""

import asyncio
import secrets
from typing import TYPE_CHECKING

from ...extras import install_hint
from .asgi import Receive, Scope, Send, error_body, respond, respond_bytes
from .call import Works
from .door import Refusal
from .head import Head

if TYPE_CHECKING:
    from ..dashboard.app import Dashboard

_HOME = "/tfgrpo/"
_FOR_PROGRAMS = "/tfgrpo/v1/"


class AdminSide:
    """The dashboard of one proxy, behind its door."""

    def __init__(self, works: Works, secret: bytes | None) -> None:
        """`secret` is one for all workers, so that whoever has logged in to one has to all; None: one of its own."""
        self._works = works
        self._secret = secret or secrets.token_bytes(32)
        self._loading = asyncio.Lock()
        self._loaded: Dashboard | None = None

    def has(self, path: str) -> bool:
        """Whether a path is for people."""
        return path == _HOME[:-1] or (path.startswith(_HOME) and not path.startswith(_FOR_PROGRAMS))

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call; the same may see it that may read figures."""
        head, door = Head.of(scope), self._works.door
        asked = door.guards(self._works.shelf.held.keys)
        if not asked and (refusal := door.refusal(head.given, None, asked=False)):
            await _refuse(send, refusal)
        elif head.path == _HOME[:-1]:
            await respond_bytes(send, 307, b"", [(b"location", _HOME.encode())])
        else:
            try:
                dashboard = await self._opened()
            except ModuleNotFoundError as error:
                lacking = f"the dashboard needs {error.name}, of the extra `serve`: {install_hint('serve')}"
                await _refuse(send, Refusal(503, "extra_missing", lacking))
                return
            await dashboard(scope, receive, send, asked=asked)

    def close(self) -> None:
        """Let go of it."""
        if self._loaded:
            self._loaded.close()

    async def _opened(self) -> "Dashboard":
        async with self._loading:
            if self._loaded is None:
                self._loaded = await asyncio.to_thread(self._load)
            return self._loaded

    def _load(self) -> "Dashboard":
        from ..dashboard.app import Dashboard

        shelf = self._works.shelf
        return Dashboard(shelf.path, shelf.namespace, self._secret, lambda: shelf.held.keys)


async def _refuse(send: Send, refusal: Refusal) -> None:
    await respond(send, refusal.status, error_body(refusal.kind, refusal.code, refusal.message), refusal.lines)
