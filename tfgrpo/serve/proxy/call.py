"""One call on its way through the proxy: who makes it, what it becomes, who answers, how that is passed on."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from os import urandom
from time import perf_counter, time
from typing import TYPE_CHECKING

from ...http1.answers import AnswerBroken, UpstreamAnswer
from ...http1.outgoing import SentBody
from ...store.keys import NOTHING_SPENT
from ...surfaces.http import NO_PRIOR, PRIOR_HEADER, Beside, Reason, Rewrite, route_notice
from ...surfaces.sureness import HEARD
from ...surfaces.surface import LeftOut, Way
from ..call_info import INFERENCE_HEADER, VARIANT_HEADER
from ..drawing import Drawn, Offer, key_of
from ..scope import answers_in
from ..unpacking import unpacked
from ..writing import KEPT_BODY, RecordedCall
from .asgi import ANSWER_WHOLE, HEED, Caller, Left, Receive, Scope, Send, TooLong
from .asked import Destination, RequestBody, addressed, read_body, with_prior_in, without_prior
from .decide import read_whole, redecided_stream, with_offsets
from .delivery import Delivery
from .door import Door, Refusal
from .head import TOO_LONG_BODY, Admitted, Head, admitted, identified
from .headers import CREDENTIAL_NAMES, OVERHEAD_HEADER, answer_headers, request_headers, with_key
from .metrics import Metrics, Served
from .onward import Onward, OwnAnswer, Unreached
from .paths import route_name
from .record import HeardAnswer, Traffic, readable_encodings
from .relay import RelayTarget
from .remembered import Known
from .shadow import ShadowedCall, Shadows, may_be_followed
from .shelf import Shelf
from .spans import CallSpan, Tracer
from .spending import Meter

if TYPE_CHECKING:
    from .bounding import Chunks, Cut  # few proxies cut answers

_NO_OFFER, _ANYBODY, _AS_WRITTEN = Offer(None), Admitted(), Rewrite()
_MARK = PRIOR_HEADER.encode()
_INFERENCE, _OVERHEAD = INFERENCE_HEADER.encode(), OVERHEAD_HEADER.encode()
_BOUNDED = b"x-tfgrpo-bounded"
"""Of an answer, where answers are written in chunks: how many it has, or `none` and why."""
_OK, _TEMPLATE_FAILED = 200, 500
_PEEKED = 65_536
"""Bytes of a failed answer that are read before it is decided whether the call goes once more."""

_BROKEN = Refusal(502, "upstream_broken", "the upstream broke off its answer", "upstream_error")
_OURS = Refusal(500, "proxy_failed", "the proxy itself failed at this call; its log says how", "server_error")

_logger = logging.getLogger("tfgrpo")
_requests = logging.getLogger("tfgrpo.requests")


@dataclass(frozen=True, slots=True)
class Works:
    """What all calls through one proxy share."""

    shelf: Shelf
    door: Door
    metrics: Metrics
    onward: Onward
    tracer: Tracer | None = None
    traffic: Traffic | None = None
    shadows: Shadows | None = None
    cut: "Cut | None" = None
    """What has long answers written in chunks, if they are."""


class RelayedCall:
    """One call. What it becomes is decided step by step, and told in the headers of its answer, in figures and logs."""

    def __init__(self, works: Works, scope: Scope, receive: Receive, send: Send) -> None:
        self._works, self._limits = works, works.onward.limits
        self._head = Head.of(scope)
        self._caller = Caller(receive, self._limits.request, scope.get(HEED))
        self._at_once = ANSWER_WHOLE in scope
        self._back = Delivery(send, self._caller, self._limits.response, scope.get(ANSWER_WHOLE))
        self._admitted = _ANYBODY
        self._namespace = works.shelf.namespace
        self._body: RequestBody | None = None
        self._rewrite = _AS_WRITTEN
        self._variant = NO_PRIOR
        self._inference = f"inf_{urandom(16).hex()}"
        self._drawn: Drawn | None = None
        self._chunks: Chunks | None = None
        self._uncut = "surface"
        traffic = works.traffic
        self._keeps = bool(traffic and self._head.surface and traffic.keeps_texts(self._inference))
        if self._keeps:
            self._back.heard = HeardAnswer()
        self._passed = False
        self._target: RelayTarget | None = None
        self._began, self._waited, self._added = perf_counter(), 0.0, 0.0
        self._span: CallSpan | None = None

    async def run(self) -> None:
        """Serve it to its end, whatever that is; returns at once when the caller leaves."""
        try:
            reason = await self._read(self._admit())
            self._caller.watch(streaming=self._body is None and self._head.has_body)
            await self._relay(reason)
        except OwnAnswer as answered:
            await self._refuse(TOO_LONG_BODY if self._caller.too_long else answered.refusal)
        except TooLong:
            await self._refuse(TOO_LONG_BODY)
        except Left:
            pass
        except Exception:  # ours, whatever it is: the caller gets an answer, and whoever runs this a trace
            _logger.exception("a call failed within the proxy")
            if not self._back.status:
                await self._refuse(_OURS)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._caller.left or task is None:
                raise
            task.uncancel()
        finally:
            self._caller.unwatch()
            if self._at_once:  # a server sends what was written when the loop comes round: that goes first
                asyncio.get_running_loop().call_soon(self._account)
            else:
                self._account()

    # Who calls, and what is asked

    def _admit(self) -> Reason | None:
        """Let the call in, or raise OwnAnswer; why it gets no prior, as far as its head tells."""
        shelf = self._works.shelf
        key = identified(self._head, self._works.door, shelf.held)
        if isinstance(key, Refusal):
            raise OwnAnswer(key)
        found = admitted(self._head, key, shelf.spent(key) if key else NOTHING_SPENT)
        if isinstance(found, Refusal):
            raise OwnAnswer(found)
        if fault := self._head.fault(self._limits.request):
            raise OwnAnswer(fault)
        if key:
            shelf.spend(key, calls=1)
        self._admitted, self._namespace = found, found.namespace or shelf.namespace
        return found.reason

    async def _read(self, reason: Reason | None) -> Reason | None:
        """The body, where a prior may enter it or its model may name a namespace; why it gets no prior, if it does."""
        shelf, most = self._works.shelf, self._limits.rewrite
        if reason:
            shelf.say(route_notice(self._head.method, self._head.path, reason))
        if self._head.surface is None or reason == "signed":
            return reason
        content = await self._caller.whole(most)
        self._began = perf_counter()
        if content is None:
            shelf.say(f"a request of over {most} bytes goes on without a prior")
            return reason or "too long"
        body = read_body(content, self._head.encoding, most)
        if body is None:
            shelf.say(f"bodies of requests in Content-Encoding {self._head.encoding[:20]!r} go on without a prior")
            self._body = RequestBody(content, content)
            return reason or "not-json"
        self._body, named = addressed(body, shelf.held.namespaces)
        if named and not self._admitted.may_have(named):
            raise OwnAnswer(Refusal(403, "namespace_not_allowed", f"this key is not for namespace {named!r}"))
        self._namespace = named or self._namespace
        return reason or shelf.lacking(self._namespace)

    # To an upstream and back

    async def _relay(self, reason: Reason | None) -> None:
        target, response = await self._answer(reason)
        self._target = target
        try:
            peeked = await _beginning(response) if self._may_fail_for_the_prior(response) else b""
            said = peeked and (unpacked(peeked, response.header(b"content-encoding"), _PEEKED) or peeked)
            if self._works.onward.refusals(target).goes_again(self._rewrite, response.status, said):
                response.close()
                response, peeked = await self._again(target), b""
            await self._deliver(target, response, peeked)
        finally:
            response.close()

    async def _answer(self, reason: Reason | None) -> tuple[RelayTarget, UpstreamAnswer]:
        """The upstream that answers, and the head of its answer: the first that can be reached."""
        failed: Unreached | None = None
        for target in self._works.onward.rotation.order():
            if reason:
                self._rewrite = without_prior(reason, self._head.given)
            else:
                self._rewrite = self._rewritten(target, await self._vector(target))
            if self._rewrite.notice:
                self._works.shelf.say(self._rewrite.notice)
            if self._works.tracer and self._head.surface and self._span is None:
                self._span = self._works.tracer.begin(self._surface, target.host, self._rewrite.model, self._head.given)
            self._cut(target)
            try:
                return target, await self._ask(target, reason)
            except Unreached as error:
                failed = error
        assert failed is not None  # a rotation has upstreams
        raise failed

    async def _vector(self, target: RelayTarget) -> str:
        """The vector of what is asked, where the prior that the call gets chooses demonstrations by vectors."""
        body = self._body
        if body is None:
            return ""
        got = self._drawn = self._drawn or self._draw(body)
        model = got.snapshot.prior.embedding if got.snapshot else ""
        if not model:
            return ""
        from .vectors import vector_for_call  # few priors need it

        own, most = self._admitted.key is not None, self._limits.parse
        found = await vector_for_call(self._works.onward, target, self._head, body, model, own_key=own, most=most)
        self._works.shelf.say(found.notice)
        return found.vector

    def _rewritten(self, target: RelayTarget, vector: str) -> Rewrite:
        """What the body becomes for one upstream."""
        shelf = self._works.shelf
        if self._body is None:
            return Rewrite(reason="no live prior")
        got = self._drawn = self._drawn or self._draw(self._body)
        if got.snapshot is None:
            self._variant = got.variant or NO_PRIOR
            return Rewrite(reason="holdback" if got.variant else "no live prior")
        refusals = self._works.onward.refusals(target)
        backends = refusals.heeded(shelf.backends(target.base))
        beside = Beside(answers_in(self._head.given), vector)
        at = Destination(self._head.path, target.host, backends, refusals.suspends, beside)
        found = with_prior_in(self._body, got.snapshot, at, self._limits.parse)
        self._variant = NO_PRIOR if found.content is None else got.snapshot.state
        if found.heeds and self._back.heard is None:
            self._back.heard = HeardAnswer()
        return found._replace(prior=got.prior) if got.prior and found.content is not None else found

    def _cut(self, target: RelayTarget) -> None:
        """Have the answer written in chunks, where that is wanted and can be done."""
        cut, surface, body = self._works.cut, self._head.surface, self._body
        self._chunks = None
        if cut is None or surface is None or surface.name != "chat":
            return
        if body is None or self._rewrite.deciding:
            self._uncut = self._rewrite.reason or "token prior"
            return
        content, backends = self._rewrite.content or body.plain, self._works.shelf.backends(target.base)
        self._chunks, self._uncut = cut(content, backends, self._limits.parse)
        if self._uncut == "upstream":
            self._works.shelf.say(
                f"{target.host} is not known to go on with an answer: its answers are not written in chunks;"
                f" `tfgrpo probe` looks, model by model"
            )

    def _draw(self, body: RequestBody) -> Drawn:
        """What the call gets, as chance has it."""
        shelf, name = self._works.shelf, self._namespace
        offer = shelf.held.offers.get(name, _NO_OFFER)
        deciding = offer.canary or shelf.shares.holdback or offer.sets
        key = key_of(self._head.given, body.plain) if deciding else None
        return offer.drawn(shelf.shares, name, key, self._inference)

    def _may_fail_for_the_prior(self, response: UpstreamAnswer) -> bool:
        return self._rewrite.content is not None and response.status == _TEMPLATE_FAILED

    async def _again(self, target: RelayTarget) -> UpstreamAnswer:
        """The answer to what the caller wrote, after the upstream refused it with the prior."""
        refused, self._rewrite, self._variant = self._rewrite, _AS_WRITTEN, NO_PRIOR
        self._cut(target)
        response = await self._ask(target, None)
        self._rewrite = self._works.onward.refusals(target).without(refused, response.status)
        self._works.shelf.say(self._rewrite.notice)
        return response

    async def _ask(self, target: RelayTarget, reason: Reason | None) -> UpstreamAnswer:
        began = perf_counter()
        try:
            head = self._head
            if self._chunks:
                head = head._replace(raw_path=self._chunks.path(head.raw_path))
            return await self._works.onward.ask(target, head, self._headers(target, reason), self._sent)
        finally:
            self._waited += perf_counter() - began

    @property
    def _sent(self) -> SentBody | None:
        """The body as it goes on."""
        body, content = self._body, self._altered
        if body is None:
            return self._caller.body() if self._head.has_body else None
        return content or (body.plain if body.altered else body.written)

    @property
    def _altered(self) -> bytes | None:
        """The body as it goes on, where we have written it."""
        return self._chunks.sent if self._chunks else self._rewrite.content

    def _headers(self, target: RelayTarget, reason: Reason | None) -> list[tuple[bytes, bytes]]:
        """The caller's headers as they go on."""
        key, given = self._admitted.key, self._head.given
        headers = request_headers(self._head.lines)
        if self._back.heard is not None and "accept-encoding" in given:
            accepted = readable_encodings(given["accept-encoding"]).encode()
            headers = [(name, accepted if name == b"accept-encoding" else value) for name, value in headers]
        read = self._rewrite.deciding or self._chunks
        if key or read or (self._body and self._body.encoding_is_gone(self._altered)):
            headers = [line for line in headers if line[0] not in self._not_for_upstreams()]
        if self._body is None and "content-length" in given and "transfer-encoding" not in given:
            headers.append((b"content-length", given["content-length"].encode()))
        if target.key:
            headers = with_key(headers, target.key, given, anthropic=self._surface == "messages")
        if self._rewrite.content is not None:
            headers.append((_MARK, self._rewrite.prior.encode()))
        elif reason == "disabled" and PRIOR_HEADER not in given:
            headers.append((_MARK, NO_PRIOR.encode()))
        return headers

    def _not_for_upstreams(self) -> set[bytes]:
        dropped: set[bytes] = set()
        if self._body and self._body.encoding_is_gone(self._altered):
            dropped.add(b"content-encoding")
        if self._rewrite.deciding or self._chunks:
            dropped.add(b"accept-encoding")  # the answer is read
        if key := self._admitted.key:
            dropped.update(CREDENTIAL_NAMES)
            if key.max_tokens is not None:
                dropped.add(b"accept-encoding")  # what an answer cost is read from it
        return dropped

    @property
    def _surface(self) -> str:
        return self._head.surface.name if self._head.surface else "none"

    # To the caller

    async def _deliver(self, target: RelayTarget, response: UpstreamAnswer, peeked: bytes) -> None:
        """Send the answer back; one that breaks off upstream is an error, or breaks off here where it has begun."""
        stream = self._rewrite.redeciding is not None and _is_stream(response)
        self._back.meter = self._metered()
        try:
            if self._chunks and response.status == 200:
                await self._in_chunks(self._chunks, target, response)
            elif self._rewrite.deciding and not stream:
                await self._decide(response)
            else:
                headers = answer_headers(response.lines, self._marks(), ours=self._rewrite.content is not None)
                again = redecided_stream(self._rewrite) if stream else None
                await self._back.as_it_comes(response, headers, peeked, again)
        except (AnswerBroken, TimeoutError) as error:
            self._works.metrics.fault("broken")
            _logger.warning("the upstream broke off an answer (%s)", type(error).__name__)
            if not self._back.status:
                await self._refuse(_BROKEN)

    async def _decide(self, response: UpstreamAnswer) -> None:
        """The answer once it is whole, under the prior's offsets, or with its labels decided again."""
        most = self._limits.response
        came = await read_whole(response, most)
        self._back.hear(response, came)
        given = answer_headers(response.lines, self._marks(), ours=True)
        content, headers, notice = with_offsets(self._rewrite, response.status, came, given, most)
        self._works.shelf.say(notice)
        if (heard := self._back.heard) and content is not came and self._rewrite.way in ("re-decide", "resample"):
            heard.body, heard.encoding = bytearray(content[: KEPT_BODY + 1]), ""  # as it was told
        await self._back.at_once(response.status, headers, content)

    async def _in_chunks(self, chunks: "Chunks", target: RelayTarget, first: UpstreamAnswer) -> None:
        """The answer of all chunks, each asked for once the one before it is whole."""
        meter, waited, began = self._back.meter, self._waited, perf_counter()

        async def go_on() -> UpstreamAnswer:
            if meter:
                meter.see(chunks.counted)
            return await self._ask(target, self._rewrite.reason)

        response, content, ours = await chunks.written(first, go_on, self._limits)
        self._waited = waited + perf_counter() - began
        self._back.hear(response, content, chunks.counted)
        headers = answer_headers(response.lines, self._marks(), ours=self._rewrite.content is not None)
        if ours:
            headers = [line for line in headers if line[0] not in (b"content-length", b"content-encoding")]
            headers.append((b"content-length", b"%d" % len(content)))
            if self._back.heard:
                self._back.heard.encoding = ""
        await self._back.at_once(response.status, headers, content)

    def _metered(self) -> Meter | None:
        key = self._admitted.key
        if self._head.surface and ((key and key.max_tokens is not None) or self._span):
            return Meter(len(self._body.plain) if self._body else 0)
        return None

    def _marks(self) -> dict[bytes, bytes]:
        """What the caller is told in headers."""
        self._added, self._passed = max(0.0, perf_counter() - self._began - self._waited), True
        told = self._rewrite
        marks = {**_said_beside(told.reason, told.left_out, told.way, self._variant), _MARK: told.prior.encode()}
        if self._head.surface:
            marks[_INFERENCE] = self._inference.encode()
            marks[_OVERHEAD] = b"%.3f" % (self._added * 1e3)
        if self._works.cut and self._head.surface:
            marks[_BOUNDED] = (self._chunks.told if self._chunks else f"none; {self._uncut}").encode()
        return marks

    async def _refuse(self, refusal: Refusal) -> None:
        """An answer of ours."""
        self._works.metrics.refused(refusal.code)
        if refusal.kind == "upstream_error":
            _logger.warning(refusal.message)
        await self._back.refuse(refusal)

    # What is remembered of it

    def _account(self) -> None:
        works, key, status, meter = self._works, self._admitted.key, self._back.status, self._back.meter
        if not status or self._caller.left:
            works.metrics.left()
        served = Served(route_name(self._head.path), status, self._variant, self._surface, self._rewrite.reason)
        works.metrics.served(served, self._added)
        if key and meter:
            works.shelf.spend(key, tokens=meter.tokens)
        if self._span:
            self._span.end(status=status, namespace=self._namespace, prior=self._rewrite.prior, meter=meter)
        if _requests.isEnabledFor(logging.INFO):
            _requests.info("request", extra=self._logged(served))
        if works.traffic and self._passed and self._head.surface and works.shelf.knows(self._namespace):
            self._leave_behind(works.traffic)
        if self._rewrite.heeds and (heard := self._heard) and status == _OK:
            plain = unpacked(bytes(heard.body), heard.encoding, KEPT_BODY) or bytes(heard.body)
            HEARD.hear(self._rewrite.heeds, plain.decode(errors="replace"))

    @property
    def _heard(self) -> HeardAnswer | None:
        """The answer, where it was heard to its end."""
        return self._back.heard if self._back.heard and self._back.heard.whole else None

    def _leave_behind(self, traffic: Traffic) -> None:
        """What feedback has to know of the call, and what is recorded of it."""
        had, model = self._rewrite.content is not None, self._rewrite.model
        prior = self._rewrite.prior if had else None
        known = Known(self._namespace, prior, self._variant)
        traffic.latest.add(self._inference, known)
        if traffic.recording.share is None:
            return
        heard = self._heard if self._keeps else None
        body = self._body.plain if self._body and (heard or not model) else None
        left = RecordedCall(
            self._inference,
            *known,
            self._surface,
            model,
            self._back.status,
            self._waited + self._added,
            self._added,
            self._drawn.draw if self._drawn else None,
            time(),
            body,
            bytes(heard.body) if heard else None,
            heard.encoding if heard else "",
            heard is not None,
        )
        traffic.add(left)
        if self._works.shadows and heard and self._back.status == 200 and traffic.is_followed(self._inference):
            self._follow(self._works.shadows, left)

    def _follow(self, shadows: Shadows, left: RecordedCall) -> None:
        """Have further rollouts of the call made, where it is such a call."""
        target, body = self._target, self._body
        if target is None or body is None or self._chunks or self._rewrite.reason in ("marked", "disabled"):
            return
        if head := may_be_followed(self._head, target, own_key=self._admitted.key is not None):
            shadows.follow(ShadowedCall(target, head, self._rewrite.content or body.plain, self._rewrite, left))

    def _logged(self, served: Served) -> dict[str, object]:
        """What the line of a call says: no path, since paths may hold names, no header, no body."""
        key = self._admitted.key
        return {
            "method": self._head.method,
            "route": served.route,
            "status": served.status,
            "seconds": round(perf_counter() - self._began, 6),
            "added_ms": round(self._added * 1e3, 3),
            "surface": served.surface,
            "namespace": self._namespace,
            "prior": self._rewrite.prior,
            "variant": served.variant,
            "reason": served.reason,
            "key": key.id if key else None,
        }


@lru_cache(256)
def _said_beside(
    reason: Reason | None, left_out: LeftOut | None, way: Way | None, variant: str
) -> Mapping[bytes, bytes]:
    """What is told beside the id of a prior; that may be any text of a caller's, and of any length, so is not kept."""
    marks = {**Rewrite(reason=reason, left_out=left_out, way=way).marks, VARIANT_HEADER: variant}
    return {name.encode(): value.encode() for name, value in marks.items()}


def _is_stream(response: UpstreamAnswer) -> bool:
    return response.header(b"content-type").partition(";")[0].strip().lower() == "text/event-stream"


async def _beginning(response: UpstreamAnswer) -> bytes:
    """The beginning of an answer, which `read` gives no more; where it breaks off, what is read next tells so."""
    parts, size = [], 0
    with suppress(AnswerBroken, TimeoutError):
        while size < _PEEKED and (chunk := await response.read()):
            parts.append(chunk)
            size += len(chunk)
    return b"".join(parts)
