"""SQL by hand: what is in a store, and what another program does to it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tfgrpo.store import Store
from tfgrpo.store.file import StoreFile


def found(store: Store, sql: str) -> list[tuple[Any, ...]]:
    """Rows of an open store."""
    with store._read("looking") as db:
        return [tuple(row) for row in db.execute(sql).fetchall()]


def tamper(store: Store, sql: str) -> None:
    """Change it as another program would."""
    assert isinstance(store.path, Path)
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute(sql)


def file_engine(store: Store) -> StoreFile:
    """The engine of a store that is a file."""
    assert isinstance(store._engine, StoreFile)
    return store._engine
