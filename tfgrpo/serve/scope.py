"""Which prior a call gets: what a `with` around it says, and what its own headers say. The headers come first.

`using` and `disabled` hold for what is called inside them, in the same thread or task, whichever client makes the call.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from ..errors import InputError

NAMESPACE_HEADER = "x-tfgrpo-namespace"
"""Of a request: the namespace whose prior it is to have."""
KEY_HEADER = "x-tfgrpo-sticky-key"
"""Of a request: for whom it is made; calls of one key get the same variant."""
DISABLE_HEADER = "x-tfgrpo-disable"
"""Of a request: `1`, it is to have no prior."""
RESAMPLE_HEADER = "x-tfgrpo-resample"
"""Of a request: how many answers may be paid for in place of one, where a token prior can act in no better way."""
OURS = (NAMESPACE_HEADER, KEY_HEADER, DISABLE_HEADER, RESAMPLE_HEADER)
"""Headers that are for tfgrpo alone, and never reach a provider."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller asks for."""

    namespace: str | None = None
    """None: the client's own."""
    key: str | None = None
    off: bool = False
    """No prior at all."""
    answers: int = 1
    """That may be paid for in place of one."""


_NOTHING = Asked()
_asked: ContextVar[Asked] = ContextVar("tfgrpo_asked", default=_NOTHING)


@contextmanager
def using(namespace: str | None = None, *, key: str | None = None) -> Iterator[None]:
    """Calls inside get the prior of this namespace; `key` says for whom they are made.

    Calls of one key (a user, a conversation) get the same variant as long as a canary is out.
    """
    for name, given in (("namespace", namespace), ("key", key)):
        if not (given is None or (isinstance(given, str) and given)):
            raise InputError(f"tfgrpo.using: {name} is {given!r}; give a text, or leave it out")
    outer = _asked.get()
    token = _asked.set(Asked(namespace or outer.namespace, key or outer.key))
    try:
        yield
    finally:
        _asked.reset(token)


@contextmanager
def disabled() -> Iterator[None]:
    """Calls inside go out without a prior."""
    token = _asked.set(replace(_asked.get(), off=True))
    try:
        yield
    finally:
        _asked.reset(token)


def asked_for(headers: Mapping[str, str]) -> Asked:
    """What the caller of a request with these headers asks for."""
    outer = _asked.get()
    if not headers or not any(name in headers for name in OURS):
        return outer
    return Asked(
        headers.get(NAMESPACE_HEADER) or outer.namespace,
        headers.get(KEY_HEADER) or outer.key,
        outer.off or is_disabled(headers),
        answers_in(headers),
    )


def answers_in(headers: Mapping[str, str]) -> int:
    """How many answers the headers of a request allow in place of one."""
    if RESAMPLE_HEADER not in headers:
        return 1
    given = headers[RESAMPLE_HEADER].strip()[:3]
    return max(1, int(given)) if given.isascii() and given.isdecimal() else 1


def is_disabled(headers: Mapping[str, str]) -> bool:
    """Whether the headers of a request say that it is to have no prior."""
    return DISABLE_HEADER in headers and headers[DISABLE_HEADER].strip().lower() in ("1", "true", "yes", "on")
