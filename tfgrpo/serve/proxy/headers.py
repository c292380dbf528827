"""Headers of requests and answers as they go on: what is of one connection stays there, what is ours is ours. Pure.

Of the headers that are called `x-tfgrpo-...` a request takes the mark alone to its upstream, which may be another
proxy of ours; whatever else a caller says to us is not the provider's to know.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from ...surfaces.http import PRIOR_HEADER, REASON_HEADER, TOKEN_PRIOR_HEADER
from ..call_info import VARIANT_HEADER

_OURS = b"x-tfgrpo-"
OVERHEAD_HEADER = "x-tfgrpo-overhead-ms"
"""Of an answer: the time until its head that was spent here and not at the upstream."""

CREDENTIALS = ("authorization", "api-key", "x-api-key")
"""Headers in which SDKs send a key: OpenAI's and most others, Azure's, Anthropic's."""
CREDENTIAL_NAMES = tuple(name.encode() for name in CREDENTIALS)

HeaderLines: TypeAlias = Iterable[tuple[bytes, bytes]]
"""As ASGI has them."""

_HOP_BY_HOP = frozenset(
    (
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade",
    )
)  # fmt: skip
"""Headers that belong to one connection (RFC 9110, 7.6.1)."""
_DROPPED = _HOP_BY_HOP | {b"host", b"content-length", b"expect"}
"""The last three the proxy's own connection states anew."""
_MARK = PRIOR_HEADER.encode()


def header_texts(given: HeaderLines) -> dict[str, str]:
    """Headers by name, of those that stand twice the last; `given` has names in lower case, as ASGI has them."""
    return {name.decode("latin-1"): value.decode("utf-8", "replace") for name, value in given}


def request_headers(given: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """A caller's headers for the next hop."""
    dropped = _with_named(_DROPPED, given)
    return [line for line in given if line[0] not in dropped and (not line[0].startswith(_OURS) or line[0] == _MARK)]


def end_to_end(given: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer without those of its connection; `given` has names in lower case."""
    dropped = _with_named(_HOP_BY_HOP, given)
    return [line for line in given if line[0] not in dropped]


def _with_named(dropped: frozenset[bytes], given: HeaderLines) -> frozenset[bytes]:
    """Those to be dropped, and those that a Connection header names."""
    named = [value for name, value in given if name == b"connection"]
    return (
        dropped.union(option.strip().lower() for value in named for option in value.split(b",")) if named else dropped
    )


def with_key(
    headers: Sequence[tuple[bytes, bytes]], key: str, given: Mapping[str, str], *, anthropic: bool
) -> list[tuple[bytes, bytes]]:
    """The headers with our key in place of the caller's, in the header where the caller gave theirs."""
    stood = next((name for name in CREDENTIALS if name in given), "x-api-key" if anthropic else "authorization")
    kept = [line for line in headers if line[0] not in CREDENTIAL_NAMES]
    return [*kept, (stood.encode(), (f"Bearer {key}" if stood == "authorization" else key).encode())]


def answer_headers(
    given: Sequence[tuple[bytes, bytes]], marks: Mapping[bytes, bytes], *, ours: bool
) -> list[tuple[bytes, bytes]]:
    """The upstream's headers and our marks; where both speak, the one that biased the request (`ours`) is right."""
    lines = end_to_end(given)
    if ours:
        lines = [line for line in lines if line[0] not in marks]
    elif any(name == _MARK for name, _ in lines):
        said = {name for name, _ in lines}
        marks = {name: value for name, value in marks.items() if name not in said and name not in _ABOUT_THE_PRIOR}
    return [*lines, *marks.items()]


_ABOUT_THE_PRIOR = frozenset(
    name.encode() for name in (PRIOR_HEADER, VARIANT_HEADER, REASON_HEADER, TOKEN_PRIOR_HEADER)
)
