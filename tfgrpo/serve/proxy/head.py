"""The head of a call: its first line and headers, whether it may go on, and what it asks of us. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from ...store import AccessKey, KeySpending
from ...surfaces.http import Reason, why_not
from ...surfaces.routes import surface_of
from ...surfaces.surface import Surface
from .asgi import Scope
from .door import Door, Refusal, over_budget, presented_key, wish_of
from .headers import header_texts
from .paths import may_go_on
from .shelf import Held

TOO_LONG_BODY = Refusal(413, "request_too_large", "the body of this request is longer than this proxy relays")
BAD_PATH = Refusal(400, "bad_path", "a path begins with '/' and may not hold '..', however it is written")
_BAD_LENGTH = Refusal(400, "bad_length", "Content-Length must be a number")
_NO_UPGRADE = Refusal(501, "no_websockets", "web sockets are not relayed; send this call as plain HTTP")
_NO_TRACE = Refusal(
    405, "no_trace", "TRACE is not relayed: its answer shows the headers of the request, keys among them"
)
_NO_TRAILERS = Refusal(501, "no_trailers", "trailers are not relayed; send their fields as headers")


class Head(NamedTuple):
    """What of a call is known before its body."""

    method: str
    path: str
    raw_path: bytes
    query: bytes
    lines: Sequence[tuple[bytes, bytes]]
    """Of its headers, names in lower case."""
    given: Mapping[str, str]
    """The same by name, as text."""
    surface: Surface | None

    @classmethod
    def of(cls, scope: Scope) -> Self:
        """The head as ASGI gives it."""
        lines, method, path = scope["headers"], scope["method"], scope["path"]
        given, surface = header_texts(lines), surface_of(method, path)
        return cls(method, path, scope["raw_path"], scope["query_string"], lines, given, surface)

    @property
    def has_body(self) -> bool:
        """Whether something follows."""
        return "content-length" in self.given or "transfer-encoding" in self.given

    @property
    def encoding(self) -> str:
        """How its body is packed; empty where it is not."""
        return self.given.get("content-encoding", "").strip().lower()

    def fault(self, most: int) -> Refusal | None:
        """Why a call with this head is not relayed, whoever makes it; `most` is of its body, in bytes."""
        if not may_go_on(self.raw_path):
            return BAD_PATH
        if "websocket" in self.given.get("upgrade", "").lower():
            return _NO_UPGRADE
        if self.method == "TRACE":
            return _NO_TRACE
        if "trailer" in self.given:
            return _NO_TRAILERS
        length = self.given.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            return _BAD_LENGTH
        return TOO_LONG_BODY if int(length) > most else None


class Admitted(NamedTuple):
    """A call that may be made, and what it asks of us."""

    key: AccessKey | None = None
    """Of ours, by which it is made."""
    namespace: str | None = None
    """None: the proxy's own, unless its model names one."""
    reason: Reason | None = None
    """Why it gets no prior, as far as its head tells."""

    def may_have(self, namespace: str) -> bool:
        """Whether its key is for that namespace."""
        return self.key is None or self.key.admin or self.key.namespace in (None, namespace)


_ANYBODY = Admitted()


def identified(head: Head, door: Door, held: Held) -> AccessKey | Refusal | None:
    """The key of ours that a caller brings; None: none is asked for."""
    asked = door.keys_only or bool(held.keys)
    key = presented_key(head.given, held.keys) if asked else None
    return door.refusal(head.given, key, asked) or key


def admitted(head: Head, key: AccessKey | None, spent: KeySpending) -> Admitted | Refusal:
    """Whether a caller who is known may make this call, with what was spent under the key since it was looked up."""
    if key and (refusal := over_budget(key, spent)):
        return refusal
    wish = wish_of(head.given, key)
    if isinstance(wish, Refusal):
        return wish
    reason = "disabled" if wish.disabled else why_not(head.method, head.path, head.given)
    return Admitted(key, wish.namespace, reason) if key or wish.namespace or reason else _ANYBODY
