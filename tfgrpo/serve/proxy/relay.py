"""The relay: to which address a caller's request goes on, with which headers, and what its answer says. No I/O."""

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ...errors import InputError
from ...surfaces.http import NO_PRIOR, PRIOR_HEADER, TOKEN_PRIOR_HEADER
from ..told import VARIANT_HEADER

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""Header lines as ASGI and aiohttp give them."""

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding"
    b" upgrade".split()
)
"""Headers that belong to one connection (RFC 9110, 7.6.1)."""
_OURS = frozenset((b"host", b"content-length", b"expect"))
"""Headers of a request that the proxy's own connection states anew."""
_CLIMB = re.compile(rb"(^|/)(\.|%2e){2}(/|$)", re.IGNORECASE)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class RelayTarget:
    """An OpenAI-compatible API, named by the URL that an SDK would be given as `base_url`.

    The proxy's `/v1` stands for that URL: `/v1/models` goes to `BASE/models`. A base that ends in `/v1`, or has no path
    at all, also tells the server's root, and other paths go there: `/tokenize` of the proxy in front of
    `http://host:8091/v1` or `http://host:8091` is `http://host:8091/tokenize`. For any other base (`.../v1beta/openai`)
    other paths go below it. A slash at the end of the base does not matter; query strings are kept.
    """

    base: str
    """Without a slash at the end."""
    key: str | None = field(default=None, repr=False)
    """Sent as the bearer token in place of the caller's; None: the caller's own goes through."""

    @classmethod
    def parse(cls, url: str, key: str | None = None) -> Self:
        """Raises InputError for what cannot be a base URL."""
        try:
            parts = urlsplit(url)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            sound = False
        if not sound:
            raise InputError("the upstream must be a URL such as https://api.openai.com/v1 or http://127.0.0.1:8080/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise InputError("the upstream's URL may hold no password and no query; give its key by --upstream-key-env")
        return cls(url.rstrip("/"), key)

    def url(self, path: bytes, query: bytes) -> str | None:
        """The address for a path and a query of the proxy; None for a path that climbs out of its folder (`..`)."""
        if _CLIMB.search(path):
            return None
        below = path.decode("latin-1")
        if self.base.endswith("/v1") or not urlsplit(self.base).path:
            address = self.base.removesuffix("/v1") + below
        else:
            address = self.base + (below.removeprefix("/v1") if f"{below}/".startswith("/v1/") else below)
        return f"{address}?{query.decode('latin-1')}" if query else address

    def relayed(self, given: Headers, body: AsyncIterator[bytes]) -> "Relayed":
        """The caller's request for the next hop, with our key if there is one, and its body as it comes."""
        lines = list(given)
        lengths = dict(lines)
        dropped = _OURS | {b"authorization"} if self.key else _OURS
        headers = [(_text(name), _text(value)) for name, value in end_to_end(lines) if name not in dropped]
        if self.key:
            headers.append(("authorization", f"Bearer {self.key}"))
        if b"transfer-encoding" in lengths:
            return Relayed(headers, body)
        if b"content-length" not in lengths:
            return Relayed(headers, None)
        return Relayed([*headers, ("content-length", _text(lengths[b"content-length"]))], body)

    def forward_proxy(self) -> str | None:
        """The HTTP proxy that the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) puts before this host."""
        parts = urlsplit(self.base)
        if parts.hostname in _LOOPBACK or proxy_bypass(parts.netloc):
            return None
        return getproxies().get(parts.scheme)


@dataclass(frozen=True, slots=True)
class Relayed:
    """A caller's request as it goes on to the upstream, and what the caller is told of it."""

    headers: Sequence[tuple[str, str]]
    body: bytes | AsyncIterator[bytes] | None
    marks: Mapping[bytes, bytes] = field(default_factory=dict)
    """Headers for the response."""
    biased: bool = False

    def holding(self, body: bytes) -> Self:
        """The same with a body whose length is known."""
        headers = [line for line in self.headers if line[0] != "content-length"]
        return replace(self, headers=headers, body=body)

    def telling(self, prior: str, left_out: str | None = None) -> Self:
        """The same; the caller is told what prior it came with, unless the upstream tells one."""
        return replace(self, marks=_marks(prior, NO_PRIOR, left_out))

    def marked(self, prior: str, state: str, left_out: str | None = None) -> Self:
        """The same, marked as biased by us: nobody biases it again, and the caller is told."""
        headers = [*self.headers, (PRIOR_HEADER, prior)]
        return replace(self, headers=headers, marks=_marks(prior, state, left_out), biased=True)

    def response_headers(self, given: Headers) -> list[tuple[bytes, bytes]]:
        """The upstream's headers and our marks; where both speak, the one that biased the request is right."""
        lines = end_to_end(given)
        if self.biased:
            lines = [line for line in lines if line[0] not in self.marks]
        elif any(name in self.marks for name, _ in lines):
            return lines
        return [*lines, *self.marks.items()]


def _marks(prior: str, variant: str, left_out: str | None) -> dict[bytes, bytes]:
    marks = {PRIOR_HEADER: prior, VARIANT_HEADER: variant} | ({TOKEN_PRIOR_HEADER: left_out} if left_out else {})
    return {name.encode(): value.encode() for name, value in marks.items()}


def end_to_end(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers without those of this connection, names in lower case."""
    lines = [(name.lower(), value) for name, value in headers]
    named = {option.strip().lower() for name, value in lines if name == b"connection" for option in value.split(b",")}
    return [(name, value) for name, value in lines if name not in _HOP_BY_HOP and name not in named]


def _text(raw: bytes) -> str:
    """Header bytes as aiohttp wants them: it writes UTF-8."""
    return raw.decode("utf-8", "replace")
