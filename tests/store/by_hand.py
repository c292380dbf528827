"""SQL by hand: what is in a store, and what another program does to it."""

import sqlite3
from contextlib import closing
from typing import Any

import psycopg
import pytest

from tfgrpo.store import Store, StoreUrl
from tfgrpo.store.file import StoreFile


def found(store: Store, sql: str) -> list[tuple[Any, ...]]:
    """Rows of an open store."""
    with store._read("looking") as db:
        return [tuple(row) for row in db.execute(sql).fetchall()]


def tamper(store: Store, sql: str) -> None:
    """Change it as another program would."""
    if isinstance(store.path, StoreUrl):
        with psycopg.connect(
            store.path.dsn, options="-c search_path=tfgrpo -c session_replication_role=replica"
        ) as conn:
            conn.execute(sql.encode())
        return
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute(sql)


def file_engine(store: Store) -> StoreFile:
    """The engine of a store that is a file."""
    if not isinstance(store._engine, StoreFile):
        pytest.skip("it is SQLite that is looked into")
    return store._engine
