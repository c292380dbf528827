"""What a call asks for, once its head and body are read: of which namespace, for which surface, in which body. Pure."""

import re
from collections.abc import Container, Mapping
from typing import NamedTuple

from ...records import Backend, Snapshot
from ...surfaces.http import NO_PRIOR, PRIOR_HEADER, Beside, Reason, Rewrite, Suspended, rewrite
from ..unpacking import unpacked
from .bodies import EXACT_CODECS, hollowed

_SUFFIXED = re.compile(rb'"model"\s*:\s*"[^"\\]*@([^"\\@]+)"')


class RequestBody(NamedTuple):
    """The body of a call that a prior may enter."""

    written: bytes
    """As the caller wrote it."""
    plain: bytes
    """The same unpacked, and without what the name of its model says to us."""
    packed: bool = False
    """It came in a Content-Encoding."""

    def encoding_is_gone(self, sent: bytes | None) -> bool:
        """Whether what is `sent` in its place, or for want of that the body itself, goes on unpacked."""
        return self.packed and (sent is not None or self.altered)

    @property
    def altered(self) -> bool:
        """Whether the caller's own bytes cannot go on."""
        return self.plain is not self.written


def read_body(content: bytes, encoding: str, limit: int) -> RequestBody | None:
    """The body of a call, unpacked; None where nothing can be made of its Content-Encoding within so many bytes."""
    if encoding in ("", "identity"):
        return RequestBody(content, content)
    plain = unpacked(content, encoding, limit)
    return None if plain is None else RequestBody(content, plain, packed=True)


def addressed(body: RequestBody, namespaces: Container[str]) -> tuple[RequestBody, str | None]:
    """The body without the namespace that its model names, as in `gpt-x@support`, and that namespace, if it is one.

    What follows an @ and is no namespace belongs to the model's own name.
    """
    if b"@" not in body.plain or not any(
        found.decode("utf-8", "replace") in namespaces for found in _SUFFIXED.findall(body.plain)
    ):
        return body, None
    for codec in EXACT_CODECS:
        try:
            value = codec.loads(body.plain)
        except (ValueError, RecursionError):
            continue
        model, _, named = str(value.get("model", "")).rpartition("@") if isinstance(value, dict) else ("", "", "")
        if model and named in namespaces:
            return body._replace(plain=codec.dumps({**value, "model": model})), named
        break
    return body, None


class Destination(NamedTuple):
    """The upstream that a body is made ready for, as far as that matters."""

    path: str
    host: str
    backends: Mapping[str, Backend]
    suspended: Suspended
    beside: Beside = Beside()


def with_prior_in(body: RequestBody, snapshot: Snapshot, at: Destination, most: int) -> Rewrite:
    """The body with the prior in it, its long strings to the byte; at most so many bytes beside them are parsed."""
    hollow = hollowed(body.plain)
    if len(hollow.content) > most:
        return Rewrite(reason="too long")
    found = rewrite(
        hollow.content,
        snapshot,
        EXACT_CODECS,
        at.backends,
        path=at.path,
        host=at.host,
        suspended=at.suspended,
        beside=at.beside,
    )
    if found.content is None or not hollow.middles:
        return found
    filled = hollow.filled(found.content)
    return found._replace(content=filled) if filled else Rewrite(reason="shape", surface=found.surface)


def without_prior(reason: Reason, headers: Mapping[str, str]) -> Rewrite:
    """What is told of a call that gets none; one that has a prior already tells of that."""
    return Rewrite(prior=headers.get(PRIOR_HEADER, NO_PRIOR) if reason == "marked" else NO_PRIOR, reason=reason)
