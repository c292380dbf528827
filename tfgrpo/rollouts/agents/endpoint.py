"""The local HTTP endpoint that agents call: a base URL for each rollout, and the recorded APIs behind it.

Chat completions, responses and Anthropic's messages are recorded, as `surfaces` knows them. What is no call of a model
that could have a prior (embeddings, moderations, files, audio) goes on to the upstream as it is.
"""

import json
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ...errors import InputError, ModelError, TfgrpoError, UpstreamError
from ...extras import install_hint
from ...model.connection import Relayed
from ...records import JSON, ChatBody
from ...surfaces.routes import SURFACES, surface_of
from ...surfaces.streamed import streamed
from ...surfaces.surface import Surface
from ...text import shortened
from .session import Session, read_request

if TYPE_CHECKING:
    from aiohttp import web

_LOOPBACK = "127.0.0.1"
LONGEST_REQUEST = 2**26
"""Bytes."""
RECORDED = ", ".join(surface.route for surface in SURFACES if surface.transcript)
"""Routes."""
WHICH_CALLS = (
    f"of the agent's calls those by {RECORDED} are recorded, and have the prior; one by "
    + " or ".join(surface.route for surface in SURFACES if not surface.transcript)
    + " ends the run; all others go to the upstream as they are"
)
"""What is said before the first one."""
_FINAL = (("x-should-retry", "false"),)
"""Tells the SDK what is true of every refusal here: the call was retried already."""


class RecordingEndpoint:
    """Knows the rollouts that are under way by the paths of their base URLs, which nobody can guess."""

    def __init__(self) -> None:
        self.address = ""
        """Where it is answered: what base URLs begin with."""
        self._open: dict[str, Session] = {}

    @contextmanager
    def opened(self, session: Session) -> Iterator[str]:
        """The base URL of a session, which is answered until the end of the context."""
        path = secrets.token_urlsafe(16)
        self._open[path] = session
        try:
            yield f"{self.address}/{path}/v1"
        finally:
            del self._open[path]

    async def serve(self, request: "web.Request") -> "web.Response":
        """Answer one request that came by HTTP."""
        return response_of(await self.answered(request.match_info["attempt"], await asked_of(request)))

    async def answered(self, path: str, asked: Relayed) -> Relayed:
        """The answer to a request; a streamed one gets the whole completion as events, once it is there."""
        session = self._open.get(path)
        if session is None:
            return _refusal(410, "rollout_over", "this rollout is over; its calls are no longer answered")
        route = unquote(asked.path.partition("?")[0])
        if (asked.method, route) == ("GET", "models"):
            listed = {"id": session.model, "object": "model", "created": 0, "owned_by": "tfgrpo"}
            return _json({"object": "list", "data": [listed]})
        surface = surface_of(asked.method, f"/{route}")
        if surface is None:
            return await _relayed(session, asked)
        if surface.transcript is None:
            return _not_recorded(session, (asked.method, route))
        return await _completed(session, asked.content, surface)


async def asked_of(request: "web.Request") -> Relayed:
    """A request as it came, its path below the base URL."""
    path = request.rel_url.raw_path.split("/v1/", 1)[1]
    if request.rel_url.raw_query_string:
        path += f"?{request.rel_url.raw_query_string}"
    return Relayed(tuple(request.headers.items()), await request.read(), request.method, path)


def response_of(given: Relayed) -> "web.Response":
    """An answer for aiohttp."""
    from aiohttp import web
    from multidict import CIMultiDict

    return web.Response(body=given.content, status=given.status, headers=CIMultiDict(given.headers))


def _not_recorded(session: Session, wanted: tuple[str, str]) -> Relayed:
    """Refuse; a call of a model that is not recorded would leave nothing to learn from, so it ends the run at once."""
    what = shortened(" /".join(wanted))
    message = f"for an agent POST {RECORDED} are recorded, not {what}"
    session.stop(UpstreamError(f"the agent calls its model by {what}: {message}"))
    return _refusal(404, "not_recorded", message)


async def _relayed(session: Session, asked: Relayed) -> Relayed:
    """What the upstream answers to anything else."""
    if ".." in unquote(unquote(asked.path.partition("?")[0])) or any(
        name.lower() == "upgrade" for name, _ in asked.headers
    ):
        return _refusal(404, "not_relayed", "paths that climb, and web sockets, are not relayed")
    try:
        return await session.relay(asked)
    except ModelError as error:
        return _refusal(502, "upstream_error", str(error))
    except TfgrpoError as error:
        return _refusal(503, "run_ended", str(error))


async def _completed(session: Session, content: bytes, surface: Surface) -> Relayed:
    try:
        asked = read_request(content, surface)
    except (ValueError, RecursionError) as error:
        return _refusal(400, "bad_request", f"no request that {surface.route} takes: {shortened(error)}")
    try:
        return _answer(await session.complete(asked, surface), asked, surface)
    except ModelError as error:
        return _refusal(error.status or 502, "upstream_error", str(error))
    except TfgrpoError as error:
        return _refusal(503, "run_ended", str(error))


def _answer(whole: Mapping[str, JSON], asked: ChatBody, surface: Surface) -> Relayed:
    if not asked.get("stream"):
        return _json(whole)
    events = b"".join(streamed(surface.name, whole, asked))
    return Relayed((("content-type", "text/event-stream"),), events, status=200)


def _json(value: JSON, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Relayed:
    kind = ("content-type", "application/json; charset=utf-8")
    return Relayed((kind, *headers), json.dumps(value).encode(), status=status)


def _refusal(status: int, code: str, message: str) -> Relayed:
    """An error in the shape of the OpenAI API."""
    error = {"message": message, "type": "tfgrpo_error", "param": None, "code": code}
    return _json({"error": error}, status, _FINAL)


@asynccontextmanager
async def recording() -> AsyncIterator[RecordingEndpoint]:
    """An endpoint on a free port of this machine; raises InputError without the extra `serve`."""
    endpoint = RecordingEndpoint()
    async with listening("/{attempt}/v1/{route:.*}", endpoint.serve) as endpoint.address:
        yield endpoint


@asynccontextmanager
async def listening(
    route: str, handler: "Callable[[web.Request], Awaitable[web.StreamResponse]]"
) -> AsyncIterator[str]:
    """The address of a server on a free port of this machine; raises InputError without the extra `serve`."""
    try:
        from aiohttp import web
    except ModuleNotFoundError as error:
        raise InputError(f"agents need aiohttp, of the extra `serve`: {install_hint('serve')}") from error
    app = web.Application(client_max_size=LONGEST_REQUEST)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    app.router.add_route("*", route, handler)
    with socket.create_server((_LOOPBACK, 0)) as listener:
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            yield f"http://{_LOOPBACK}:{listener.getsockname()[1]}"
        finally:
            await runner.cleanup()
