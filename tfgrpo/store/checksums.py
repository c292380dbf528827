"""A checksum in every row, so that a flipped byte, or another program's change, does not pass for what was written.

Connections that write keep it by triggers of their own, which other programs never see; `verify` computes it anew. It
covers all columns: also those (figures, times, verdicts) that enter no id.
"""

import zlib
from collections.abc import Iterator

from sqlite_utils import Database

from .writer import Value

_COLUMN = "checksum"


def checksum(*values: Value) -> str:
    """CRC-32 over types, lengths and bytes of a row's values, as 8 hex digits."""
    crc = 0
    for value in values:
        data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
        crc = zlib.crc32(data, zlib.crc32(f"{type(value).__name__} {len(data)} ".encode(), crc))
    return f"{crc:08x}"


def keep_checksums(db: Database) -> None:
    """From now on whatever this connection inserts or updates gets its checksum."""
    db.conn.create_function(_COLUMN, -1, checksum, deterministic=True)
    db.execute("PRAGMA temp_store = MEMORY")
    for table, columns in _sealed(db):
        new = ", ".join(f'NEW."{name}"' for name in columns)
        names = ", ".join(f'"{name}"' for name in columns)
        for event in ("INSERT", f"UPDATE OF {names}"):
            db.execute(
                f"CREATE TEMP TRIGGER {event[:6]}_{table} AFTER {event} ON main.{table} BEGIN"
                f" UPDATE {table} SET {_COLUMN} = {_COLUMN}({new}) WHERE rowid = NEW.rowid; END"
            )


def add_checksums(db: Database) -> None:
    """Give every row its checksum: a migration has changed what it covers."""
    db.conn.create_function(_COLUMN, -1, checksum, deterministic=True)
    for table, columns in _sealed(db):
        names = ", ".join(f'"{name}"' for name in columns)
        db.execute(f"UPDATE {table} SET {_COLUMN} = {_COLUMN}({names})")


def wrong_checksums(db: Database) -> Iterator[str]:
    """The rows whose content does not fit their checksum, a line each."""
    before = db.conn.text_factory
    db.conn.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")  # a damaged text must be read to be told
    try:
        for table, columns in _sealed(db):
            names = ", ".join(f'"{name}"' for name in columns)
            for rowid, found, *values in db.conn.execute(f"SELECT rowid, {_COLUMN}, {names} FROM {table}"):
                if found != checksum(*values):
                    yield f"{table} row {rowid}: damaged, or changed by another program: it does not fit its checksum"
    finally:
        db.conn.text_factory = before


def _sealed(db: Database) -> Iterator[tuple[str, list[str]]]:
    """The tables whose rows carry a checksum, and the columns that it covers."""
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    for table in tables:
        columns = [row[0] for row in db.execute("SELECT name FROM pragma_table_info(?) ORDER BY cid", [table])]
        if _COLUMN in columns:
            yield table, [name for name in columns if name != _COLUMN]
