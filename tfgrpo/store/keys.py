"""Who may call the proxy: keys by their hashes, with the namespace and the budget of each, and what each has spent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..errors import InputError, StoreError
from .database import ONCE, Database, Row, insert
from .opened import OpenStore

_MOST = 2**63 - 1
"""What SQLite keeps whole."""
_LISTED = """
SELECT keys.id, digest, name, namespace, admin, max_calls, max_tokens, keys.at, revocations.at AS revoked,
    coalesce(sum(calls), 0) AS calls, coalesce(sum(tokens), 0) AS tokens
FROM keys LEFT JOIN revocations ON revocations.key = keys.id LEFT JOIN key_use ON key_use.key = keys.id
GROUP BY keys.id, revocations.at ORDER BY keys.at, keys.id
"""
_SPENT = """
ON CONFLICT (key, day)
DO UPDATE SET calls = key_use.calls + excluded.calls, tokens = key_use.tokens + excluded.tokens
"""


class KeySpending(NamedTuple):
    """What calls under one key came to."""

    calls: int = 0
    tokens: int = 0

    def plus(self, calls: int, tokens: int) -> "KeySpending":
        """The sum of both."""
        return KeySpending(self.calls + calls, self.tokens + tokens)


NOTHING_SPENT = KeySpending()


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key of the proxy, as far as the store knows it: whose it is, and what it may do. The key itself is not here."""

    id: str
    """The public part of the key."""
    digest: str = field(repr=False)
    """SHA-256 of the whole key, in hex."""
    name: str
    """Whose it is, for people."""
    namespace: str | None = None
    """That its calls get the prior of; None: the proxy's own, or the one that a call names."""
    admin: bool = False
    """Whether it may also read figures and any prior."""
    max_calls: int | None = None
    max_tokens: int | None = None
    spent: KeySpending = NOTHING_SPENT
    """As of the last time that proxies wrote it down, which is every few seconds."""
    revoked: str | None = None
    """When, UTC in ISO 8601."""
    at: str = ""

    def __post_init__(self) -> None:
        """Raises InputError for a budget of nothing."""
        for option, value in (("--max-calls", self.max_calls), ("--max-tokens", self.max_tokens)):
            if value is not None and not 1 <= value <= _MOST:
                raise InputError(f"{option} {value}: a key's budget is from 1 to {_MOST}; leave it out for no limit")

    def used_up(self, more: KeySpending = NOTHING_SPENT) -> str | None:
        """Which part of its budget is used up, with what was spent since it was written down; None: there is some."""
        if self.max_calls is not None and self.spent.calls + more.calls >= self.max_calls:
            return f"{self.max_calls:,} calls"
        if self.max_tokens is not None and self.spent.tokens + more.tokens >= self.max_tokens:
            return f"{self.max_tokens:,} tokens"
        return None


class KeyStore(OpenStore):
    """The part of the store that knows who may call the proxy."""

    def add_key(self, key: AccessKey) -> None:
        """Let a key call from now on."""
        row: Row = {
            "id": key.id, "digest": key.digest, "name": key.name, "namespace": key.namespace, "admin": int(key.admin),
            "max_calls": key.max_calls, "max_tokens": key.max_tokens,
        }  # fmt: skip
        self._write(f"adding key {key.id}", lambda db: insert(db, "keys", [row]))

    def revoke_key(self, id_: str) -> None:
        """Refuse a key for ever; one that is revoked already stays so."""

        def work(db: Database) -> None:
            if not db.execute("SELECT 1 FROM keys WHERE id = ?", [id_]).fetchone():
                raise StoreError("there is no key of that id; `tfgrpo keys list` shows them (it is no part of the key)")
            insert(db, "revocations", [{"key": id_}], ONCE)

        self._write("revoking a key", work)  # what was given may be the key itself

    def access_keys(self) -> tuple[AccessKey, ...]:
        """All keys, revoked ones too, the oldest first."""
        with self._read("reading its keys") as db:
            return tuple(_key(row) for row in db.query(_LISTED))

    def add_spending(self, spent: Mapping[str, KeySpending]) -> None:
        """Add what calls under each key came to."""

        def work(db: Database) -> None:
            day = db.now()[:10]
            added: list[Row] = [{"key": key, "day": day, **each._asdict()} for key, each in sorted(spent.items())]
            insert(db, "key_use", added, _SPENT)

        self._write("adding what keys spent", work)


def _key(row: dict[str, Any]) -> AccessKey:
    spent = KeySpending(row.pop("calls"), row.pop("tokens"))
    return AccessKey(**(row | {"admin": bool(row["admin"]), "spent": spent}))
