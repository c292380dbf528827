"""POSTs to one endpoint, over connections of our own: what an HTTP library does for a call takes far more of the
processor than all else that a rollout needs.

A response is read whole, as it was packed, and no more than so many bytes of it. What goes wrong is told in the words
of the SDK's HTTP library.
"""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..http1.answers import AnswerBroken, UpstreamAnswer
from ..http1.connections import NotConnected, UpstreamConnections
from ..http1.dialing import UpstreamSite
from ..http1.outgoing import Outgoing
from .library import http

_OPENED_AT_ONCE = 64
"""Connections that are made side by side: else a busy machine takes longer for all of them than it may for one."""
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    """How long a call may take."""

    connect: float
    first_byte: float
    silence: float
    total: float = _DAY


@dataclass(frozen=True, slots=True)
class PostedAnswer:
    """What came back for a POST."""

    url: str
    status_code: int
    lines: Sequence[tuple[bytes, bytes]]
    """Its headers, names in lower case."""
    content: bytes

    @property
    def packed(self) -> str:
        """How it is packed, in the server's words; empty where it is not."""
        return next((value.decode("latin-1") for name, value in self.lines if name == b"content-encoding"), "")

    @property
    def headers(self) -> Mapping[str, str]:
        """By their names in lower case."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.lines}

    @property
    def text(self) -> str:
        """As it is meant: JSON is UTF-8, whatever its header says."""
        return self.content.decode("utf-8", "replace")

    def whole(self) -> http.Response:
        """The same as the SDK's errors hold it."""
        lines = [line for line in self.lines if line[0] not in (b"content-encoding", b"content-length")]
        request = http.Request("POST", self.url)
        return http.Response(self.status_code, headers=lines, content=self.content, request=request)


class Posts:
    """All POSTs to one endpoint; any number at once, each over a connection of its own, which is kept for the next."""

    def __init__(self, base_url: str, connect: float, seconds: float, trusted: ssl.SSLContext) -> None:
        """`connect` seconds to take a connection, `seconds` of silence at most; `trusted`: whose certificates are
        believed."""
        self._site = UpstreamSite.of(base_url, None)
        waiting = _Waiting(connect, seconds, seconds)
        self._connections = UpstreamConnections(waiting, [self._site], tls=trusted, opened_at_once=_OPENED_AT_ONCE)
        self._heads: dict[str, bytes] = {}

    async def answer(self, url: str, headers: Mapping[str, str], content: bytes, most: int) -> PostedAnswer:
        """What comes back, of `most` bytes, whatever its status; raises the HTTP library's errors for nothing."""
        if url not in self._heads:
            self._heads[url] = self._head(url, headers)
        request = Outgoing(b"POST", b"%bcontent-length: %d\r\n\r\n" % (self._heads[url], len(content)), content)
        try:
            answer = await self._connections.ask(self._site, request)
            try:
                body = await _whole(answer, most)
            except BaseException:
                answer.close()
                raise
        except NotConnected as error:
            cause = error.__cause__
            kind = http.ConnectTimeout if isinstance(cause, TimeoutError) else http.ConnectError
            raise kind(str(cause)) from cause
        except TimeoutError as error:
            raise http.ReadTimeout("") from error
        except AnswerBroken as error:
            raise http.RemoteProtocolError(str(error)) from error
        return PostedAnswer(url, answer.status, answer.lines, body)

    def _head(self, url: str, headers: Mapping[str, str]) -> bytes:
        """All of a request that stands before its length; the same for each call of a route."""
        fields = {**headers, "host": self._site.named.decode("latin-1"), "accept-encoding": "gzip, deflate"}
        if ended := [name for name, value in fields.items() if "\r" in value or "\n" in value]:
            raise http.LocalProtocolError(f"the header {ended[0]} holds the end of a line")
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return b"POST %b HTTP/1.1\r\n%b" % (http.URL(url).raw_path, lines.encode())

    def close(self) -> None:
        """End all connections."""
        self._connections.close()


async def _whole(answer: UpstreamAnswer, most: int) -> bytes:
    """All of a response's body."""
    parts = [await answer.read()]
    left = most - len(parts[0])
    while parts[-1] and not answer.is_read and left >= 0:
        parts.append(await answer.read())
        left -= len(parts[-1])
    if left < 0:
        raise http.DecodingError(f"more than {most:,} bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)
