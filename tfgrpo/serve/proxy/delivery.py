"""How the answer to one call goes back to its caller: as it comes, or at once where it is all there."""

from collections.abc import Sequence

from ...http1.answers import AnswerBroken, UpstreamAnswer
from ...surfaces.redecided_stream import RedecidedStream
from .asgi import AnswerWhole, Caller, Send, error_body, respond
from .door import Refusal
from .record import HeardAnswer
from .spending import Meter

_BODILESS = (204, 304)


class Delivery:
    """The way back to one caller. What passes is heard, where texts are kept, and metered, where it is paid for."""

    def __init__(self, send: Send, caller: Caller, most: int, answer_whole: AnswerWhole | None = None) -> None:
        """`most` is of an answer, in bytes; `answer_whole` what the server offers under ANSWER_WHOLE."""
        self._send, self._caller, self._most, self._answer_whole = send, caller, most, answer_whole
        self.status = 0
        """0: nothing has gone."""
        self.heard: HeardAnswer | None = None
        self.meter: Meter | None = None

    async def refuse(self, refusal: Refusal) -> None:
        """An answer of ours."""
        self.status = refusal.status
        body = error_body(refusal.kind, refusal.code, refusal.message)
        await respond(self._send, refusal.status, body, refusal.lines)

    async def at_once(self, status: int, headers: Sequence[tuple[bytes, bytes]], content: bytes) -> None:
        """An answer that is all there."""
        self._caller.unwatch()
        if self._answer_whole and self._answer_whole(self._send, status, headers, content):
            self.status = status
            return
        await self._begin(status, headers)
        await self._send({"type": "http.response.body", "body": content})

    async def as_it_comes(
        self,
        answer: UpstreamAnswer,
        headers: Sequence[tuple[bytes, bytes]],
        beginning: bytes,
        again: RedecidedStream | None = None,
    ) -> None:
        """The upstream's answer, of which a beginning may have been read; `again` decides labels of a stream again.

        Raises AnswerBroken, and TimeoutError, where it breaks off: then it is no more ended here, so that it never
        looks whole.
        """
        if answer.status in _BODILESS or again:  # they may give the length of another answer
            headers = [(name, value) for name, value in headers if name != b"content-length"]
        whole = answer.complete and not beginning and not again
        if not whole:
            await self._begin(answer.status, headers)
        try:
            last = await self._all_but_the_last(answer, beginning, again)
        except AnswerBroken:
            if whole:
                await self._begin(answer.status, headers)
            raise
        if self.heard:
            self.heard.whole = True
        if whole:
            await self.at_once(answer.status, headers, last)
            return
        self._caller.unwatch()
        await self._send({"type": "http.response.body", "body": last})

    def hear(self, answer: UpstreamAnswer, content: bytes, counted: bytes | None = None) -> None:
        """An answer that was read here and is whole; what it cost may be told elsewhere."""
        if self.meter:
            self.meter.see(content if counted is None else counted)
        if self.heard:
            self.heard.all_of(answer, content)

    async def _begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _all_but_the_last(self, answer: UpstreamAnswer, beginning: bytes, again: RedecidedStream | None) -> bytes:
        """Pass an answer on as it comes; what is left is its last part, which tells the caller that it is whole."""
        size, meter, send = 0, self.meter, self._send
        heard = self.heard.of(answer, beginning) if self.heard else None
        chunk = beginning or await answer.read()
        while chunk:
            size += len(chunk)
            if size > self._most:
                raise AnswerBroken("longer than is relayed")
            if meter:
                meter.see(chunk)
            told = again.feed(chunk) if again else chunk
            if heard and chunk is not beginning:
                heard.see(told)
            if answer.is_read and again is None:
                return told
            if told:
                await send({"type": "http.response.body", "body": told, "more_body": True})
            chunk = await answer.read()
        return again.end() if again else b""
