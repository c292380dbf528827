"""A transaction of SQLite's as the store's queries are put to it, and its one writing connection.

Connections that write keep the checksum of each row by triggers of their own, which other programs never see.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import sqlite_utils

from .database import CHECKSUM, AnyWork, Row, checksum, sealed_tables, utc_now


class SqliteDatabase(sqlite_utils.Database):
    """A connection to a file."""

    def add_rows(self, table: str, rows: Sequence[Row], conflict: str) -> int:
        """Insert rows of the same columns; how many went in."""
        names = ", ".join(f'"{name}"' for name in rows[0])
        values = ", ".join(f":{name}" for name in rows[0])
        return self.conn.executemany(f"INSERT INTO {table} ({names}) VALUES ({values}) {conflict}", rows).rowcount

    def last_number(self) -> int:
        """The number that was given to the row that was inserted last."""
        return int(self.execute("SELECT last_insert_rowid()").fetchone()[0])

    def change(self, table: str, values: Row, where: str, parameters: Row) -> int:
        """Update the rows that a condition holds for; how many those were."""
        news = ", ".join(f'"{name}" = :new_{name}' for name in values)
        named = {f"new_{name}": value for name, value in values.items()}
        return self.execute(f"UPDATE {table} SET {news} WHERE {where}", {**named, **parameters}).rowcount

    def now(self) -> str:
        """UTC in ISO 8601, by this machine's clock."""
        return utc_now()

    def columns(self) -> Mapping[str, Sequence[str]]:
        """The columns of each table, in their order; tables by name."""
        found = self.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        columns = "SELECT name FROM pragma_table_info(?) ORDER BY cid"
        return {table: [name for (name,) in self.execute(columns, [table])] for (table,) in found}

    def contents(self, table: str) -> Iterator[dict[str, Any]]:
        """All rows of a table, each with its `rowid`, by that; bytes that are no text come as surrogates."""
        before = self.conn.text_factory
        self.conn.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        try:
            found = self.conn.execute(f"SELECT rowid AS rowid, * FROM {table} ORDER BY 1")
            names = [column[0] for column in found.description]
            yield from (dict(zip(names, row, strict=True)) for row in found)
        finally:
            self.conn.text_factory = before

    def restore(self, table: str, rows: Sequence[Row]) -> None:
        """Insert whole rows as another store's `contents` gave them."""
        keys = self.execute("SELECT type FROM pragma_table_info(?) WHERE pk > 0", [table]).fetchall()
        if keys == [("INTEGER",)]:  # which is the rowid, by its own name
            rows = [{name: value for name, value in row.items() if name != "rowid"} for row in rows]
        self.add_rows(table, rows, "")

    def number_on(self) -> None:
        """SQLite looks at the last row by itself."""

    def announce(self, namespace: str) -> None:
        """Nobody listens to a file."""


@contextmanager
def transaction(db: SqliteDatabase) -> Iterator[None]:
    """A transaction that takes the write lock at once, so that what it reads cannot change before it writes."""
    db.execute("BEGIN IMMEDIATE")
    with db.conn:
        yield


class SqliteLedger:
    """The connection that a process writes by."""

    common: tuple[type[Exception], ...] = (sqlite3.OperationalError,)

    def __init__(self, db: SqliteDatabase) -> None:
        keep_checksums(db)
        self.db = db

    def commit(self, works: Sequence[AnyWork]) -> list[Any]:
        """Do all in one transaction; what they came to."""
        with transaction(self.db):
            return [work.do(self.db) for work in works]

    def close(self) -> None:
        """Bring what was committed into the file itself, if nobody reads the log; then close."""
        with suppress(sqlite3.Error):  # whoever reads may keep it from being emptied: the last to close does it then
            self.db.execute("PRAGMA busy_timeout = 200")
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.db.close()


def keep_checksums(db: SqliteDatabase) -> None:
    """From now on whatever this connection inserts or updates gets its checksum."""
    db.conn.create_function(CHECKSUM, -1, checksum, deterministic=True)
    db.execute("PRAGMA temp_store = MEMORY")
    for table, columns in sealed_tables(db):
        new = ", ".join(f'NEW."{name}"' for name in columns)
        names = ", ".join(f'"{name}"' for name in columns)
        for event in ("INSERT", f"UPDATE OF {names}"):
            db.execute(
                f"CREATE TEMP TRIGGER {event[:6]}_{table} AFTER {event} ON main.{table} BEGIN"
                f" UPDATE {table} SET {CHECKSUM} = {CHECKSUM}({new}) WHERE rowid = NEW.rowid; END"
            )


def add_checksums(db: SqliteDatabase) -> None:
    """Give every row its checksum: a migration has changed what it covers."""
    db.conn.create_function(CHECKSUM, -1, checksum, deterministic=True)
    for table, columns in sealed_tables(db):
        names = ", ".join(f'"{name}"' for name in columns)
        db.execute(f"UPDATE {table} SET {CHECKSUM} = {CHECKSUM}({names})")
