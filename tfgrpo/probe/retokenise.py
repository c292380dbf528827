"""A token prior on another tokenizer than it was learned with: resolved anew from its tokens' bytes, or refused.

All or nothing: of a map that keeps some of its tokens and loses others nobody has measured what it does.
"""

from dataclasses import replace

from ..model.upstream import Upstream
from ..records import Backend, CallKey, Prior
from ..text import counted, shortened
from ..token_prior.policy import is_special
from .backend import tokenize

_NAMED = 3
"""Tokens that a message names, at most."""


async def fitted(
    prior: Prior, upstream: Upstream, backend: Backend, model: str, *, run: str
) -> tuple[Prior, str | None]:
    """The prior as the upstream's tokenizer has it, and what a person should know where it is not as it was.

    Each token must be a single, ordinary token there, by our tokenizer or the server's own; the others' experiences
    stay as they are. The calls are journalled under `run`.
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
