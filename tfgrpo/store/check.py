"""Is the store whole? What does it hold?"""

import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from sqlite_utils import Database

from ..records import Experience
from . import rows
from .file import StoreFile
from .lineage import load_prior
from .migrations import schema_number
from .runs import load_run

_Check: TypeAlias = Callable[[Database], Iterator[str]]


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """Figures of a store."""

    path: str
    bytes: int
    """Size of the file, without what still waits in its write-ahead log."""
    schema: int
    """Number of the last migration."""
    rows: Mapping[str, int]
    """Rows of each table."""


class CheckedStore(StoreFile):
    """The part of the store that looks at itself."""

    def info(self) -> StoreInfo:
        """Size, schema and rows of each table."""
        with self._read("counting its rows") as db:
            counts = {name: db.table(name).count for name in sorted(db.table_names())}
            return StoreInfo(str(self.path), self.path.stat().st_size, schema_number(db), counts)

    def verify(self) -> tuple[str, ...]:
        """What is wrong, a line each; empty when all is well.

        Checks SQLite's own structure, foreign keys, the id of each task, run, experience and prior against its content,
        and that each compressed text can be read. Figures (rewards, effects) have no hash to be checked against.
        """
        with self._read("verifying it") as db:
            return tuple(line for check in _CHECKS for line in _findings(db, check))


def _findings(db: Database, check: _Check) -> Iterator[str]:
    try:
        yield from check(db)
    except (sqlite3.Error, zlib.error, ValueError, TypeError, LookupError) as error:
        yield f"cannot read on: {error}"


def _structure(db: Database) -> Iterator[str]:
    for (line,) in db.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield str(line)


def _foreign_keys(db: Database) -> Iterator[str]:
    for table, rowid, parent, _ in db.execute("PRAGMA foreign_key_check"):
        yield f"{table} row {rowid}: its row in {parent} is missing"


def _tasks(db: Database) -> Iterator[str]:
    for row in db.query("SELECT * FROM tasks"):
        yield from _other_id("task", row["id"], rows.task_of(row).id)


def _runs(db: Database) -> Iterator[str]:
    for row in db.query("SELECT * FROM runs"):
        run = load_run(db, row)
        yield from _other_id("run", row["id"], run.id)
        yield from _other_id("first attempt of run", row["identity"], replace(run, attempt=0).id)


def _experiences(db: Database) -> Iterator[str]:
    for row in db.query("SELECT id, kind, text FROM experiences"):
        yield from _other_id("experience", row["id"], Experience(row["text"], row["kind"]).id)


def _priors(db: Database) -> Iterator[str]:
    for row in db.query("SELECT * FROM priors"):
        yield from _other_id("prior", row["id"], load_prior(db, row).id)


def _texts(db: Database) -> Iterator[str]:
    for table, column in (("calls", "response"), ("rollouts", "messages")):
        for rowid, blob in db.execute(f"SELECT rowid, {column} FROM {table}"):
            try:
                rows.unpack(blob)
            except (zlib.error, ValueError, TypeError) as error:
                yield f"{table} row {rowid}: {column} cannot be read: {error}"


_CHECKS: tuple[_Check, ...] = (_structure, _foreign_keys, _tasks, _runs, _experiences, _priors, _texts)


def _other_id(noun: str, stored: str, computed: str) -> Iterator[str]:
    if stored != computed:
        yield f"{noun} {stored}: its content was changed, it hashes to {computed}"
