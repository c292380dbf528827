"""HTTP as uvicorn speaks it, and what it lacks: callers of HTTP/1.0, who know no chunks, and those who offer HTTP/2;
those who fall silent in the middle of a request, take no answer, or send headers without end.
"""

import asyncio
import re
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from .asgi import ANSWER_WHOLE, HEED, Send, error_body
from .untaken import ResetOnceTaken, reset, untaken_of

_OFFER = (b"connection", b"upgrade", b"http2-settings")
"""Headers of a request that offer to go on in another protocol; all of them are of one connection."""

_FRAMING = (b"content-length", b"transfer-encoding", b"connection")
_HEAD_BYTES = 2**18
"""Of a request that are none of its body, one after the other, at most: its head, its trailers."""
_LINGERS = 2.0
"""Seconds in which what a refused caller goes on to send is read."""
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
"""What no header may hold."""


class Protocol(HttpToolsProtocol):
    """As uvicorn's; an answer of unknown length to HTTP/1.0 ends with the connection.

    Where a caller offers another protocol beside HTTP/1.1, as Java's HTTP client and `curl --http2` do (h2c), httptools
    would take the body for that protocol's. The offer is declined: its head is read once more, without it.
    """

    silence = 600.0
    """Seconds that a caller may say nothing in the middle of a request, or take nothing of an answer."""

    def __init__(self, *args: Any, **named: Any) -> None:
        """As uvicorn makes it."""
        super().__init__(*args, **named)
        self._leaving: Callable[[], None] | None = None
        self._lost = False
        self._asking = self._moves = True
        """A request is not whole, or has not even begun; what came last was of a body, or ended a head or a body."""
        self._is_refused = False
        """What else comes of it is read, and nothing done."""
        self._head_bytes = self._untaken = 0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_idle, self._idle_from = False, 0.0
        """Whether nothing has come since the last answer, and when that was written."""
        self._read_anew()

    def connection_made(self, transport: Any) -> None:
        """Somebody is there, and owes a request."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._is_refused:
            return
        self._moves = self._is_idle = False
        super().data_received(data)
        if self._asking or not (self._moves or self._is_blank_meanwhile(data)):
            self._asking = True
            self._expect()
        self._head_bytes = 0 if self._moves else self._head_bytes + len(data)
        if self._head_bytes > _HEAD_BYTES:
            self._refuse(431, "headers_too_large", "the head of this request is longer than this proxy reads")

    def _is_blank_meanwhile(self, data: bytes) -> bool:
        """Whether it is the empty line that old clients send after a body (RFC 9112, 2.2), whose answer is awaited."""
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete and not data.strip(b"\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of the body of one has come."""
        self._moves = True
        super().on_body(body)

    def pause_writing(self) -> None:
        """The caller is slow."""
        super().pause_writing()
        self._untaken = untaken_of(self.transport)
        self._expect()

    def send_400_response(self, msg: str) -> None:
        """What has come is no HTTP."""
        self._refuse(400, "bad_http", msg)

    def _refuse(self, status: int, code: str, message: str) -> None:
        """An answer of ours to what is no request, and the end; an answer that is on its way ends in the middle."""
        cycle: Any = self.cycle
        if self.transport.is_closing() or self._is_refused:
            return
        if not self.pipeline and (cycle is None or cycle.response_complete or not cycle.response_started):
            body = orjson.dumps(error_body("invalid_request_error", code, message))
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
            self._is_refused = True
            with suppress(OSError):  # who sent it has left
                self.transport.write_eof()  # closed with bytes unread, it is reset, and what was said could be lost
            self.loop.call_later(_LINGERS, self.transport.close)
            self._give_up()
        else:
            cycle.transport.close()

    def _give_up(self) -> None:
        """Tell who works at a request that was refused that its caller has left: nothing goes behind a refusal."""
        cycle: Any = self.cycle
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self.flow.resume_reading()
        self._tell_of_leaving()

    def _tell_of_leaving(self) -> None:
        leaving, self._leaving = self._leaving, None
        if leaving:
            leaving()

    def _expect(self) -> None:
        """Something has to come, or to be taken. One timer serves many deadlines, since most of them are moved on."""
        self._deadline = self.loop.time() + self.silence
        if self._timer is None:
            self._timer = self.loop.call_at(self._deadline, self._late)

    def _late(self) -> None:
        self._timer = None
        untaken, self._untaken = self._untaken, untaken_of(self.transport)
        is_to_take = self.flow.write_paused or self._ended_untaken()
        if not (self._asking or is_to_take):
            return
        if self._untaken < untaken if is_to_take else self.flow.read_paused:  # or it is us who do not read
            self._expect()
        elif self.loop.time() < self._deadline - 0.001:
            self._timer = self.loop.call_at(self._deadline, self._late)
        else:
            reset(self.transport)

    def on_response_complete(self) -> None:
        """An answer has been written: its end may still have to be taken, which a connection that closes waits for.

        As uvicorn's, but for its timer, which is not made anew for each answer.
        """
        if self.pipeline:
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            if not self.transport.is_closing():
                self.flow.resume_reading()
                self._is_idle, self._idle_from = True, self.loop.time()
                if self.timeout_keep_alive_task is None:
                    self._close_idle_in(self.timeout_keep_alive)
        if self._ended_untaken():
            self._untaken = untaken_of(self.transport)
            self._expect()

    def timeout_keep_alive_handler(self) -> None:
        """Close it, if it has been idle for long."""
        self.timeout_keep_alive_task = None
        left = self._idle_from + self.timeout_keep_alive - self.loop.time()
        if self._is_idle and left > 0.001:
            self._close_idle_in(left)
        elif self._is_idle:
            super().timeout_keep_alive_handler()

    def _close_idle_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        """What has come is told by `_is_idle`, and the timer goes on."""

    def _ended_untaken(self) -> bool:
        """Whether no answer is being written, and not all of the last one has left."""
        cycle: Any = self.cycle
        return self.transport.get_write_buffer_size() > 0 and (cycle is None or cycle.response_complete)

    def heed(self, leaving: Callable[[], None] | None) -> None:
        """Have that called when the caller leaves; None: nobody wants to know any more."""
        self._leaving = leaving
        if self._lost or self._is_refused:
            self._tell_of_leaving()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has left, or was made to."""
        self._lost = True
        for timer in filter(None, (self._timer, self.timeout_keep_alive_task)):
            timer.cancel()
        self._timer = self.timeout_keep_alive_task = None
        super().connection_lost(exc)
        self.cycle, self.scope = None, {}  # pyrefly: ignore[bad-assignment]  # both know this: it goes at once
        self._tell_of_leaving()

    def on_headers_complete(self) -> None:
        """A request has begun: its task starts when this returns."""
        self._moves = self._asking = True
        if self._is_offered():
            return
        scope: Any = self.scope
        scope[HEED] = self.heed
        super().on_headers_complete()
        self.headers = list(self.headers)  # trailers, which are read into it, are no headers of the request
        cycle: Any = self.cycle
        if cycle is None or cycle.scope is not scope:
            return
        cycle.keep_alive = cycle.keep_alive and self.parser.should_keep_alive()  # older ones ask the version alone
        if scope.get("http_version") == "1.0":
            cycle.send = _Unchunked(cycle)  # its task has not taken it yet
        else:
            scope[ANSWER_WHOLE] = self.answer_whole

    def answer_whole(self, send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send an answer that is all there by one write; what is not plain about it is left to uvicorn's own way."""
        cycle: Any = self.cycle
        if cycle is None or cycle.send != send or cycle.response_started or cycle.disconnected or not cycle.keep_alive:
            return False
        framing = [value for name, value in headers if name in _FRAMING]
        if self.flow.write_paused or cycle.scope["method"] == "HEAD" or framing != [b"%d" % len(body)]:
            return False
        fields = b"".join([b"%b: %b\r\n" % line for line in headers])
        if fields.count(b"\n") != len(headers) or _CONTROL.search(fields):
            return False
        cycle.response_started = cycle.response_complete = True
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[status], fields, body))
        cycle.message_event.set()
        cycle.on_response()
        return True

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._moves, self._asking = True, False
        if not self._is_offered():
            super().on_message_complete()

    def declined(self, rest: bytes) -> bool:
        """Read a request that made an offer as if it had not, and what came after its head; False: there was none."""
        if not self._is_offered():
            return False
        lines = [b"%b: %b\r\n" % line for line in self.headers if line[0] not in _OFFER]
        version = self.parser.get_http_version().encode()
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, b"".join(lines))
        self._read_anew()
        self.parser.feed_data(head + rest)
        return True

    def _is_offered(self) -> bool:
        """Whether the request that is read offers what is declined; web sockets and tunnels are refused elsewhere."""
        if self.parser is None or not self.parser.should_upgrade() or self.parser.get_method() == b"CONNECT":
            return False
        return b"websocket" not in (self._get_upgrade() or b"")

    def _read_anew(self) -> None:
        self.parser = _Parser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it


class _Parser(httptools.HttpRequestParser):
    """As httptools'; offers of other protocols are declined."""

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        self._protocol = protocol

    def feed_data(self, data: Any) -> None:
        """Read bytes that have come."""
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._protocol.declined(data[upgrade.args[0] :]):
                raise


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
                transport: Any = _OpenEnded(self._cycle)
                self._cycle.transport = transport
        elif self._open_ended:
            self._cycle.expected_content_length = len(message.get("body", b""))
        await self._send(message)


class _OpenEnded:
    """What an answer is written to that ends with its connection: one that breaks off ends it by a reset, or it would
    look whole."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle, self._transport = cycle, cycle.transport

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        if self._cycle.response_complete:
            self._transport.close()
        else:
            ResetOnceTaken(self._transport)
