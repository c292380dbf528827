"""What an upstream answers, as its bytes come: the head, then the body part by part, until it ends or breaks off.

An answer ends by its length, by its last chunk, or, where it has neither, with the connection (RFC 9112, 6.3).
Answers that announce others (1xx) and trailers are dropped, nothing is decoded.
"""

import asyncio
import re
from typing import Protocol

_MOST_HEADERS, _HEADER_BYTES = 10_000, 65_536
_FIRST_STATUS, _LAST_STATUS = 100, 599
_MUCH = 2**18
"""Bytes of an answer that wait to be read: then the upstream has to wait."""


_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*(?=\r\n|\Z)", re.IGNORECASE)


def told_once(said: bytes) -> bytes | None:
    """What was said, with its length once where its head tells it several times alike; None where it does not."""
    head, end, body = said.partition(b"\r\n\r\n")
    lengths = _LENGTH.findall(head)
    if not end or len(lengths) < 2 or len({*lengths}) > 1:
        return None
    return b"%b\r\ncontent-length: %b%b%b" % (_LENGTH.sub(b"", head), lengths[0], end, body)


class AnswerBroken(Exception):
    """An upstream broke off, or what it says is no HTTP."""


class Carrier(Protocol):
    """The connection that an answer comes over, as far as the answer has to do with it."""

    def standing(self) -> tuple[int, bool]:
        """Status of the answer whose head has come, and whether the connection goes on after it."""
        ...

    def begins(self) -> None:
        """The head of the answer has come."""
        ...

    def hold(self) -> None:
        """Read no more for now: the caller is slow, which is not the upstream's fault."""
        ...

    def go_on(self) -> None:
        """Read on."""
        ...

    def abort(self) -> None:
        """End it at once."""
        ...


class UpstreamAnswer:
    """What an upstream answers to one request: its head, then its body, part by part."""

    def __init__(self, connection: Carrier, *, bodiless: bool) -> None:
        self.status = 0
        """0: it has not begun."""
        self.lines: list[tuple[bytes, bytes]] = []
        """Its headers, names in lower case."""
        self.complete = False
        """All of it is here."""
        self.heard = False
        """Anything came at all."""
        self.moves = False
        """Of its body some has come since this was last set."""
        self.keeps = self.ends_with_connection = self.spoilt = False
        self._connection: Carrier | None = connection
        self._bodiless = bodiless
        self._chunks: list[bytes] = []
        self._size = 0
        self._fault: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    def header(self, name: bytes) -> str:
        """A header by its name in lower case; empty where it has none such."""
        return next((value.decode("latin-1") for known, value in self.lines if known == name), "")

    async def begun(self) -> None:
        """Wait for its head; AnswerBroken or TimeoutError where none comes."""
        while not self.status:
            if self._fault:
                raise self._fault
            await self._more()

    @property
    def is_read(self) -> bool:
        """Whether nothing of it is to come any more."""
        return self.complete and not self._chunks

    async def read(self) -> bytes:
        """The next part of its body, empty at the end; AnswerBroken or TimeoutError where it breaks off."""
        while not self._chunks:
            if self.complete:
                return b""
            if self._fault:
                raise self._fault
            await self._more()
        return self._taken()

    def close(self) -> None:
        """No more of it is wanted."""
        if self._connection:
            self._connection.abort()

    def _taken(self) -> bytes:
        chunks = self._chunks
        found = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks, self._size = [], 0
        if self._connection:
            self._connection.go_on()
        return found

    async def _more(self) -> None:
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def let_go(self) -> None:
        """The connection has done its part."""
        self._connection = None

    def fail(self, fault: BaseException) -> None:
        """It breaks off here; what has come before can be read."""
        self._connection = None
        if not self.complete:
            self._fault = self._fault or fault
            self._wake()

    def finish(self) -> None:
        """It is whole."""
        self.complete = True
        self._wake()

    # As the parser calls them

    def on_message_begin(self) -> None:
        self.spoilt = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status:  # a trailer
            return
        if len(self.lines) >= _MOST_HEADERS or len(name) + len(value) > _HEADER_BYTES:
            raise AnswerBroken("its headers are too long")
        self.lines.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        connection = self._connection
        if self.complete or connection is None:
            return
        status, self.keeps = connection.standing()
        if not _FIRST_STATUS <= status <= _LAST_STATUS:
            raise AnswerBroken("its status is none of HTTP")
        if status < 200:
            self.lines.clear()
            return
        self.status = status
        if self._bodiless:
            self.finish()
        elif status not in (204, 304):
            framed = [value for name, value in self.lines if name in (b"content-length", b"transfer-encoding")]
            last = framed[-1].strip().lower() if framed else b""
            self.ends_with_connection = not (last.isdigit() or last.endswith(b"chunked"))
        connection.begins()
        self._wake()

    def on_body(self, body: bytes) -> None:
        if self.complete:
            self.spoilt = True
            return
        self.moves = True
        self._chunks.append(body)
        self._size += len(body)
        if self._size > _MUCH and self._connection:
            self._connection.hold()
        self._wake()

    def on_message_complete(self) -> None:
        if self.status and not self.complete:
            self.finish()
