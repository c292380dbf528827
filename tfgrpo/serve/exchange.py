"""One request through a client, and what becomes of it: which prior it gets, what it is sent as, what is told. No I/O.

It works on requests and responses of httpx and httpx2 alike; `wire` drives it.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache, partial
from operator import attrgetter
from time import perf_counter
from typing import Any, TypeAlias

import orjson

from ..records import JSON, Backend, Snapshot
from ..surfaces.chat import fast_json
from ..surfaces.decided import Decided
from ..surfaces.http import (
    MARKS,
    NO_PRIOR,
    PRIOR_HEADER,
    SEALED,
    STANDARD,
    Beside,
    Codec,
    Rewrite,
    answers_decided,
    rewrite,
    route_notice,
    why_not,
)
from ..surfaces.redecided_stream import RedecidedStream
from ..surfaces.sureness import HEARD
from .access import Access
from .ahead import Draft, KnownJSON
from .asked_vectors import VECTOR_SECONDS, VECTORS, WantedVector, asked_text, embeddings_path
from .call_info import (
    INFERENCE_HEADER,
    REQUEST_IDS,
    VARIANT_HEADER,
    Info,
    latest,
    new_inference,
    rewriting_told,
    told_by,
)
from .drawing import Drawn
from .passing import StreamedId, change, look_at, look_at_all
from .scope import OURS, asked_for
from .source import PriorSource

HTTPRequest: TypeAlias = Any
"""A request of httpx or httpx2."""
HTTPResponse: TypeAlias = Any
"""A response of httpx or httpx2."""
HTTPHeaders: TypeAlias = Any
"""The headers of either."""
HeaderPairs: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Headers as they are sent."""

_LENGTH, _CHUNKED = "content-length", "transfer-encoding"
_OURS = frozenset(OURS)
_KIND, _PACKED = "content-type", "content-encoding"
_MARKS = (*MARKS, VARIANT_HEADER, INFERENCE_HEADER)
_SAID = {name.encode(): name for name in (*_MARKS, *REQUEST_IDS, _KIND, _PACKED)}
_HEEDED = {name.encode(): name for name in (PRIOR_HEADER, *OURS, *SEALED, _CHUNKED)}
_FOUND, _TEMPLATE_FAILED = 200, 500
_EXPONENT = re.compile(rb"\de\+?\d")


_FAST = Codec(orjson.loads, fast_json)
CODECS = _FAST, STANDARD
"""The fast one makes floats of integers with more than 64 bits (`_is_lossy`), refuses NaN."""
_AT_HAND = (Codec(attrgetter("body"), fast_json),)
"""Of a KnownJSON: what it loads is there."""
_SIGNED = b"+" in CODECS[0].dumps(1e20)
_NOT_FOR_VECTORS = frozenset(
    (PRIOR_HEADER, *OURS, _LENGTH, _CHUNKED, _KIND, _PACKED, "idempotency-key", "x-stainless-read-timeout")
)
"""Headers of a call that a request for a vector has not, or has of its own."""
_BEGUN = "tfgrpo"
"""Of a request's extensions: the exchange that it was built for. Transports heed no extension that they do not know."""


class Exchange:
    """A request on its way to an upstream and back.

    `source` is where its prior comes from, which has to have looked (`current`) and the request to be read before
    `begin`; None: it gets none, for a reason that is known already.
    """

    _snapshot: Snapshot | None = None
    _draw: Mapping[str, JSON] | None = None
    _decision: Decided | None = None
    _stream: RedecidedStream | None = None
    _got: Drawn | None = None
    _wanted: WantedVector | None = None
    _vector: str = ""
    """Of what is asked, where the prior chooses demonstrations by vectors and it is known."""
    drafted: KnownJSON | None = None
    """The body as its caller wrote it, of a request that was built with the prior in it."""

    def __init__(self, request: HTTPRequest, access: Access) -> None:
        self.request, self.access = request, access
        drafted = type(request) is Draft  # of which much is known
        self._named = named = {} if drafted else _among(request.headers.raw, _HEEDED)
        self._asked = asked_for(named)
        self._path = request.url.path
        why = None if drafted else why_not(request.method, self._path, named)
        reason = why or ("disabled" if self._asked.off else None)
        self._rewrite = Rewrite(reason=reason)
        if reason:
            access.source.say(route_notice(request.method, self._path, reason))
        self.source = access.of(self._asked.namespace) if reason is None else None

    def asks_vector(self) -> HTTPRequest | None:
        """A request for the vector by which the prior chooses demonstrations; None where it needs none, or knows it."""
        source, request = self.source, self.request
        if source is None or self.drafted is not None:
            return None
        self._got = self._got or source.drawn_for(self._asked.key, request.content)
        model = self._got.snapshot.prior.embedding if self._got.snapshot else ""
        path = embeddings_path(self._path, model) if model else None
        text = asked_text(request.content, self._path, CODECS) if path else ""
        if not text.strip():
            return None
        url = request.url.copy_with(path=path)
        self._wanted = WantedVector(str(url), model, text)
        known = VECTORS.known(self._wanted)
        self._vector = known or ""
        return self._asking(url, self._wanted) if known is None else None

    def takes_vector(self, response: HTTPResponse | None) -> None:
        """Heed the answer to that request, which was read; None: there was none."""
        if self._wanted and self.source:
            status, content = (response.status_code, response.content) if response is not None else (0, b"")
            self._vector, notice = VECTORS.take(self._wanted, status, content)
            self.source.say(notice, about=notice and f"embedding {self._wanted.model}")

    def _asking(self, url: Any, wanted: WantedVector) -> HTTPRequest:
        request = self.request
        along = [line for line in request.headers.raw if line[0].lower().decode("latin-1") not in _NOT_FOR_VECTORS]
        kept = {name: value for name, value in request.extensions.items() if name != _BEGUN}
        patience = dict.fromkeys(("connect", "read", "write", "pool"), VECTOR_SECONDS)
        return type(request)(
            "POST",
            url,
            headers=[*along, (_KIND.encode(), b"application/json")],
            content=wanted.content,
            extensions={**kept, "timeout": patience},
        )

    def begin(self) -> HTTPRequest:
        """The request as it is sent: with the prior if it gets one, and without what is for tfgrpo alone."""
        if self.drafted is not None:
            return self.request
        self._began = perf_counter()
        if source := self.source:
            backends = self._drawn(source)
            self._rewrite = self._rewritten(backends, CODECS)
            if _is_lossy(self.request.content, self._rewrite.content):
                self._rewrite = self._rewritten(backends, (STANDARD,))
            source.say(self._rewrite.notice)
            if self._snapshot is None:
                self._rewrite = self._rewrite._replace(reason=source.reason)
        if self._rewrite.content is not None:
            return self._copy(self._rewrite.prior, self._rewrite.content)
        return self.plain()

    def begin_ahead(self) -> Rewrite | None:
        """What a Draft is to be built as, where it gets a prior and nothing else is to be seen to; else None."""
        self._began = perf_counter()
        if not (self.source and self.source.is_followed):
            return None
        backends = self._drawn(self.source)
        if self._snapshot and self._snapshot.prior.embedding:  # what is asked for before has to wait
            return None
        self.drafted = self.request.content
        self._rewrite = found = self._rewritten(backends, _AT_HAND)
        self.source.say(found.notice)
        if found.content is None or found.deciding:
            self.drafted = None
            return None
        return found

    def goes_with(self, request: HTTPRequest) -> HTTPRequest:
        """Have a request that was built of the Draft bring the exchange along."""
        request.extensions[_BEGUN] = self
        return request

    def of(self, request: HTTPRequest) -> "Exchange":
        """The exchange of a request that was built of the Draft, or of its options; this one stays as it is."""
        if self.drafted is None:  # looked at as every other, but not drawn twice: by that a rare arm would be less rare
            read = Exchange(request, self.access)
            read._got = self._got if read.source is self.source else None
            return read
        made = Exchange.__new__(Exchange)
        made.__dict__.update(self.__dict__, request=request)
        return made

    def _drawn(self, source: PriorSource) -> Mapping[str, Backend]:
        """What is known of the upstream, once it is drawn which prior the request gets."""
        url = self.request.url
        got = self._got = self._got or source.drawn_for(self._asked.key, self.request.content)
        self._snapshot, self._draw = got.snapshot, got.draw
        backends = source.backends(url)
        self._refusals = self.access.refusals(url.netloc, backends)
        return backends

    def _rewritten(self, backends: Mapping[str, Backend], codecs: Sequence[Codec]) -> Rewrite:
        return rewrite(
            self.request.content,
            self._snapshot,
            codecs,
            self._refusals.heeded(backends),
            path=self._path,
            host=self.request.url.host,
            suspended=self._refusals.suspends,
            beside=Beside(self._asked.answers, self._vector),
        )

    def plain(self) -> HTTPRequest:
        """The request as the caller wrote it, without what is for tfgrpo alone."""
        if self.drafted is not None:
            return self._copy(None, self.drafted)
        off = self._asked.off and PRIOR_HEADER not in self._named
        if off or not _OURS.isdisjoint(self._named):
            return self._copy(NO_PRIOR if off else None)
        return self.request

    def has_to_be_read(self, response: HTTPResponse) -> bool:
        """Whether only the body of a response tells if it `goes_again`, or offsets are to be applied to its answers."""
        failed = self._rewrite.content is not None and response.status_code == _TEMPLATE_FAILED
        return failed or (self._rewrite.deciding is not None and not self._is_stream(response))

    def _is_stream(self, response: HTTPResponse) -> bool:
        """Whether a response is a stream whose labels are decided as they come."""
        return self._rewrite.redeciding is not None and _is_events(_among(response.headers.raw, _SAID))

    def goes_again(self, response: HTTPResponse) -> bool:
        """Whether the upstream refuses the prior, so that `plain` is to be sent in its place."""
        if self._rewrite.content is None:
            return False
        answer = response.content if self.has_to_be_read(response) else b""
        return self._refusals.goes_again(self._rewrite, response.status_code, answer)

    def went_without(self, response: HTTPResponse) -> None:
        """Heed the answer to `plain`, after the one with the prior was refused."""
        self._rewrite = self._refusals.without(self._rewrite, response.status_code)
        if self.source:
            self.source.say(self._rewrite.notice)

    def told(self, response: HTTPResponse) -> HTTPResponse:
        """The same response with what the call came to, in its headers and in memory, and with its answers decided."""
        response = self._decided(response)
        said = _among(pairs := response.headers.raw, _SAID)
        marks = self._rewrite.marks_beside(said)
        if self._rewrite.reason == "route":  # no call of a model, as far as is known
            return _with_headers(response, marks, said, pairs)
        found = self._info(said.get(INFERENCE_HEADER) or new_inference())
        if self._decision:
            found = replace(found, **rewriting_told(self._decision.marks))
        if marks:
            marks[VARIANT_HEADER] = found.variant or NO_PRIOR
        else:  # a proxy gave it its prior
            found = replace(told_by(response.headers), inference=found.inference)
        marks[INFERENCE_HEADER] = str(found.inference)
        named = said.get(REQUEST_IDS[0]) or said.get(REQUEST_IDS[1])
        if not named:
            marks[REQUEST_IDS[self._path.endswith("/messages")]] = str(found.inference)
        _with_headers(response, marks, said, pairs)
        latest.keep(found, found.inference, named)
        if _is_events(said):
            look_at(response, StreamedId(partial(latest.keep, found)), *self._telling(found, named))
        if self.access.record and self.source:
            self._record(response, found)
        if self._rewrite.heeds and response.status_code == _FOUND:
            look_at_all(response, self._hear)
        return response

    def _hear(self, content: bytes) -> None:
        HEARD.hear(self._rewrite.heeds, content.decode(errors="replace"))

    def _telling(self, found: Info, named: str | None) -> list[Callable[[], None]]:
        """What tells, at the end of a stream, what became of its labels."""
        if (stream := self._stream) is None:
            return []
        return [lambda: latest.keep(replace(found, redecided=stream.outcome), found.inference, named)]

    def _decided(self, response: HTTPResponse) -> HTTPResponse:
        """The response under the prior's offsets: another one, where its answers are others."""
        if self._rewrite.deciding is None:
            return response
        if (again := self._rewrite.redeciding) and self._is_stream(response):
            self._stream = RedecidedStream(again, STANDARD.loads, STANDARD.dumps)
            change(response, self._stream.feed, self._stream.end)
            return response
        found = answers_decided(self._rewrite, response.status_code, response.content, CODECS)
        response.elapsed = taken = timedelta(seconds=perf_counter() - self._began)  # no library sees it being read
        if found is None:
            return response
        content, decided = found
        self._decision = decided
        if self.source:
            self.source.say(decided.notice, about=f"options {self._rewrite.prior}")  # which may be others in each call
        headers = response.headers.copy()
        for name in (_LENGTH, _CHUNKED, _PACKED):
            headers.pop(name, None)
        headers.update(decided.marks)
        request = getattr(response, "_request", None) or self.request
        told = type(response)(
            response.status_code, headers=headers, content=content, request=request, extensions=response.extensions
        )
        told.elapsed = taken
        return told

    def _record(self, response: HTTPResponse, found: Info) -> None:
        from ..store import Inference  # which nobody else needs here
        from .taking import take

        call = Inference(
            str(found.inference),
            str(found.namespace),
            found.prior,
            found.variant or NO_PRIOR,
            str(self._rewrite.surface),
            self._rewrite.model,
            response.status_code,
            round(perf_counter() - self._began, 6),
            draw=self._draw,
        )
        take(call, self.request if self.drafted is None else self.plain(), response, self.access.keep)

    def _copy(self, mark: str | None, content: bytes | None = None) -> HTTPRequest:
        """Another request of the same class, since SDKs speak httpx or httpx2; its body as it was, if none is given."""
        request, kind = self.request, type(self.request)
        # as a stream: of bytes the library would work out once more what is known
        stream = request.stream if content is None else _byte_stream(kind.__module__)(content)
        made = kind(request.method, request.url, headers=request.headers, stream=stream, extensions=request.extensions)
        headers: HTTPHeaders = made.headers
        headers.encoding = request.headers.encoding  # which it would look for anew
        for name in self._named:
            if name in OURS or (name == _CHUNKED and content is not None):
                del headers[name]
        if self.drafted is not None:
            headers.pop(PRIOR_HEADER, None)
        if mark is not None:
            headers[PRIOR_HEADER] = mark
        if content is not None:
            headers[_LENGTH] = str(len(content))
            if self._rewrite.redeciding:  # streams are read as they come
                headers["accept-encoding"] = "identity"
            made.read()
        return made

    def _info(self, inference: str) -> Info:
        rewritten, snapshot = self._rewrite, self._snapshot
        namespace = self._asked.namespace or self.access.namespace
        left_out = rewritten.left_out
        if rewritten.content is None or snapshot is None:
            return Info(inference, None, None, namespace, rewritten.reason, left_out)
        given, way = rewritten.given, rewritten.way
        return Info(inference, rewritten.prior, snapshot.state, namespace, None, left_out, given, way=way)


def exchange_of(request: HTTPRequest, access: Access) -> Exchange:
    """The exchange that a request was built for, each time that it is sent; else a new one."""
    begun: Exchange | None = request.extensions.get(_BEGUN)
    return begun.of(request) if begun and begun.access is access else Exchange(request, access)


def _among(pairs: HeaderPairs, names: Mapping[bytes, str]) -> dict[str, str]:
    """Headers of these names, in lower case; the libraries would take their time to look for them one by one."""
    return {names[name]: value.decode("latin-1") for one, value in pairs if (name := one.lower()) in names}


def _is_events(said: Mapping[str, str]) -> bool:
    """Whether a response is a stream of events that can be read as it comes."""
    return said.get(_KIND, "").startswith("text/event-stream") and said.get(_PACKED, "identity") == "identity"


def _is_lossy(written: bytes, sent: bytes | None) -> bool:
    """Whether a long integer may have become a float: there is an exponent (as in 1e+20) that was not there."""
    if sent is None or (_SIGNED and b"+" not in sent):  # one byte is found ten times as fast as two
        return False
    return _exponents(sent) > _exponents(written)


def _exponents(content: bytes) -> int:
    """At least as many as there are; orjson before 3.12 writes 1e20."""
    return content.count(b"e+") if _SIGNED else len(_EXPONENT.findall(content))


@lru_cache
def _byte_stream(module: str) -> Any:
    """What the library that a request is of makes of a body in bytes."""
    return sys.modules[module.partition(".")[0]].ByteStream


def _with_headers(
    response: HTTPResponse, marks: Mapping[str, str], said: Mapping[str, str], pairs: HeaderPairs
) -> HTTPResponse:
    """The same response with further headers, which replace what it has `said`; set one by one they take longer."""
    if not marks.keys().isdisjoint(said):
        names = {name.encode() for name in marks}
        pairs = [one for one in pairs if one[0].lower() not in names]
    before = response.headers
    response.headers = type(before)([*pairs, *marks.items()], before.encoding)
    return response
