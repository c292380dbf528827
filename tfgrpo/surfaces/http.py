"""How a prior travels over HTTP: which requests get it, what becomes of their bodies, what headers tell. No I/O.

A POST to one of the surfaces leaves with the prior that is live, and with its mark: the header `x-tfgrpo-prior` names
the prior. A request that has the mark is never biased again, so a client may speak through a proxy; a caller who wants
no prior sends `x-tfgrpo-prior: none`. When a client sends a request once more, it starts from what the caller wrote,
and is biased once. Everything else passes as it is: other routes, bodies of another shape, and bodies that a signature
binds. The response gets the same header, `none` with `x-tfgrpo-reason` where there was no prior, for one of the
reasons of `Reason`; where a token prior was left out, `x-tfgrpo-token-prior` says why: `rejected` or `inert` (as
`tfgrpo probe` found the upstream), `other-tokenizer`, `other-model`, `surface` (it has no biases).

`serve.source` knows what is live; `serve.wire` and `serve.proxy` drive this: `why_not`, then `rewrite`, and `refused`
says what goes once more.
"""

import json
import re
from collections.abc import Callable, Container, Mapping, Sequence
from functools import lru_cache, partial
from typing import Literal, NamedTuple, Protocol, TypeAlias

from ..model.families import same_family
from ..records import JSON, Backend, ChatBody, Prior, Snapshot
from ..text import shortened
from .chat import CHAT
from .decided import Decided, Rewriting, asks_another, deciding
from .decisions import DECISIONS
from .redecided import Lean, Redeciding, asking_for_logprobs, redeciding, without_lists
from .resampled import Resampling, asking_for_answers, resampling
from .routes import deployment_of, surface_of
from .sureness import HEARD, SURENESS_ALTERNATIVES
from .surface import LeftOut, Manner, Surface, SurfaceName, Way, left_out, takes_only_whole
from .triggers import waits_for_sureness

PRIOR_HEADER = "x-tfgrpo-prior"
"""The mark: of a request, the prior that is in it; of a response, the prior that its request had."""
NO_PRIOR = "none"
REASON_HEADER = "x-tfgrpo-reason"
"""Of a response: why its request had no prior."""
TOKEN_PRIOR_HEADER = "x-tfgrpo-token-prior"
"""Of a response: why the token prior was left out."""
WAY_HEADER = "x-tfgrpo-way"
"""Of a response: how the token prior acted on it (`surfaces.surface.Way`)."""
MARKS = (PRIOR_HEADER, REASON_HEADER, TOKEN_PRIOR_HEADER, WAY_HEADER)
"""All of them, of a response."""
_FOUND = 200

Reason: TypeAlias = (
    Literal[
        "route",  # no surface has such requests
        "disabled",  # the caller wants none
        "marked",  # it has one already
        "signed",  # a signature binds the body
        "too long",  # for a proxy to hold
        "not-json",
        "shape",  # no body of this surface
        "no live prior",
        "holdback",  # it is one of those that a prior is held against
        "namespace",  # there is none of that name
        "store",  # it cannot be read
        "empty",  # the live prior says nothing, and moves no token
        "refused",  # the upstream refused the request with the prior
        "suspended",  # it has refused several in a row
        "fault",  # of ours: it could not be added
        "other-question",  # the live prior has offsets alone, and none for what is asked: other words are another one
    ]
    | LeftOut  # the live prior is a token prior alone, or offsets of another model, and is left out
)
"""Why a request goes without a prior."""


class Beside(NamedTuple):
    """What is known of a call beside its body."""

    answers: int = 1
    """That the caller pays for in place of one, where a token prior can act in no better way."""
    vector: str = ""
    """Of what it asks, as of `Manner`."""


_NO_BESIDE = Beside()
_NO_BACKENDS: Mapping[str, Backend] = {}

_IDS = re.compile(r"/(?=[^/]*\d)[^/]{8,}")
"""Parts of a path that name one thing of many: routes are told apart without them."""

SEALED = ("content-digest", "content-md5", "digest", "x-amz-content-sha256", "x-amz-date")
"""Headers of a request whose signature covers the body: another body would be refused."""
_SEALED = frozenset(SEALED)


class Codec(NamedTuple):
    """Two functions between bytes and JSON; `loads` raises ValueError for what is not JSON."""

    loads: Callable[[bytes], JSON]
    dumps: Callable[[JSON], bytes]


def _dumps(value: JSON) -> bytes:
    """JSON as the SDK writes it: what it sent is sent again to the byte."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a surrogate pair: it can only travel escaped, as it came
        return json.dumps(value, separators=(",", ":")).encode()


STANDARD = Codec(json.loads, _dumps)


class Rewrite(NamedTuple):
    """What becomes of one request body."""

    content: bytes | None = None
    """The body with the prior in it; None: send what the caller wrote."""
    prior: str = NO_PRIOR
    """Id of the prior that went in."""
    notice: str | None = None
    """What a person should be told, once."""
    left_out: LeftOut | None = None
    """Why the token prior did not go in, where there is one."""
    reason: Reason | None = None
    """Why no prior went in."""
    surface: SurfaceName | None = None
    model: str = ""
    """The model that is asked for; an Azure path may name it."""
    given: Prior | None = None
    """The prior as it went in, less what its surface has no place for, and what was left out."""
    deciding: Rewriting | None = None
    """What is to be done with the response: offsets act on its answers, or labels are decided again."""
    way: Way | None = None
    """How the token prior acts, where there is one."""
    heeds: Sequence[JSON] = ()
    """The messages, where it is to be heard how sure the answer to them is."""

    @property
    def redeciding(self) -> Redeciding | None:
        """How labels of the response are decided again, if they are."""
        return self.deciding if isinstance(self.deciding, Redeciding) else None

    @property
    def marks(self) -> dict[str, str]:
        """Headers for the response."""
        marks = {PRIOR_HEADER: self.prior}
        for name, told in ((REASON_HEADER, self.reason), (TOKEN_PRIOR_HEADER, self.left_out), (WAY_HEADER, self.way)):
            if told:
                marks[name] = told
        return marks

    def marks_beside(self, given: Container[str]) -> dict[str, str]:
        """Headers for a response that has these; where no prior of ours went in, one that tells of another is right."""
        return {} if self.content is None and PRIOR_HEADER in given else self.marks


class Suspended(Protocol):
    """Whether a model is served without a prior at a surface, since its upstream refuses that (`refused`)."""

    def __call__(self, model: str, surface: str, prior: str, /) -> bool: ...


def why_not(method: str, path: str, headers: Mapping[str, str]) -> Reason | None:
    """Why a request goes without a prior, as its first line and headers tell; names of headers in lower case."""
    if surface_of(method, path) is None:
        return "route"
    if (mark := headers.get(PRIOR_HEADER)) is not None:
        return "disabled" if mark.strip().lower() == NO_PRIOR else "marked"
    return None if _SEALED.isdisjoint(headers) else "signed"


def route_notice(method: str, path: str, reason: Reason | None) -> str | None:
    """What is logged, once a route, of a request that no prior enters; None: it needs no word."""
    if method != "POST" or reason not in ("route", "signed"):
        return None
    named = _IDS.sub("/…", path.partition("?")[0])
    why = "no prior has a place there" if reason == "route" else "a signature binds its body"
    return f"POST {shortened(named)} goes without a prior: {why}"


def rewrite(
    content: bytes,
    snapshot: Snapshot | None,
    codecs: Sequence[Codec] = (STANDARD,),
    backends: Mapping[str, Backend] = _NO_BACKENDS,
    *,
    path: str = "/chat/completions",
    host: str = "",
    suspended: Suspended | None = None,
    beside: Beside = _NO_BESIDE,
) -> Rewrite:
    """Add the snapshot's prior to the body of a POST to `path` at `host`; the token prior goes only to its own model.

    `backends` is what is known of the upstream, model by model: one that was seen to reject `logit_bias`, to ignore it,
    or to have another tokenizer is not sent the token prior. The first codec that can read the content also writes it.
    A request that goes without the token prior, or for a model of another family, comes with a notice.
    """
    surface = surface_of("POST", path)
    if surface is None or snapshot is None:
        return Rewrite(reason="no live prior" if surface else "route", surface=surface.name if surface else None)
    body, codec = _parsed(content, codecs)
    if codec is None or not surface.fits(body):
        return Rewrite(reason="not-json" if codec is None else "shape", surface=surface.name)
    model = body.get("model") or deployment_of(path)
    named = model if isinstance(model, str) else ""
    if suspended and suspended(named, surface.name, snapshot.prior.id):
        return Rewrite(reason="suspended", surface=surface.name, model=named)
    backend = backends.get(named)
    lacking, notice = _left_out(snapshot, surface, model, backend)
    whole = takes_only_whole(backend, host)
    manner = _manner(lacking is None, whole, backend is None or backend.system_role != "rejected")
    manner = manner._replace(vector=beside.vector) if beside.vector else manner
    given = surface.part_of(snapshot.prior, manner)
    try:
        manner, heeds, notice = _heeding(body, snapshot, surface, given, manner=manner, notice=notice)
        after = _after(body, snapshot, surface, lacking, backend, named=named, answers=beside.answers)
        if surface is DECISIONS and snapshot.prior.questions:
            notice = notice or _offsets_notice(body, snapshot, model)
        if not (given.has_text or given.biases or after):
            why = _nothing(body, snapshot, surface, lacking, named)
            return Rewrite(notice=notice, left_out=lacking, reason=why, surface=surface.name, model=named)
        asked = _asking(surface.enter(body, given, manner) if given.has_text or given.biases else body, after)
        written = content if asked is body else codec.dumps(asked)
    except Exception as error:  # whatever is wrong with us or the prior: the call is the caller's, and goes on
        notice = f"{snapshot.prior.id} could not be added to a request by {surface.route}: {type(error).__name__}"
        return Rewrite(notice=notice, reason="fault", surface=surface.name, model=named)
    again = _WAYS.get(type(after))
    way: Way | None = again or ("bias" if given.biases else "none" if snapshot.prior.biases else None)
    told, left, said = (snapshot.prior, None, None) if again else (given, lacking, notice)
    return Rewrite(written, snapshot.prior.id, said, left, None, surface.name, named, told, after, way, heeds)


@lru_cache
def _manner(biased: bool, whole: bool, system_role: bool) -> Manner:
    """One of eight: made anew for each request they would take their time."""
    return Manner(biased, whole=whole, system_role=system_role)


def _heeding(
    body: ChatBody, snapshot: Snapshot, surface: Surface, given: Prior, *, manner: Manner, notice: str | None
) -> tuple[Manner, Sequence[JSON], str | None]:
    """The manner with how sure the answer before was, the messages whose answer is to be heard, and what a person
    should know; where no experience waits for that, as they were."""
    if not (surface is CHAT and given.has_text and waits_for_sureness(given)):
        return manner, (), notice
    messages = body["messages"]
    manner = manner._replace(sureness=HEARD.before(messages))
    unheard = (
        f"an experience of namespace {snapshot.namespace!r} waits for log-probabilities of the answer before, and"
        f" callers do not ask for them: logprobs true, top_logprobs {SURENESS_ALTERNATIVES}"
    )
    return (manner, messages, notice) if body.get("logprobs") else (manner, (), notice or unheard)


def _after(
    body: ChatBody,
    snapshot: Snapshot,
    surface: Surface,
    lacking: LeftOut | None,
    backend: Backend | None,
    *,
    named: str,
    answers: int,
) -> Rewriting | None:
    """What the prior has to do with the response of its own model to a request, as its caller wrote it."""
    if named != snapshot.frame.model:
        return None
    if surface is DECISIONS:
        return deciding(body, snapshot.prior)
    refused = lacking in ("rejected", "inert", "surface") and surface.name in ("chat", "responses")
    if not (refused and backend and backend.logprobs):
        return None
    found = redeciding(body, snapshot.prior, snapshot.frame.labels, backend, surface.name)
    return found or (resampling(body, snapshot.prior, backend, answers) if surface is CHAT else None)


_WAYS: Mapping[type, Way] = {Redeciding: "re-decide", Resampling: "resample"}


def _asking(body: ChatBody, after: Rewriting | None) -> ChatBody:
    """The request with what is asked for so that the response can be rewritten."""
    if after is None:
        return body
    if isinstance(after, Resampling):
        return asking_for_answers(body, after.answers)
    return asking_for_logprobs(body, after.surface, after.listed) if isinstance(after, Redeciding) else body


def answers_decided(
    rewritten: Rewrite, status: int, content: bytes, codecs: Sequence[Codec] = (STANDARD,)
) -> tuple[bytes, Decided] | None:
    """The content of a response under the prior's offsets, or with labels decided again; None where it stays."""
    if rewritten.deciding is None or status != _FOUND:
        return None
    if to := rewritten.redeciding:
        lean = without_lists(content)
        found = _decided(partial(to.decided, lists=lean.lists), lean, codecs)
        if found or not lean.lists:
            return found
    return _decided(rewritten.deciding.decided, Lean(content), codecs)


def _decided(decide: Callable[[JSON], Decided], lean: Lean, codecs: Sequence[Codec]) -> tuple[bytes, Decided] | None:
    payload, codec = _parsed(lean.content, codecs)
    if codec is None:
        return None
    try:
        decided = decide(payload)
        if decided.payload is payload and not decided.marks:
            return None
        return lean.filled(codec.dumps(decided.payload)), decided
    except Exception:  # whatever is wrong with us or the upstream's answer: it is the caller's, as it came
        return None


def _nothing(body: ChatBody, snapshot: Snapshot, surface: Surface, lacking: LeftOut | None, model: str) -> Reason:
    """Why a prior has nothing for a request."""
    prior = snapshot.prior
    if surface is DECISIONS and prior.questions:
        if model != snapshot.frame.model:
            return "other-model"
        return "other-question" if asks_another(body, prior) else "empty"
    return lacking or ("surface" if prior.has_text or prior.biases or prior.questions else "empty")


def _left_out(
    snapshot: Snapshot, surface: Surface, model: JSON, backend: Backend | None
) -> tuple[LeftOut | None, str | None]:
    """Why the token prior is left out, if it is, and what a person should know of the request."""
    prior = snapshot.prior
    if model != snapshot.frame.model:
        return "other-model" if prior.biases else None, _notice(snapshot, model)
    if prior.biases and not surface.takes_biases:
        return (
            "surface",
            f"the token prior of namespace {snapshot.namespace!r} is left out: {surface.route} has no biases",
        )
    lacking = left_out(prior, backend)
    return lacking, _lacking(snapshot, lacking) if lacking else None


def _parsed(content: bytes, codecs: Sequence[Codec]) -> tuple[JSON, Codec | None]:
    for codec in codecs:
        try:
            return codec.loads(content), codec
        except (ValueError, RecursionError):
            continue  # left to the next one, and in the end to the upstream
    return None, None


def _offsets_notice(body: ChatBody, snapshot: Snapshot, model: JSON) -> str | None:
    """What a person should know of a request for decisions that offsets do not reach; it is said once, so it names no
    question."""
    name, learned = snapshot.namespace, snapshot.frame.model
    if model != learned:
        return f"the offsets of namespace {name!r} were learned on model {learned!r}, and are left out for others"
    if not asks_another(body, snapshot.prior):
        return None
    return (
        f"a question was asked that namespace {name!r} has no offsets for: other words, or another type, are another"
        " question; `tfgrpo tokens show` names those that it has"
    )


_WHY: Mapping[LeftOut, str] = {
    "rejected": "rejects logit_bias",
    "inert": "ignores logit_bias",
    "other-tokenizer": "has another tokenizer",
    "other-model": "serves another model",
    "surface": "has no biases",
}


def _lacking(snapshot: Snapshot, found: LeftOut) -> str:
    """What a person should know of an upstream that is not sent the token prior."""
    return (
        f"the token prior of namespace {snapshot.namespace!r} is left out: the upstream {_WHY[found]}, as was measured;"
        f" to measure it anew: tfgrpo probe --base-url URL --model {snapshot.frame.model}"
    )


def _notice(snapshot: Snapshot, model: JSON) -> str | None:
    """What a person should know of a request for another model than the prior was learned on."""
    prior, name, learned, told = snapshot.prior, snapshot.namespace, snapshot.frame.model, shortened(model)
    lines = []
    if prior.biases:
        lines.append(
            f"the token prior of namespace {name!r} was learned on model {learned!r}, and is left out for {told!r};"
            " to have one there: tfgrpo learn TASKS --model MODEL --namespace NAME"
        )
    if prior.has_text and isinstance(model, str) and not same_family(model, learned):
        what = "experiences" if prior.experiences else "demonstrations" if prior.demonstrations else "instructions"
        lines.append(
            f"the {what} of namespace {name!r} were learned on model {learned!r}, and may hurt on {told!r};"
            f" to re-validate them: tfgrpo eval TASKS --namespace {name!r} --model {told!r}"
        )
    return "; ".join(lines) or None
