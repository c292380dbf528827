"""Keys of the proxy's own: made, hashed, and found again among those of the store. Pure, but for the making.

A key is `tfgrpo-ID-SECRET`. The secret has 256 random bits, so its hash needs no salt and no slow function; what is
compared takes the same time however much of it is right.
"""

import hmac
import secrets
from collections.abc import Mapping
from hashlib import sha256

from ..store.keys import AccessKey

_PREFIX = "tfgrpo"


def new_key(
    name: str,
    *,
    namespace: str | None = None,
    admin: bool = False,
    max_calls: int | None = None,
    max_tokens: int | None = None,
) -> tuple[str, AccessKey]:
    """A key to be shown once, and what the store is to know of it."""
    id_ = secrets.token_hex(4)
    text = f"{_PREFIX}-{id_}-{secrets.token_urlsafe(32)}"
    return text, AccessKey(id_, _digest(text), name, namespace, admin, max_calls, max_tokens)


def find_key(presented: str, known: Mapping[str, AccessKey]) -> AccessKey | None:
    """The key that was presented, revoked or not; None: there is none such."""
    prefix, _, rest = presented.partition("-")
    found = known.get(rest.partition("-")[0]) if prefix == _PREFIX else None
    digest = _digest(presented)
    return found if hmac.compare_digest(digest, found.digest if found else "0" * len(digest)) else None


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
