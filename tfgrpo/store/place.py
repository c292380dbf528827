"""Where a store is: a file, or a database of PostgreSQL's."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

_SCHEMES = ("postgresql://", "postgres://")
_SECRETS = ("password", "sslpassword")


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A database of PostgreSQL's that holds a store. As text it has no password."""

    dsn: str = field(repr=False)
    """As libpq reads it, secrets and all."""

    def __str__(self) -> str:
        try:
            parts = urlsplit(self.dsn)
        except ValueError:  # a bracket that is not closed
            return "postgresql://..."
        user, at, place = parts.netloc.rpartition("@")
        told = [(name, value) for name, value in parse_qsl(parts.query) if name.lower() not in _SECRETS]
        query = f"?{urlencode(told, safe='/', quote_via=quote)}" if told else ""
        return f"postgresql://{user.partition(':')[0]}{at}{place}{parts.path}{query}"


StorePath: TypeAlias = Path | StoreUrl
"""What a store is named by, once it was understood."""


def store_place(given: "str | StorePath") -> StorePath:
    """A file, or a database where a URL of PostgreSQL's is given."""
    if isinstance(given, str):
        return StoreUrl(given) if given.startswith(_SCHEMES) else Path(given)
    return given


def default_store_path(given: "str | StorePath | None" = None) -> StorePath:
    """What `--store` names, else TFGRPO_STORE, else ./tfgrpo.db."""
    place = store_place(given or os.environ.get("TFGRPO_STORE") or "tfgrpo.db")
    try:
        return place.expanduser() if isinstance(place, Path) else place
    except RuntimeError:  # no user of that name: opening it will say that there is no such folder
        return place
