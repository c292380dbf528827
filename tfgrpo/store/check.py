"""Whether a store is whole, and how much it holds: `tfgrpo store verify` and `store info`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

from ..records import Experience
from ..trials import task_set_id
from . import rows
from .database import CHECKSUM, Database, checksum, sealed_tables
from .experiences import demonstration_of, load_variant
from .file import UNREADABLE
from .lineage import load_prior
from .opened import OpenStore
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


class CheckedStore(OpenStore):
    """The part of the store that looks at itself."""

    def info(self) -> StoreInfo:
        """Size, schema and rows of each table."""
        with self._read("counting its rows") as db:
            counts = {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in db.columns()}
            (schema,) = db.execute("SELECT max(number) FROM migrations").fetchone()
            return StoreInfo(str(self.path), self._engine.size(), schema, counts)

    def verify(self) -> tuple[str, ...]:
        """What is wrong, a line each; empty when all is well.

        Checks SQLite's own structure, the schema, the checksum of each row, foreign keys, the id of each task, run,
        experience, demonstration, variant, prior and set of tasks against its content, and that each compressed text
        can be read.
        """
        with self._read("verifying it") as db:
            searches = (*self._engine.faults(db), *(check(db) for check in _CHECKS))
            return tuple(line for search in searches for line in self._findings(search))

    def _findings(self, search: Iterator[str]) -> Iterator[str]:
        try:
            yield from search
        except self._engine.faulty as error:
            yield f"cannot read on: {error}"


def _checksums(db: Database) -> Iterator[str]:
    """Rows whose content does not fit their checksum."""
    for table, columns in sealed_tables(db):
        for row in db.contents(table):
            if row[CHECKSUM] != checksum(*(row[name] for name in columns)):
                place = f"{table} row {row['rowid']}"
                yield f"{place}: damaged, or changed by another program: it does not fit its checksum"


def _ids(db: Database) -> Iterator[str]:
    """Tasks, runs, experiences and more whose content is not what their ids were made from."""
    readers: dict[str, Callable[[dict[str, Any]], object]] = {
        "task": rows.task_of,
        "run": lambda row: load_run(db, row),
        "experience": _check_experience,
        "demonstration": demonstration_of,
        "variant": lambda row: load_variant(db, row),
        "prior": lambda row: load_prior(db, row),
    }
    for noun, read in readers.items():
        for row in db.query(f"SELECT * FROM {noun}s"):
            try:
                read(row)
            except UNREADABLE as error:
                yield f"{noun} {row['id']}: {error}"


def _check_experience(row: dict[str, Any]) -> None:
    rows.same_id(row["id"], Experience(row["text"], row["kind"]).id)


def _task_sets(db: Database) -> Iterator[str]:
    """Sets of held-out tasks that are not what their ids were made from."""
    found = db.execute("SELECT id, task FROM task_sets ORDER BY id, task").fetchall()
    for task_set, part in groupby(found, key=lambda row: row[0]):
        if task_set_id(task for _, task in part) != task_set:
            yield f"task set {task_set}: tasks were added to it, or taken out"


def _texts(db: Database) -> Iterator[str]:
    for table, column in (("calls", "response"), ("rollouts", "messages"), ("rollouts", "whole")):
        for rowid, blob in db.execute(f"SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL"):
            try:
                rows.unpack(blob)
            except UNREADABLE as error:
                yield f"{table} row {rowid}: {column} cannot be read: {error}"


_CHECKS: tuple[_Check, ...] = (_checksums, _ids, _task_sets, _texts)
