"""The dashboard as an ASGI app: who may see it, its pages, and what browsers may do with them."""

import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...errors import TfgrpoError
from ...store import AccessKey, StorePath
from ...store.browse import SoFar
from ..keys import find_key
from . import buttons, pages
from .counting import Counting
from .run_looks import look_at_run
from .site import Site
from .traffic import traffic_look
from .visits import HOME, Visitor, session_key, visitor_of

_FRESH_SECONDS = 5.0
_OPEN = (f"{HOME}assets/", f"{HOME}login")
"""What the page that asks for a key needs itself."""
_HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

_Message = MutableMapping[str, Any]


class Dashboard:
    """The pages at `/tfgrpo/`, over one store."""

    def __init__(
        self,
        path: StorePath,
        namespace: str,
        secret: bytes,
        keys: Callable[[], Mapping[str, AccessKey]],
        fresh: float = _FRESH_SECONDS,
    ) -> None:
        """`keys` are asked for anew by each call; what is counted is good for `fresh` seconds."""
        counting = Counting(partial(traffic_look, path), fresh)
        runs = Counting(partial(look_at_run, path, dict[str, SoFar]()), 0.0)
        self._site = Site(path, namespace, secret, keys, counting, runs)
        self._app = Starlette(routes=_ROUTES, exception_handlers={TfgrpoError: _trouble, HTTPException: _no_page})
        self._app.state.site = self._site

    def close(self) -> None:
        """Count no more."""
        self._site.traffic.close()
        self._site.runs.close()

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
        *,
        asked: bool,
    ) -> None:
        """Answer a call; where a key is `asked` for, only whoever brings an admin key, or has logged in with one."""
        visitor = self._visitor(scope, asked)
        inner = {**scope, "root_path": "", "state": {"visitor": visitor}}

        async def guarded(message: _Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                added = {**_HEADERS, **({} if b"cache-control" in given else {"cache-control": "no-store"})}
                lines = [(name.encode(), value.encode()) for name, value in added.items()]
                message = {**message, "headers": [*message["headers"], *lines]}
            await send(message)

        if visitor is None and not scope["path"].startswith(_OPEN):
            inner["app"] = self._app
            request = Request(inner)
            target = quote(scope["path"], safe="/") + (f"?{request.url.query}" if request.url.query else "")
            await buttons.login_page(request, target)(inner, receive, guarded)
            return
        await self._app(inner, receive, guarded)

    def _visitor(self, scope: _Message, asked: bool) -> Visitor | None:
        if not asked:
            return visitor_of(self._site.secret, None)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        known = self._site.keys()
        key = session_key(self._site.secret, headers.get("cookie", ""), known, time.time())
        given = headers.get("authorization", "")
        if key is None and given[:7].lower() == "bearer ":
            found = find_key(given[7:].strip(), known)
            key = found if found and found.admin and not found.revoked else None
        return visitor_of(self._site.secret, key) if key else None


async def _trouble(request: Request, error: Exception) -> Response:
    assert isinstance(error, TfgrpoError)
    return pages.trouble(request, error)


async def _no_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = "there is no such page" if error.status_code == 404 else str(error.detail)
    return pages.page(request, "trouble", {"said": said, "title": error.detail}, error.status_code)


_ROUTES = [
    Route(HOME, pages.overview),
    Route(f"{HOME}namespace", pages.namespace),
    Route(f"{HOME}traffic", pages.traffic),
    Route(f"{HOME}prior", pages.prior),
    Route(f"{HOME}run", pages.run),
    Route(f"{HOME}run/live", pages.live_run),
    Route(f"{HOME}rollouts", pages.rollouts),
    Route(f"{HOME}rollout", pages.rollout),
    Route(f"{HOME}assets/{{name}}", pages.file),
    Route(f"{HOME}login", buttons.log_in, methods=["POST"]),
    Route(f"{HOME}logout", buttons.log_out, methods=["POST"]),
    Route(f"{HOME}do/{{action}}", buttons.act, methods=["POST"]),
]
