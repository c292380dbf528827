"""Requests made from the one before: of what an HTTP client built last, the next mostly differs by its content alone.

To build one, the libraries merge headers and read them over several times, which takes longer than all that a prior
does.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MethodType
from typing import Any, NamedTuple

from ..surfaces.http import PRIOR_HEADER, Rewrite
from .ahead import Draft

_KEPT = 256
"""Classes of HTTP clients."""


class Cast(NamedTuple):
    """A request that was built, less its content."""

    state: tuple[Any, ...]
    """All that its content does not tell."""
    kind: Callable[..., Any]
    stream: Callable[[bytes], Any]
    url: Any
    headers: Any
    timeouts: Mapping[str, Any]

    def filled(self, content: bytes) -> Any:
        """A request like it, of another content."""
        stream, extensions = self.stream(content), {"timeout": {**self.timeouts}}
        made = self.kind("POST", self.url, headers=self.headers, stream=stream, extensions=extensions)
        made.headers.encoding = self.headers.encoding  # which it would look for anew
        made.headers["Content-Length"] = str(len(content))
        made.read()
        return made


class Mould:
    """The last request that an HTTP client built, and what others are made of it."""

    _kept: Cast | None = None

    def request(self, client: Any, options: Mapping[str, Any], draft: Draft, entered: Rewrite) -> Any:
        """What the HTTP client builds of the options that a request was drafted from, with a prior in it."""
        content, headers = entered.content, [*draft.headers, (PRIOR_HEADER, entered.prior)]
        assert content is not None, "a prior has entered it"
        asked = {**options, "url": draft.url.whole, "content": content, "headers": headers}
        if client.cookies or client.params:
            return client.build_request(**asked)
        limits: Any = options.get("timeout")
        if hasattr(limits, "as_dict"):
            limits = limits.as_dict()  # its owner may alter it in place
        state = {**asked, "content": None, "timeout": limits}, client.headers.raw
        kept = self._kept
        if kept and kept.state == state:
            return kept.filled(content)
        made = client.build_request(**asked)
        if made.extensions.keys() == {"timeout"} and "timeout" in options:
            parts = type(made.stream), made.url, made.headers.copy(), {**made.extensions["timeout"]}
            self._kept = Cast(state, type(made), *parts)
        return made


def builds_plainly(client: Any) -> bool:
    """Whether an HTTP client builds requests as its library does, and adds nothing of its own."""
    built = client.build_request
    return type(built) is MethodType and built.__func__ is _library_built(client.__class__)


@lru_cache(_KEPT)
def _library_built(kind: type) -> Any:
    """How the library builds requests that a class of HTTP client comes from."""
    return next(one.build_request for one in reversed(kind.__mro__) if hasattr(one, "build_request"))
