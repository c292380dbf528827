"""A request that is known before it is built: the prior enters it at once, and nothing is read, written or built twice.

The SDK's clients of ours have the JSON of a call at hand. They write it here, in place of the SDK (`with_known_body`),
so that what comes to the HTTP client that they were given is bytes which know what they say: a Draft, for `exchange`.
What is not as plain as that goes the way of every other request, which is read once it is built.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from marshal import dumps as marshalled
from typing import Any, NamedTuple, Self

import orjson

from ..records import JSON
from ..surfaces.http import PRIOR_HEADER, SEALED
from ..surfaces.routes import surface_of
from .scope import OURS

_SPOKEN_FOR = frozenset((PRIOR_HEADER, *OURS, *SEALED, "transfer-encoding"))
"""Headers of a request that has to be looked at as a whole."""
_PLAIN = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_FLOATS = re.compile(rb"e[-+]\d|0\.0000")
"""What may be a number that the SDK writes in another way: 1e-7 as 1e-07."""
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
            marshalled(body)  # refuses what orjson writes by itself: an Enum, an UUID
        except (TypeError, ValueError):
            return None
        if b"null" in made:  # which may have been no number
            return None
        if (b"e-" in made or b"e+" in made or b"0.0000" in made) and _FLOATS.search(made):
            return None
        made.body = body
        return made


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

    def built_by(self, client: Any, options: Mapping[str, Any], content: bytes, prior: str) -> Any:
        """The request as an HTTP client builds it of the options that it was drafted from, with a prior in it."""
        headers = [*options["headers"], (PRIOR_HEADER, prior)]
        return client.build_request(**{**options, "url": self.url.whole, "content": content, "headers": headers})


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
    if type(content) is not KnownJSON or not isinstance(url, str) or type(headers) is not list:
        return None
    for pairs in (headers, client.headers.raw):
        if not _are_free(tuple([name for name, _ in pairs])):
            return None
    return Draft("POST", _address(client.base_url.__class__, url), content)


@lru_cache(_KEPT)
def _are_free(names: tuple[str | bytes, ...]) -> bool:
    """Whether none of these headers asks for care."""
    return _SPOKEN_FOR.isdisjoint((name if isinstance(name, str) else name.decode("latin-1")).lower() for name in names)


@lru_cache(_KEPT)
def _address(kind: Callable[[str], Any], text: str) -> Address:
    """That of an URL, as one of the libraries reads it."""
    url = kind(text)
    return Address(url, url.path, url.host, url.netloc)
