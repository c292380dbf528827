"""Who may call: by a key of ours, or from this machine alone, never a page in somebody's browser. Pure.

A proxy that holds the upstream's key must not lend it to whoever reaches its port. So one with keys of its own asks for
one; and one without listens on this machine only, where a web page could still reach it, by a foreign Origin or by a
name of its own that resolves to 127.0.0.1 (DNS rebinding): both are refused.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import InputError
from ...store.keys import NOTHING_SPENT, AccessKey, KeySpending
from ...surfaces.http import PRIOR_HEADER
from ..keys import find_key
from ..scope import NAMESPACE_HEADER, is_disabled
from .headers import CREDENTIALS
from .relay import LOOPBACK

_EVERYWHERE = ("0.0.0.0", "::", "")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call goes no further."""

    status: int
    code: str
    message: str
    kind: str = "invalid_request_error"

    @property
    def lines(self) -> Iterable[tuple[bytes, bytes]]:
        """Headers that go with it."""
        if self.status == 501:
            return ((b"connection", b"close"),)  # what follows is no HTTP that we speak
        if self.kind == "insufficient_quota":
            return ((b"x-should-retry", b"false"),)  # SDKs heed it: it will not get better
        return ((b"retry-after", b"1"),) if self.status in (429, 503) else ()


@dataclass(frozen=True, slots=True)
class Door:
    """Who may call a proxy, as it was started. The default is for a proxy within an application that sees to it."""

    keys_only: bool = False
    """Nobody calls without a key of ours, even when the store has none (any more)."""
    local: bool = True
    """It listens on this machine only, so that figures and priors need no key."""
    hosts: Collection[str] | None = None
    """Names that a Host header may have where no key is asked for; None: any."""
    origins: Collection[str] = ()
    """Of web pages that may call without a key of ours."""

    @classmethod
    def at(
        cls, host: str, *, lends_a_key: bool, has_keys: bool, hosts: Collection[str] = (), origins: Collection[str] = ()
    ) -> "Door":
        """For a proxy that listens on `host`; `lends_a_key` to an upstream. InputError where that would be open."""
        local = host in LOOPBACK
        if lends_a_key and not local and not has_keys:
            raise InputError(
                f"--host {host} with a key for the upstream would lend it to everybody who reaches this port;"
                " make keys for your callers first: tfgrpo keys add NAME"
            )
        allowed = None if not local and not hosts else {*LOOPBACK, *hosts, *(() if host in _EVERYWHERE else (host,))}
        return cls(has_keys, local, allowed, origins)

    def guards(self, keys: Mapping[str, AccessKey]) -> bool:
        """Whether what tells something of the store needs a key of ours."""
        return self.keys_only or bool(keys) or not self.local

    def refusal(self, headers: Mapping[str, str], key: AccessKey | None, asked: bool) -> Refusal | None:
        """Why a call may not be made at all; None: it may. `asked`: a key of ours is needed, and `key` was found."""
        if asked:
            return _no_key(headers) if key is None else _REVOKED if key.revoked else None
        host = _name_of(headers.get("host", "localhost"))  # browsers always name one
        if self.hosts is not None and host not in self.hosts:
            return Refusal(403, "host_not_allowed", f"this proxy is not called {host!r}: see --allow-host")
        if _is_foreign(headers, self.origins):
            return Refusal(403, "origin_not_allowed", "web pages may not call this proxy: see --allow-origin, or keys")
        return None


def presented_key(headers: Mapping[str, str], known: Mapping[str, AccessKey]) -> AccessKey | None:
    """The key of ours that a call brings, in any of the headers that SDKs use."""
    for name in CREDENTIALS:
        if given := headers.get(name):
            return find_key(given[7:].strip() if given[:7].lower() == "bearer " else given, known)
    return None


def over_budget(key: AccessKey, more: KeySpending = NOTHING_SPENT) -> Refusal | None:
    """Why a key that was found may call no more."""
    if used := key.used_up(more):
        message = f"the budget of key {key.id}, {used}, is used up; a new key has a new one: tfgrpo keys add"
        return Refusal(429, "insufficient_quota", message, "insufficient_quota")
    return None


class Wish(NamedTuple):
    """What a caller asks of us, beside the call itself."""

    namespace: str | None = None
    """None: the proxy's own."""
    disabled: bool = False


_NO_WISH = Wish()


def wish_of(headers: Mapping[str, str], key: AccessKey | None) -> Wish | Refusal:
    """What the headers and the key together ask for."""
    named = headers.get(NAMESPACE_HEADER)
    bound = key.namespace if key and not key.admin else None
    if named and bound and named != bound:
        return Refusal(403, "namespace_not_allowed", f"this key is for namespace {bound!r}")
    disabled = is_disabled(headers)
    if not (key or named or disabled):
        return _NO_WISH
    own = key.namespace if key else None
    return Wish(named or own, disabled and PRIOR_HEADER not in headers)


def _no_key(headers: Mapping[str, str]) -> Refusal:
    given = any(name in headers for name in CREDENTIALS)
    message = "this is no key of this proxy" if given else "this proxy needs a key"
    return Refusal(401, "invalid_api_key", f"{message}; whoever runs it makes one: tfgrpo keys add NAME")


_REVOKED = Refusal(401, "invalid_api_key", "this key was revoked; whoever runs this proxy makes a new one")


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    return name.lower().rstrip(".")


def _is_foreign(headers: Mapping[str, str], origins: Collection[str]) -> bool:
    """Whether a web page of elsewhere sends this; browsers say so in one of two headers."""
    origin = headers.get("origin")
    if origin is not None:
        name = origin.lower().partition("://")[2]  # no URL is parsed: what strangers write need not be one
        return origin not in origins and (not name or name != headers.get("host", "").lower())
    return headers.get("sec-fetch-site") in ("cross-site", "same-site")
