"""A transaction of SQLite's as the store's queries are put to it, and its one writing connection.

A connection that writes keeps the checksum of each row by triggers of its own, which other programs never see.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import sqlite_utils

from .database import CHECKSUM, AnyWork, Row, checksum, utc_now

_COLUMNS = "SELECT name FROM pragma_table_info(?) ORDER BY cid"


class SqliteDatabase(sqlite_utils.Database):
    """A connection to a file."""

    kept: set[str] | None = None
    """Tables that have this connection's triggers; None: it writes no checksums."""

    def _keep(self, table: str) -> None:
        """Make a table's triggers before its first rows are written: all of them take 12 ms."""
        if self.kept is not None and table not in self.kept:
            names = [f'"{name}"' for (name,) in self.execute(_COLUMNS, [table]) if name != CHECKSUM]
            new = ", ".join(f"NEW.{name}" for name in names)
            for event in ("INSERT", f"UPDATE OF {', '.join(names)}"):
                self.execute(
                    f"CREATE TEMP TRIGGER IF NOT EXISTS {event[:6]}_{table} AFTER {event} ON main.{table} BEGIN"
                    f" UPDATE {table} SET {CHECKSUM} = {CHECKSUM}({new}) WHERE rowid = NEW.rowid; END"
                )
            self.kept.add(table)

    def add_rows(self, table: str, rows: Sequence[Row], conflict: str) -> int:
        """Insert rows of the same columns; how many went in."""
        self._keep(table)
        names = ", ".join(f'"{name}"' for name in rows[0])
        values = ", ".join(f":{name}" for name in rows[0])
        return self.conn.executemany(f"INSERT INTO {table} ({names}) VALUES ({values}) {conflict}", rows).rowcount

    def last_number(self) -> int:
        """The number that was given to the row that was inserted last."""
        return int(self.execute("SELECT last_insert_rowid()").fetchone()[0])

    def change(self, table: str, values: Row, where: str, parameters: Row) -> int:
        """Update the rows that a condition holds for; how many those were."""
        self._keep(table)
        news = ", ".join(f'"{name}" = :new_{name}' for name in values)
        named = {f"new_{name}": value for name, value in values.items()}
        return self.execute(f"UPDATE {table} SET {news} WHERE {where}", {**named, **parameters}).rowcount

    def now(self) -> str:
        """UTC in ISO 8601, by this machine's clock."""
        return utc_now()

    def columns(self) -> Mapping[str, Sequence[str]]:
        """The columns of each table, in their order; tables by name."""
        found = self.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        return {table: [name for (name,) in self.execute(_COLUMNS, [table])] for (table,) in found}

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
        db.conn.create_function(CHECKSUM, -1, checksum, deterministic=True)
        db.execute("PRAGMA temp_store = MEMORY")
        self.db, db.kept = db, set()

    def commit(self, works: Sequence[AnyWork]) -> list[Any]:
        """Do all in one transaction; what they came to."""
        try:
            with transaction(self.db):
                return [work.do(self.db) for work in works]
        except BaseException:
            self.db.kept = set()  # what triggers it had made are gone with it
            raise

    def close(self) -> None:
        """Bring what was committed into the file itself, if nobody reads the log; then close."""
        with suppress(sqlite3.Error):  # whoever reads may keep it from being emptied: the last to close does it then
            self.db.execute("PRAGMA busy_timeout = 200")
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.db.close()
