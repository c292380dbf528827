"""HTTP/1.1 to upstreams: connections that are kept, one exchange at a time on each, and answers as their bytes come.

It does what a relay needs and no more: nothing is decoded, followed, stored or added. What an upstream may do wrong is
met here:

- A kept connection that it has closed, or over which it has said something unasked, is not used again. Where it closes
  just as a request is on its way and nothing has come back, the request goes once more over a new one, if it is of a
  kind that may be sent twice (RFC 9110, 9.2.2); a POST is not.
- What it says after the end of an answer, or what is no HTTP, ends the connection: no byte of one answer can get into
  another one.
- A silent one is given up, a fast one is made to wait while the caller reads slowly.
"""

import asyncio
import select
import ssl
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Protocol, cast

import httptools

from .answers import AnswerBroken, UpstreamAnswer, told_once
from .dialing import Dialer, UpstreamSite
from .outgoing import AT_ONCE, Outgoing

_IDLE_SECONDS = 15.0
"""How long an unused connection is kept."""
_REPEATED = "Content-Length"
"""What the parser names where a head tells its length more than once."""
_HEAD_BYTES = 2**20
"""Of an answer that are none of its body, one after the other, at most: its head, its trailers."""


class Waits(Protocol):
    """Seconds that an exchange may take."""

    @property
    def connect(self) -> float:
        """Until an upstream has taken a connection."""
        ...

    @property
    def first_byte(self) -> float:
        """Until the head of an answer has come."""
        ...

    @property
    def silence(self) -> float:
        """Between two parts of an answer."""
        ...

    @property
    def total(self) -> float:
        """For the whole exchange."""
        ...


class NotConnected(Exception):
    """No connection came about: nothing was sent."""


class _Connection(asyncio.Protocol):
    """One connection: moves bytes, keeps the time, and knows whether it can be used again."""

    def __init__(self, idle: "list[_Connection]", limits: Waits) -> None:
        self._idle, self._limits, self._loop = idle, limits, asyncio.get_running_loop()
        self._answer: UpstreamAnswer | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._upload: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = self._end = 0.0
        self._head_bytes = 0
        self._heard = b""
        """Of an answer whose head has not come."""
        self._held = False
        self._unread: select.poll | None = None
        self.lost = False

    # Used by the pool

    def send(self, request: Outgoing) -> UpstreamAnswer:
        """Begin an exchange."""
        answer = self._answer = UpstreamAnswer(self, bodiless=request.method == b"HEAD")
        self._parser, self._heard = self._reading(answer), b""
        self._head_bytes = 0
        if self.lost:  # it was closed as soon as it was made
            self._over(AnswerBroken("the connection was closed"))
            return answer
        now = self._loop.time()
        self._end = now + self._limits.total
        self._expect(now + self._limits.first_byte)
        body = request.body
        if isinstance(body, bytes) and len(body) <= AT_ONCE:
            self._transport.write(request.head + body)
        else:
            self._transport.write(request.head)
            self._upload = self._loop.create_task(self._send_body(request))
        return answer

    def can_serve(self) -> bool:
        """Whether it may still be used: nothing has come since, not even what the loop has not read yet."""
        if self.lost or self._transport.is_closing():
            return False
        return self._unread is None or not self._unread.poll(0)

    def abort(self) -> None:
        """End it at once."""
        self.lost = True
        self._over(AnswerBroken("it was closed"))
        self._transport.abort()

    # Used by the answer

    def standing(self) -> tuple[int, bool]:
        """Status of the answer whose head has come, and whether the connection goes on after it."""
        parser = self._parser
        return (parser.get_status_code(), parser.should_keep_alive()) if parser else (0, False)

    def begins(self) -> None:
        """The head of the answer has come."""
        self._expect(self._loop.time() + self._limits.silence)

    def hold(self) -> None:
        """Read no more for now: the caller is slow, which is not the upstream's fault."""
        if not self._held:
            self._held = True
            self._transport.pause_reading()
            self._expect(self._end)

    def go_on(self) -> None:
        """Read on."""
        if self._held:
            self._held = False
            self._transport.resume_reading()
            self.begins()

    # Called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is none by name
        if hasattr(select, "poll"):  # not on Windows
            self._unread = select.poll()
            self._unread.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        answer, parser = self._answer, self._parser
        if answer is None or parser is None:  # unasked
            self.abort()
            return
        answer.heard, answer.moves = True, False
        if not answer.status:
            self._heard += data
        if answer.status and not self._held:
            self._deadline = self._loop.time() + self._limits.silence
        try:
            self._feed(answer, parser, data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:  # an upgrade: nobody asked for one
            if not answer.complete:
                said = error.__context__
                strange = AnswerBroken(f"what it says is no HTTP ({error or type(error).__name__})")
                self._break(said if isinstance(said, AnswerBroken) else strange)
                return
            answer.spoilt = True
        self._head_bytes = 0 if answer.moves else self._head_bytes + len(data)
        if answer.complete:
            self._release(answer)
        elif self._head_bytes > _HEAD_BYTES:
            self._break(AnswerBroken("its headers are too long"))

    def _feed(self, answer: UpstreamAnswer, parser: httptools.HttpResponseParser, data: bytes) -> None:
        """Read what has come; a length that its head tells several times alike is taken as one (RFC 9112, 6.3)."""
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            if answer.status or _REPEATED not in str(error):
                raise
            if b"\r\n\r\n" not in self._heard:
                return  # once the head is whole it is seen whether they are alike: the parser fails again
            mended = told_once(self._heard)
            if mended is None:
                raise
            answer.lines.clear()
            self._parser = self._reading(answer)
            self._parser.feed_data(mended)

    def _reading(self, answer: UpstreamAnswer) -> httptools.HttpResponseParser:
        parser = httptools.HttpResponseParser(answer)
        parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        return parser

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        answer = self._answer
        if answer and answer.ends_with_connection and exc is None:
            answer.finish()
        fault = AnswerBroken("the connection was closed")
        fault.__cause__ = exc
        self._over(fault)
        if self in self._idle:
            self._idle.remove(self)

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # Within

    def _release(self, answer: UpstreamAnswer) -> None:
        """The exchange is over."""
        unsent = self._upload is not None or self._transport.get_write_buffer_size() > 0
        again = answer.keeps and not answer.spoilt and not unsent and not self._transport.is_closing()
        if self._held:
            self._held = False
            self._transport.resume_reading()
        self._over(AnswerBroken("it is over"))
        if again:
            self._expect(self._loop.time() + _IDLE_SECONDS)
            self._idle.append(self)
        elif unsent:  # what is still to be written might never be taken
            self._transport.abort()
        else:
            self._transport.close()

    def _over(self, fault: BaseException) -> None:
        """Let go of the exchange, and of what waits for it."""
        answer, self._answer, self._parser = self._answer, None, None
        if answer:
            if answer.complete:
                answer.let_go()
            else:
                answer.fail(fault)
        if self._upload:
            self._upload.cancel()
            self._upload = None
        if self.lost and self._timer:
            self._timer.cancel()
            self._timer = None

    def _break(self, fault: BaseException) -> None:
        self._over(fault)
        self.abort()

    async def _send_body(self, request: Outgoing) -> None:
        try:
            self._wait_for_the_caller()
            async for piece in request.pieces():
                if self._transport.is_closing():  # nobody takes the rest
                    break
                self._transport.write(piece)
                self._expect_more()
                if self._writable:
                    await self._writable
                self._wait_for_the_caller()
            self._expect_more()
        except Exception as error:  # the caller's body broke off
            fault = AnswerBroken("the request was not whole")
            fault.__cause__ = error
            self._upload = None
            self._break(fault)
        self._upload = None

    def _wait_for_the_caller(self) -> None:
        """The next part of the request is to come from whoever makes it: the upstream owes nothing meanwhile."""
        if self._answer and not self._answer.status:
            self._expect(self._end)

    def _expect_more(self) -> None:
        """A part of the request has gone: who reads it has time for what comes next."""
        if self._answer and not self._held:
            waits = self._limits.silence if self._answer.status else self._limits.first_byte
            self._expect(self._loop.time() + waits)

    def _expect(self, when: float) -> None:
        """Something has to happen until then. One timer serves many deadlines, since most of them are moved on."""
        self._deadline = min(when, self._end) if self._answer else when
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._late)

    def _late(self) -> None:
        self._timer = None
        due = min(self._deadline, self._end) if self._answer else self._deadline
        if self._loop.time() < due - 0.001:
            self._timer = self._loop.call_at(due, self._late)
        else:
            self._break(TimeoutError())


class UpstreamConnections:
    """The connections to all upstreams. Nothing limits their number but the calls in flight."""

    def __init__(
        self,
        limits: Waits,
        sites: Sequence[UpstreamSite],
        *,
        tls: ssl.SSLContext | None = None,
        opened_at_once: int | None = None,
    ) -> None:
        """`tls`: whose certificates are believed, by default those that this machine trusts; so many connections are
        `opened_at_once` at most."""
        self._limits, self._dialer = limits, Dialer(tls)
        self._opening = asyncio.Semaphore(opened_at_once) if opened_at_once else nullcontext()
        self._idle: dict[UpstreamSite, list[_Connection]] = {site: [] for site in sites}
        if any(site.secure for site in sites):
            self._dialer.make_ready()

    async def ask(self, site: UpstreamSite, request: Outgoing) -> UpstreamAnswer:
        """The answer to a request, once its head is here. NotConnected where nothing was sent, AnswerBroken where the
        upstream broke off, TimeoutError where it was silent for too long."""
        connection = self._kept(site)
        if connection:
            answer = connection.send(request)
            try:
                return await _begun(answer)
            except AnswerBroken:
                if answer.heard or not request.may_go_twice:
                    raise
        return await _begun((await self._new(site)).send(request))

    def close(self) -> None:
        """End all of them."""
        for idle in self._idle.values():
            for connection in list(idle):
                connection.abort()

    def _kept(self, site: UpstreamSite) -> _Connection | None:
        idle = self._idle[site]
        while idle:
            connection = idle.pop()  # the one used last: the others may grow old
            if connection.can_serve():
                return connection
            connection.abort()
        return None

    async def _new(self, site: UpstreamSite) -> _Connection:
        idle = self._idle[site]
        try:
            async with self._opening, asyncio.timeout(self._limits.connect):
                return await self._dialer.dial(site, lambda: _Connection(idle, self._limits))
        except (OSError, UnicodeError) as error:
            raise NotConnected from error


async def _begun(answer: UpstreamAnswer) -> UpstreamAnswer:
    try:
        await answer.begun()
    except BaseException:
        answer.close()
        raise
    return answer
