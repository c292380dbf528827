"""What the queries of the store are put to: an open transaction of SQLite's or PostgreSQL's, spoken to in one SQL.

The SQL is what both understand, with the few differences that `postgres` translates. Placeholders are `?` or `:name`.
Each row carries a checksum, so that a flipped byte, or another program's change, does not pass for what was written. It
covers all columns: also those (figures, times, verdicts) that enter no id. Rows are written by the one writer of a
process: writes that wait together share a transaction.
"""

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from ..errors import StoreError

T = TypeVar("T")
Value: TypeAlias = str | int | float | bytes | None
Row: TypeAlias = dict[str, Value]
Parameters: TypeAlias = Sequence[Any] | dict[str, Any]

ONCE = "ON CONFLICT DO NOTHING"
"""A row that is there already stays as it is; any other broken rule is still an error."""
CHECKSUM = "checksum"
"""The column that holds it."""


class NoStore(StoreError):
    """There is none yet at a place."""


class RefusedRow(StoreError):
    """What was to be written breaks a rule of its table; nothing is wrong with the store."""


TOO_LARGE = "a whole number in it has more than 64 bits, which no column holds"


class LostServer(StoreError):
    """The connection broke off in the middle; what was under way may be tried again."""


class Rows(Protocol):
    """What a query found."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...

    def fetchone(self) -> Any:
        """The next row, None where there is none."""
        ...

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """A connection in a transaction."""

    def execute(self, sql: str, parameters: Parameters = (), /) -> Rows:
        """Rows as tuples."""
        ...

    def query(self, sql: str, parameters: Parameters = (), /) -> Iterable[dict[str, Any]]:
        """Rows by the names of their columns."""
        ...

    def add_rows(self, table: str, rows: Sequence[Row], conflict: str) -> int:
        """Insert rows of the same columns; how many went in. Where `conflict` updates, each has a key of its own."""
        ...

    def last_number(self) -> int:
        """The number that was given to the row that was inserted last."""
        ...

    def change(self, table: str, values: Row, where: str, parameters: Row) -> int:
        """Update the rows that a condition holds for; how many those were."""
        ...

    def now(self) -> str:
        """UTC in ISO 8601, by the clock that the store goes by."""
        ...

    def columns(self) -> Mapping[str, Sequence[str]]:
        """The columns of each table, in their order; tables by name."""
        ...

    def contents(self, table: str) -> Iterator[dict[str, Any]]:
        """All rows of a table, each with its `rowid`, by that; damaged texts too."""
        ...

    def restore(self, table: str, rows: Sequence[Row]) -> None:
        """Insert whole rows as another store's `contents` gave them."""
        ...

    def number_on(self) -> None:
        """Number the next rows of each table after those that are there."""
        ...

    def announce(self, namespace: str) -> None:
        """Tell other processes, where the engine can, that another prior is live."""
        ...


def insert(db: Database, table: str, rows: Sequence[Row], conflict: str = "") -> int:
    """Insert rows of the same columns; the number of rows that went in. `conflict` is an ON CONFLICT clause."""
    return db.add_rows(table, rows, conflict) if rows else 0


def utc_now() -> str:
    """The time as the store writes it, UTC in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_PLAIN: Mapping[type, str] = {kind: kind.__name__ for kind in (str, int, float, type(None))}


def checksum(*values: Value) -> str:
    """CRC-32 over types, lengths and bytes of a row's values, as 8 hex digits."""
    try:
        said = "".join([f"{_PLAIN[type(value)]} {len(text := str(value))} {text}" for value in values])
        return f"{zlib.crc32(said.encode('ascii')):08x}"
    except (KeyError, UnicodeEncodeError):  # there are bytes, or a text that has more of them than characters
        return _checksum_of_bytes(*values)


def _checksum_of_bytes(*values: Value) -> str:
    """The same of any values; it takes twice the time."""
    crc = 0
    for value in values:
        data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
        crc = zlib.crc32(data, zlib.crc32(f"{type(value).__name__} {len(data)} ".encode(), crc))
    return f"{crc:08x}"


def sealed_tables(db: Database) -> Iterator[tuple[str, list[str]]]:
    """The tables whose rows carry a checksum, and the columns that it covers."""
    for table, columns in db.columns().items():
        if CHECKSUM in columns:
            yield table, [name for name in columns if name != CHECKSUM]


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
    db.change("namespaces", {"model": model}, "name = :name AND model IS NULL", {"name": name})


WRITES_TOGETHER = 256
"""Writes in one transaction, at most: other processes wait for it."""
_CROWD, _GATHERING = 8, 0.005
"""Where so many writes waited together, the next ones are given so many seconds to come together, too."""


@dataclass(frozen=True, slots=True)
class Work(Generic[T]):
    """What is to be done in a transaction."""

    do: Callable[[Database], T]
    appends: bool = False
    """It adds rows that no other write reads before it writes: it need not keep others from writing meanwhile."""
    numbers: str | None = None
    """A table whose next number it takes: a server can say that when the transaction begins."""


AnyWork: TypeAlias = Work[Any]


class Ledger(Protocol):
    """Where a writer writes; used by its thread alone."""

    common: tuple[type[Exception], ...]
    """Errors that each of several writes would meet alone, too: of the lock, the disk, the connection."""

    def commit(self, works: Sequence[AnyWork]) -> list[Any]:
        """Do all in one transaction; what they came to, once it is committed."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True, slots=True)
class _Job(Generic[T]):
    work: Work[T]
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

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name="tfgrpo-store", daemon=True)
        self._thread.start()

    def submit(self, work: Work[T]) -> Future[T]:
        """Queue what is to be done; the future is done once its transaction is committed."""
        done: Future[T] = Future()
        self._jobs.put(_Job(work, done))
        return done

    def close(self) -> None:
        """Commit what is queued, then stop."""
        self._jobs.put(None)
        self._thread.join()
        self._ledger.close()

    def _serve(self) -> None:
        crowded = False
        while (job := self._jobs.get()) is not None:
            if crowded:
                time.sleep(_GATHERING)
            batch, last = self._waiting(job)
            crowded = len(batch) >= _CROWD
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
            results = self._ledger.commit([job.work for job in batch])
        except self._ledger.common as error:
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
