"""Small queries that several parts of the store need: one row by the beginning of its id, a namespace."""

from typing import Any

from sqlite_utils import Database

from ..errors import StoreError
from .writer import ONCE, insert


def one_row(db: Database, table: str, noun: str, given: str, prefix: str | None = None) -> dict[str, Any]:
    """The row whose id is `given`, or the only one whose id begins so, with or without its prefix (the noun's)."""
    prefix = f"{prefix or noun}_"
    start = given if given.startswith(prefix) else f"{prefix}{given}"
    found = list(db.query(f"SELECT * FROM {table} WHERE substr(id, 1, ?) = ? LIMIT 2", [len(start), start]))
    if not found:
        group = "runs" if noun == "run" else noun
        raise StoreError(f"there is no {noun} {given} in the store; `tfgrpo {group} list` shows what there is")
    if len(found) > 1:
        raise StoreError(f"several {noun}s begin with {given}; give more of the id")
    return found[0]


def add_namespace(db: Database, name: str, model: str | None = None) -> None:
    """Add a namespace when it is new; the first model that it is used with stays its model."""
    insert(db, "namespaces", [{"name": name}], ONCE)
    db.execute("UPDATE namespaces SET model = ? WHERE name = ? AND model IS NULL", [model, name])
