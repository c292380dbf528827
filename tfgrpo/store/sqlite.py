"""A transaction of SQLite's as the store's queries are put to it.

A connection that writes keeps the checksum of each row: of what it changes by triggers of its own, which other programs
never see, of what it adds when all of it is there, since a trigger would double what that takes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlite_utils

from .database import CHECKSUM, Row, checksum, utc_now

_COLUMNS = "SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid"


class SqliteDatabase(sqlite_utils.Database):
    """A connection to a file."""

    kept: set[str] | None = None
    """Tables whose changes this connection's triggers see; None: it writes no checksums."""

    def write_checksums(self) -> None:
        """From now on whatever is written by this connection gets its checksum."""
        self.conn.create_function(CHECKSUM, -1, checksum, deterministic=True)
        self.execute("PRAGMA temp_store = MEMORY")
        self.kept = set()

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._shapes: dict[str, tuple[str, str | None]] = {}

    def add_rows(self, table: str, rows: Sequence[Row], conflict: str) -> int:
        """Insert rows of the same columns; how many went in."""
        if "UPDATE" in conflict:
            self._keep(table)
        columns = list(rows[0])
        names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
        values = [[row[name] for name in columns] for row in rows]  # by name it takes a third longer
        last = self.execute(f"SELECT coalesce(max(rowid), 0) FROM {table}").fetchone()
        added = self.conn.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks}) {conflict}", values).rowcount
        if self.kept is not None:
            sealed, number = self._shape(table)
            which, places = (
                ("rowid = ?", [[row[number]] for row in rows]) if number in columns else ("rowid > ?", [last])
            )
            new = f"UPDATE {table} SET {CHECKSUM} = {CHECKSUM}({sealed}) WHERE {which} AND {CHECKSUM} = '00000000'"
            self.conn.executemany(new, places)
        return added

    def _shape(self, table: str) -> tuple[str, str | None]:
        """The columns that a checksum covers, and the one that is the number of a row, by a name of its own."""
        if table not in self._shapes:
            found = self.execute(_COLUMNS, [table]).fetchall()
            sealed = ", ".join(f'"{name}"' for name, _, _ in found if name != CHECKSUM)
            keys = [name if kind == "INTEGER" else None for name, kind, place in found if place]
            self._shapes[table] = sealed, keys[0] if len(keys) == 1 else None
        return self._shapes[table]

    def _keep(self, table: str) -> None:
        """Make a table's trigger before its first rows are changed: all of them take 6 ms."""
        if self.kept is not None and table not in self.kept:
            sealed, _ = self._shape(table)
            self.execute(
                f"CREATE TEMP TRIGGER IF NOT EXISTS update_{table} AFTER UPDATE OF {sealed} ON main.{table} BEGIN"
                f" UPDATE {table} SET {CHECKSUM} = {CHECKSUM}({sealed}) WHERE rowid = NEW.rowid; END"
            )
            self.kept.add(table)

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
        return {table: [name for name, _, _ in self.execute(_COLUMNS, [table])] for (table,) in found}

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
        if self._shape(table)[1]:  # which is the rowid
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
