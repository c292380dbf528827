"""A request that is known before it is built: the prior enters it at once, and nothing is read, written or built twice.

The SDK's clients of ours have the JSON of a call at hand. They write it here, in place of the SDK (`with_known_body`),
so that what comes to the HTTP client that they were given is bytes which know what they say: a Draft, for `exchange`.
What is not as plain as that goes the way of every other request, which is read once it is built.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Self

import orjson

from ..records import JSON
from ..surfaces.http import PRIOR_HEADER, SEALED
from ..surfaces.routes import surface_of
from .scope import OURS

_SPOKEN_FOR = frozenset((PRIOR_HEADER, *OURS, *SEALED, "transfer-encoding", "content-length"))
"""Headers of a request that has to be looked at as a whole."""
_PLAIN = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_ALIKE = frozenset((str, int, bool, type(None)))
"""Classes of which every value is written alike, beside those that hold others."""
_SMALL, _LARGE = 1e-4, 1e16
"""From the one up to the other, numbers are written without an exponent."""
_KEPT = 256
"""Addresses, and names of headers, that are kept ready."""


class KnownJSON(bytes):
    """The JSON of a request whose `body` is at hand, so that it need not be read."""

    body: JSON

    @classmethod
    def of(cls, body: JSON) -> Self | None:
        """What a body is as JSON, as the SDK writes it; None: it says what only the SDK can write, or refuses to."""
        try:
            made = cls(orjson.dumps(body, option=_PLAIN))
        except (TypeError, ValueError):
            return None
        if not _is_plain(body):
            return None
        made.body = body
        return made


def _is_plain(body: JSON) -> bool:
    """Whether the SDK writes a body as orjson does: NaN it refuses, and 1e-7 it writes as 1e-07.

    Keys are not looked at: one that is more than a plain text orjson has refused.
    """
    left = [body]
    while left:
        value = left.pop()
        kind = type(value)
        if kind is dict:
            left += value.values()
        elif kind is list or kind is tuple:
            left += value
        elif kind is float:
            if value and not _SMALL <= abs(value) < _LARGE:
                return False
        elif kind not in _ALIKE:
            return False
    return True


class Address(NamedTuple):
    """An URL of one of the libraries with the parts of it that are looked at, which would be made anew each time."""

    whole: Any
    path: str
    host: str
    netloc: bytes

    def __str__(self) -> str:
        return str(self.whole)


class Draft(NamedTuple):
    """A request before it is built: as much of one as an exchange looks at."""

    method: str
    url: Address
    content: KnownJSON
    headers: Sequence[tuple[Any, Any]]
    """Of the request alone, without those of the HTTP client."""


def with_known_body(options: Any) -> Any:
    """The options of a call of the SDK, with a body that is known where it goes to a surface and is plain."""
    body = getattr(options, "json_data", None)  # here and below: a later SDK may have none
    if type(body) is dict and _is_sent_as_json(options) and surface_of(options.method.upper(), options.url):
        options.json_data = KnownJSON.of(body) or body
    return options


def _is_sent_as_json(options: Any) -> bool:
    """Whether the SDK sends the body alone, and as JSON: no form, and nothing that it merges into it."""
    if not all(getattr(options, name, "") is None for name in ("extra_json", "files", "content")):
        return False
    headers = getattr(options, "headers", None)
    return not isinstance(headers, Mapping) or not any(name.lower() == "content-type" for name in headers)


def draft_of(client: Any, options: Mapping[str, Any]) -> Draft | None:
    """The draft of a request that an HTTP client is to build; None where its body is not known or it needs care."""
    content, url, headers = options.get("content"), options.get("url"), options.get("headers")
    headers = getattr(headers, "raw", headers)  # openai 2 has an object of httpx, openai 3 a list
    if type(content) is not KnownJSON or url is None or type(headers) is not list:
        return None
    for pairs in (headers, client.headers.raw):
        if not _are_free(tuple([name for name, _ in pairs])):
            return None
    address = _address(client.base_url.__class__, str(url))
    return Draft("POST", address, content, headers) if address else None


@lru_cache(_KEPT)
def _are_free(names: tuple[str | bytes, ...]) -> bool:
    """Whether none of these headers asks for care."""
    return _SPOKEN_FOR.isdisjoint((name if isinstance(name, str) else name.decode("latin-1")).lower() for name in names)


@lru_cache(_KEPT)
def _address(kind: Callable[[str], Any], text: str) -> Address | None:
    """That of a whole URL, as one of the libraries reads it."""
    url = kind(text)
    return Address(url, url.path, url.host, url.netloc) if url.is_absolute_url else None
