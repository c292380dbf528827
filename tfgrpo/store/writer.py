"""How rows are written: by the one writer of a process, each with a checksum.

Writes that wait together share a transaction. A flipped byte, or another program's change, does not pass for what was
written: connections that write keep the checksum by triggers of their own, which other programs never see, and `verify`
computes it anew. It covers all columns: also those (figures, times, verdicts) that enter no id.
"""

import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeAlias, TypeVar

from sqlite_utils import Database

from ..errors import StoreError

T = TypeVar("T")
Value: TypeAlias = str | int | float | bytes | None
Row: TypeAlias = dict[str, Value]

WRITES_TOGETHER = 256
"""Writes in one transaction, at most: other processes wait for it."""


def insert(db: Database, table: str, rows: Sequence[Row], conflict: str = "") -> int:
    """Insert rows of the same columns; the number of rows that went in. `conflict` is an ON CONFLICT clause."""
    if not rows:
        return 0
    names = ", ".join(rows[0])
    values = ", ".join(f":{name}" for name in rows[0])
    return db.conn.executemany(f"INSERT INTO {table} ({names}) VALUES ({values}) {conflict}", rows).rowcount


ONCE = "ON CONFLICT DO NOTHING"
"""A row that is there already stays as it is; unlike OR IGNORE, any other broken rule is still an error."""


@contextmanager
def transaction(db: Database) -> Iterator[None]:
    """A transaction that takes the write lock at once, so that what it reads cannot change before it writes."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.commit()
    except BaseException:
        db.rollback()
        raise


@dataclass(frozen=True, slots=True)
class _Job(Generic[T]):
    work: Callable[[Database], T]
    done: Future[T]

    def succeed(self, result: T) -> None:
        if self.done.set_running_or_notify_cancel():
            self.done.set_result(result)

    def fail(self, error: Exception) -> None:
        if self.done.set_running_or_notify_cancel():
            self.done.set_exception(error)


class Writer:
    """A thread that owns the writing connection.

    A job that was submitted is carried out even when its caller is cancelled: a call that was paid for is kept.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name="tfgrpo-store", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Database], T]) -> Future[T]:
        """Queue a function of the connection; the future is done once its transaction is committed."""
        done: Future[T] = Future()
        self._jobs.put(_Job(work, done))
        return done

    def close(self) -> None:
        """Commit what is queued, then stop."""
        self._jobs.put(None)
        self._thread.join()
        with suppress(sqlite3.Error):  # whoever reads may keep it from being emptied: the last to close does it then
            self._db.execute("PRAGMA busy_timeout = 200")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, last = self._waiting(job)
            self._commit(batch)
            if last:
                return

    def _waiting(self, first: _Job[Any]) -> tuple[list[_Job[Any]], bool]:
        batch = [first]
        while len(batch) < WRITES_TOGETHER:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _commit(self, batch: Sequence[_Job[Any]]) -> None:
        try:
            with transaction(self._db):
                results = [job.work(self._db) for job in batch]
        except sqlite3.OperationalError as error:  # the lock or the disk: it would meet each of them alone, too
            for job in batch:
                job.fail(error)
        except Exception as error:  # handed to the caller, as concurrent.futures does
            if len(batch) == 1:
                batch[0].fail(error)
            else:
                self._one_by_one(batch)
        else:
            for job, result in zip(batch, results, strict=True):
                job.succeed(result)

    def _one_by_one(self, batch: Sequence[_Job[Any]]) -> None:
        """One bad write must not take those that shared its transaction with it."""
        for job in batch:
            self._commit([job])


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
