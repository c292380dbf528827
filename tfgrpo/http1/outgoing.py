"""A request as it goes out to an upstream: its bytes, and whether they may go twice. Pure."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, TypeAlias

from .dialing import UpstreamSite

SentBody: TypeAlias = bytes | AsyncIterator[bytes]
"""What goes to an upstream: a body that is there, or one that is still coming."""
AT_ONCE = 2**18
"""Bytes of a body that are written at once."""
_REPEATABLE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
"""Methods of requests that may reach a server twice (RFC 9110, 9.2.2)."""
_HAVE_BODIES = ("POST", "PUT", "PATCH")
"""Methods whose requests say so where they have no body."""


class Outgoing(NamedTuple):
    """A request as it goes out."""

    method: bytes
    head: bytes
    """Its first line and headers, to the empty line."""
    body: SentBody = b""
    chunked: bool = False
    """It goes in chunks, since its length is not known."""

    @property
    def may_go_twice(self) -> bool:
        """Whether it does no harm to send it once more."""
        return self.method in _REPEATABLE and isinstance(self.body, bytes)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Its body, as it is written."""
        if isinstance(self.body, bytes):
            for start in range(0, len(self.body), AT_ONCE):
                yield self.body[start : start + AT_ONCE]
            return
        async for piece in self.body:
            if piece:
                yield b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece
        if self.chunked:
            yield b"0\r\n\r\n"


def outgoing(
    site: UpstreamSite, method: str, address: bytes, headers: Sequence[tuple[bytes, bytes]], body: SentBody | None
) -> Outgoing:
    """The request as its bytes; ValueError for a header that would end its line."""
    lines, chunked = list(headers), False
    if isinstance(body, bytes):
        lines.append((b"content-length", b"%d" % len(body)))
    elif body is None:
        if method in _HAVE_BODIES:
            lines.append((b"content-length", b"0"))
    elif chunked := all(name != b"content-length" for name, _ in lines):
        lines.append((b"transfer-encoding", b"chunked"))
    if site.through and site.through.authorization and not site.secure:
        lines.append((b"proxy-authorization", site.through.authorization))
    fields = b"".join([b"%b: %b\r\n" % line for line in lines])
    if fields.count(b"\n") != len(lines) or fields.count(b"\r") != len(lines):
        raise ValueError("a header holds the end of a line")
    named = method.encode("latin-1")
    head = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (named, address, site.named, fields)
    return Outgoing(named, head, b"" if body is None else body, chunked)
