"""Headers of requests and answers as they go on: what is of one connection stays there, what is ours is ours. Pure.

Of the headers that are called `x-tfgrpo-...` a request takes the mark alone to its upstream, which may be another
proxy of ours; whatever else a caller says to us is not the provider's to know.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from ...surfaces.http import PRIOR_HEADER, REASON_HEADER, TOKEN_PRIOR_HEADER
from ..told import VARIANT_HEADER

_OURS = "x-tfgrpo-"
OVERHEAD_HEADER = "x-tfgrpo-overhead-ms"
"""Of an answer: the time until its head that was spent here and not at the upstream."""

CREDENTIALS = ("authorization", "api-key", "x-api-key")
"""Headers in which SDKs send a key: OpenAI's and most others, Azure's, Anthropic's."""

HeaderLines: TypeAlias = Iterable[tuple[bytes, bytes]]
"""As ASGI and aiohttp give them."""

_HOP_BY_HOP = frozenset(
    (
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    )
)  # fmt: skip
"""Headers that belong to one connection (RFC 9110, 7.6.1)."""
_HOP_BYTES = frozenset(name.encode() for name in _HOP_BY_HOP)
_DROPPED = _HOP_BY_HOP | {"host", "content-length", "expect"}
"""The last three the proxy's own connection states anew."""
_MARK = PRIOR_HEADER.encode()


def header_texts(given: HeaderLines) -> list[tuple[str, str]]:
    """Header lines as aiohttp wants them, which writes UTF-8; `given` has names in lower case, as ASGI has them."""
    return [(name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in given]


def request_headers(given: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """A caller's headers for the next hop."""
    named = {option.strip().lower() for name, value in given if name == "connection" for option in value.split(",")}
    return [
        (name, value)
        for name, value in given
        if name not in _DROPPED and name not in named and (name == PRIOR_HEADER or not name.startswith(_OURS))
    ]


def end_to_end(given: HeaderLines) -> list[tuple[bytes, bytes]]:
    """The headers of an answer without those of its connection, names in lower case."""
    lines = [(name.lower(), value) for name, value in given]
    named = {option.strip().lower() for name, value in lines if name == b"connection" for option in value.split(b",")}
    return [(name, value) for name, value in lines if name not in _HOP_BYTES and name not in named]


def with_key(
    headers: Sequence[tuple[str, str]], key: str, given: Mapping[str, str], *, anthropic: bool
) -> list[tuple[str, str]]:
    """The headers with our key in place of the caller's, in the header where the caller gave theirs."""
    stood = next((name for name in CREDENTIALS if name in given), "x-api-key" if anthropic else "authorization")
    kept = [line for line in headers if line[0] not in CREDENTIALS]
    return [*kept, (stood, f"Bearer {key}" if stood == "authorization" else key)]


def answer_headers(given: HeaderLines, marks: Mapping[bytes, bytes], *, ours: bool) -> list[tuple[bytes, bytes]]:
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
