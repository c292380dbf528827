"""Who looks at the dashboard, and that what they send comes from one of its own pages. Pure.

Where the proxy asks for keys, a person logs in with an admin key once; the cookie that follows holds no key, but the
key's public id, a time, and a code over both by the key's digest and a secret of the running server. So it ends with
the server, with the key, and with the day.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie

from ...store import AccessKey

COOKIE = "tfgrpo_dashboard"
HOME = "/tfgrpo/"
SESSION_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person who may see everything."""

    name: str
    """As it stands in the history."""
    token: str
    """Goes into each form, and comes back with it."""
    logged_in: bool
    """Whether there is something to log out of."""


def begun_session(secret: bytes, key: AccessKey, now: float) -> str:
    """The value of the cookie."""
    ends = f"{key.id}.{int(now) + SESSION_SECONDS}"
    return f"{ends}.{_code(secret, 'session', key.digest, ends)}"


def session_key(secret: bytes, cookies: str, known: Mapping[str, AccessKey], now: float) -> AccessKey | None:
    """The admin key that a session was begun with, from a Cookie header; None where there is none, or no more."""
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    id_, _, rest = (found.value if found else "").partition(".")
    ends, _, code = rest.partition(".")
    key = known.get(id_)
    if key is None or key.revoked or not key.admin or not (ends.isascii() and ends.isdecimal()):
        return None
    right = hmac.compare_digest(code.encode(), _code(secret, "session", key.digest, f"{id_}.{ends}").encode())
    return key if right and now < int(ends) else None


def visitor_of(secret: bytes, key: AccessKey | None) -> Visitor:
    """Who brings this key; None: whoever is at this machine."""
    name = key.name if key else "dashboard"
    return Visitor(name, _code(secret, "form", key.digest if key else "", key.id if key else ""), key is not None)


def is_own(headers: Mapping[str, str], token: str, expected: str) -> bool:
    """Whether a form comes from a page of ours: by what it holds, and by where the browser says it is from.

    Browsers say so by Sec-Fetch-Site where they trust the connection; else by Origin, which a proxy in between that
    gives us another Host would make look foreign.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin", "")
    named = origin.partition("://")[2].lower() == headers.get("host", "").lower() != ""
    same = named if site is None else site == "same-origin"
    return same and hmac.compare_digest(token.encode(), expected.encode())


def safe_target(target: str) -> str:
    """Where a login goes on to: a page of ours, whatever was asked for."""
    plain = target.isprintable() and "\\" not in target and "//" not in target
    return target if target.startswith(HOME) and plain else HOME


def _code(secret: bytes, purpose: str, digest: str, text: str) -> str:
    return hmac.new(secret, f"{purpose} {digest} {text}".encode(), sha256).hexdigest()
