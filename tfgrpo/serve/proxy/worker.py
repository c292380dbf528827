"""One worker of the proxy: uvicorn on a bound socket, and an orderly end."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from ..logs import configure_logs
from .app import Proxy
from .protocol import Protocol
from .pulled_shelf import PulledFrom, PulledShelf
from .serving import Serving
from .shelf import Shelf
from .spans import configured_tracer

_IDLE_SECONDS = 75
"""How long a caller's unused connection stays open: longer than SDKs keep theirs, so that it is they who close it."""
_BACKLOG = 2048
_GARBAGE = 20_000, 20, 50
"""Objects until the garbage collector looks at the youngest, and how often at the older ones: calls leave no cycles."""


def run_worker(serving: Serving, bound: socket.socket, ready: Callable[[], None]) -> None:
    """Serve on a bound socket, in this process."""
    at = serving.listening
    configure_logs(at.log_format, requests=at.log_requests)
    app = Proxy(
        serving.upstreams,
        _shelf(serving),
        serving.limits,
        door=serving.door,
        tracer=configured_tracer(),
        recording=serving.recording,
        secret=serving.secret,
        bounded=serving.bounded,
    )
    config = uvicorn.Config(
        app,
        interface="asgi3",
        loop="auto",  # uvloop where it is installed: it does not exist everywhere
        http=_patient(serving.limits.silence),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="critical",  # what goes wrong the app says itself
        access_log=False,  # its lines would hold query strings, and these may hold keys
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=max(1, round(at.grace)),
    )
    bound.listen(_BACKLOG)
    _Server(config, ready).run(sockets=[bound])


def _patient(seconds: float) -> type[Protocol]:
    class Patient(Protocol):
        silence = seconds

    return Patient


def _shelf(serving: Serving) -> Shelf:
    if isinstance(serving.store, PulledFrom):
        return PulledShelf(serving.store, serving.namespace, serving.shares)
    return Shelf(serving.store, serving.namespace, serving.shares)


class _Server(uvicorn.Server):
    """As uvicorn's; it says when it is ready, and a second signal of either kind ends it at once."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections from now on."""
        await super().startup(sockets)
        if self.started:
            gc.collect()
            gc.freeze()  # what is there now stays
            gc.set_threshold(*_GARBAGE)
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets calls end, the second does not."""
        if self.should_exit:
            asyncio.get_running_loop().call_soon_threadsafe(self._abort)
            sig = signal.SIGINT
        super().handle_exit(sig, frame)

    def _abort(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
