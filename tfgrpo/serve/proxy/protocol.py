"""HTTP as uvicorn speaks it, and what it lacks: callers of HTTP/1.0, who know no chunks."""

from collections.abc import MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class Protocol(HttpToolsProtocol):
    """As uvicorn's; an answer of unknown length to HTTP/1.0 ends with the connection."""

    def on_headers_complete(self) -> None:
        """A request has begun: its task starts when this returns."""
        super().on_headers_complete()
        cycle: Any = self.cycle
        if self.scope.get("http_version") == "1.0" and cycle is not None and cycle.scope is self.scope:
            cycle.send = _Unchunked(cycle)  # its task has not taken it yet


class _Unchunked:
    """Sends the answer of one request."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._send: Any = cycle.send
        self._open_ended = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._open_ended = all(name != b"content-length" for name, _ in message.get("headers", ()))
            if self._open_ended:
                self._cycle.chunked_encoding = False
        elif self._open_ended:
            self._cycle.expected_content_length = len(message.get("body", b""))
        await self._send(message)
