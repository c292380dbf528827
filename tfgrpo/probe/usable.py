"""The prior as an upstream can honour it: its tokens found again in the upstream's tokenizer, or left out.

The token prior goes whole or not at all: of a map that keeps some of its tokens and loses others nobody has measured
what it does.
"""

from dataclasses import replace

from ..model.upstream import Upstream
from ..observer import Observer
from ..records import Backend, CallKey, Prior
from ..text import counted, shortened
from ..token_prior.policy import is_special
from .backend import tokenize

_NAMED = 3
"""Tokens that a message names, at most."""


async def fitted(
    prior: Prior, upstream: Upstream, backend: Backend, model: str, *, run: str
) -> tuple[Prior, str | None]:
    """The prior with the token ids of the upstream's tokenizer, and what a person should know where it has changed.

    Each token's bytes must be a single, ordinary token there, by our tokenizer or the server's own; experiences stay as
    they are. The calls are journalled under `run`.
    """
    if not prior.biases or prior.tokenizer == backend.tokenizer or backend.logit_bias != "honoured":
        return prior, None
    moved, lost = [], []
    for place, entry in enumerate(prior.biases):
        token = await _token(entry.piece, upstream, backend, model, CallKey(run, "probe /tokenize piece", sample=place))
        if token is None:
            lost.append(shortened(repr(entry.piece.decode("utf-8", "backslashreplace"))))
        else:
            moved.append(replace(entry, token=token))
    if lost or len({entry.token for entry in moved}) < len(moved):
        named = ", ".join(lost[:_NAMED]) + (", ..." if len(lost) > _NAMED else "")
        why = f"{named} cannot be found as single tokens there" if lost else "its tokens are not told apart there"
        return replace(prior, biases=(), tokenizer=None), (
            f"the token prior belongs to another tokenizer than that of {upstream.name}, and is left out: {why}"
        )
    told = (
        f"the token prior was learned with another tokenizer; {counted(len(moved), 'token')} resolved anew by the bytes"
    )
    return replace(prior, biases=tuple(moved), tokenizer=backend.tokenizer), told


def usable(prior: Prior, backend: Backend, upstream: Upstream, observer: Observer) -> Prior:
    """The prior, less a token prior that this upstream does not honour, or has other ids for; the observer is told."""
    if not prior.biases:
        return prior
    if backend.logit_bias == "unknown":
        why = f"; {backend.lacking}" if backend.lacking else ""
        observer.note(f"token prior left out: {upstream.name} could not be seen to honour logit_bias{why}")
    elif backend.logit_bias != "honoured":
        observer.note(f"token prior left out: {upstream.name} does not honour logit_bias ({backend.logit_bias})")
    elif prior.tokenizer != backend.tokenizer:
        observer.note(f"token prior left out: it belongs to another tokenizer than that of {upstream.name}")
    else:
        return prior
    return replace(prior, biases=(), tokenizer=None)


async def _token(piece: bytes, upstream: Upstream, backend: Backend, model: str, key: CallKey) -> int | None:
    """The id of the one token with these bytes; None where there is none, or no way to ask."""
    if is_special(piece):
        return None
    if upstream.tokenizer:
        return upstream.tokenizer.id_of(piece)
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return None
    ids = await tokenize(upstream, backend, model, key, text)
    return ids[0] if len(ids) == 1 else None
