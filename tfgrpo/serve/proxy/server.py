"""The proxy as a process: a socket, uvicorn, and an orderly end."""

import socket
from collections.abc import Callable
from pathlib import Path

import httptools  # noqa: F401 - uvicorn loads it by name; what is missing is said before anything starts
import uvicorn

from ...errors import InputError
from ..source import prior_source
from .app import Limits, Proxy
from .relay import RelayTarget

_IDLE_SECONDS = 75
"""How long a caller's unused connection stays open: longer than SDKs keep theirs, so that it is they who close it."""

_BACKLOG = 2048


def serve(
    upstream: str,
    *,
    store: str | Path | None = None,
    namespace: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    upstream_key: str | None = None,
    limits: Limits | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; calls in flight are finished first, a second signal ends them.

    `upstream` is the base URL that an SDK would be given (see `RelayTarget` for how paths map); `upstream_key` replaces
    the callers' own. Port 0 takes a free one. `ready` is called once, with the `base_url` for callers, when connections
    are accepted. Raises InputError for an upstream, host or port that cannot be used.
    """
    app = Proxy(RelayTarget.parse(upstream, upstream_key), prior_source(store, namespace), limits)
    config = uvicorn.Config(
        app,
        interface="asgi3",
        loop="auto",  # uvloop where it is installed: it does not exist everywhere
        http="httptools",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,  # its lines would hold query strings, and these may hold keys
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_IDLE_SECONDS,
    )
    with listen(host, port) as listener:
        if ready:
            ready(_base_url(listener))
        uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises InputError when it cannot be had."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen on {host}, port {port}: {reason}; choose another with --host, --port"
        ) from error
    return listener


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"
