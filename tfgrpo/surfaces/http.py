"""How a prior travels over HTTP: which requests get it, what becomes of their bodies, what headers tell. No I/O.

A POST to `.../chat/completions` leaves with the prior that is live, and with its mark: the header `x-tfgrpo-prior`
names the prior. A request that has the mark is never biased again, so a client may speak through a proxy; a caller who
wants no prior sends `x-tfgrpo-prior: none`. When a client sends a request once more, it starts from what the caller
wrote, and is biased once. Everything else passes as it is: other routes, bodies that are no chat request, and bodies
that a signature binds. The response gets the same header; where a token prior was left out, `x-tfgrpo-token-prior` says
why: `rejected` or `inert` (as `tfgrpo probe` found the upstream), `other-tokenizer`, `other-model`.

`serve.source` knows what is live; `serve.wire` and `serve.proxy` drive this.
"""

import json
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeGuard

from ..model.backends import LeftOut, left_out
from ..model.families import same_family
from ..records import JSON, Backend, ChatBody, Snapshot
from ..text import shortened
from .chat import with_prior

PRIOR_HEADER = "x-tfgrpo-prior"
"""The mark: of a request, the prior that is in it; of a response, the prior that its request had."""
NO_PRIOR = "none"
TOKEN_PRIOR_HEADER = "x-tfgrpo-token-prior"
"""Of a response: why the token prior was left out."""

_NO_BACKENDS: Mapping[str, Backend] = {}

_SEALED = ("content-digest", "content-md5", "digest", "x-amz-content-sha256", "x-amz-date")
"""Headers of a request whose signature covers the body: another body would be refused."""


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


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What becomes of one request body."""

    content: bytes | None = None
    """The body with the prior in it; None: send what the caller wrote."""
    prior: str = NO_PRIOR
    """Id of the prior that went in."""
    notice: str | None = None
    """What a person should be told, once."""
    left_out: LeftOut | None = None
    """Why the token prior did not go in, where there is one."""

    @property
    def marks(self) -> dict[str, str]:
        """Headers for the response."""
        told = {TOKEN_PRIOR_HEADER: str(self.left_out)} if self.left_out else {}
        return told if self.content is None else {PRIOR_HEADER: self.prior, **told}


def is_completion(method: str, path: str) -> bool:
    """Whether a request is one for a chat completion."""
    return method == "POST" and path.rstrip("/").endswith("/chat/completions")


def takes_prior(method: str, path: str, headers: Container[str]) -> bool:
    """Whether a request may be biased: a chat completion that is not marked; `headers` holds names in lower case."""
    return is_completion(method, path) and not any(name in headers for name in (PRIOR_HEADER, *_SEALED))


def rewrite(
    content: bytes,
    snapshot: Snapshot,
    codecs: Sequence[Codec] = (STANDARD,),
    backends: Mapping[str, Backend] = _NO_BACKENDS,
) -> Rewrite:
    """Add the snapshot's prior to a chat request; the token prior goes only to the model that it was learned on.

    `backends` is what is known of the upstream, model by model: one that was seen to reject `logit_bias`, to ignore it,
    or to have another tokenizer is not sent the token prior. The first codec that can read the content also writes it.
    A request that goes without the token prior, or for a model of another family, comes with a notice.
    """
    body, codec = _parsed(content, codecs)
    if not _is_chat(body):
        return Rewrite()
    prior, model = snapshot.prior, body.get("model")
    if model == snapshot.frame.model:
        lacking = left_out(prior, backends.get(snapshot.frame.model))
        notice = _lacking(snapshot, lacking) if lacking else None
    else:
        lacking, notice = "other-model" if prior.biases else None, _notice(snapshot, model)
    if not (prior.has_text or (prior.biases and lacking is None)):
        return Rewrite(notice=notice, left_out=lacking)
    return Rewrite(codec.dumps(with_prior(body, prior, biased=lacking is None)), prior.id, notice, lacking)


def _parsed(content: bytes, codecs: Sequence[Codec]) -> tuple[JSON, Codec]:
    for codec in codecs:
        try:
            return codec.loads(content), codec
        except (ValueError, RecursionError):
            continue  # left to the next one, and in the end to the upstream
    return None, STANDARD


def _is_chat(body: JSON) -> TypeGuard[ChatBody]:
    messages = body.get("messages") if isinstance(body, dict) else None
    if not (isinstance(messages, list) and messages and all(isinstance(entry, dict) for entry in messages)):
        return False
    return isinstance(body.get("logit_bias"), dict | None)


_WHY: Mapping[LeftOut, str] = {
    "rejected": "rejects logit_bias",
    "inert": "ignores logit_bias",
    "other-tokenizer": "has another tokenizer",
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
