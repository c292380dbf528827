"""Whether a store is whole, and how much it holds: `tfgrpo store verify` and `store info`."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlite_utils import Database

from ..records import Experience
from ..trials import task_set_id
from . import rows
from .experiences import demonstration_of, load_variant
from .file import UNREADABLE, StoreFile
from .lineage import load_prior
from .migrations import expected_parts, schema_number, schema_parts
from .runs import load_run
from .writer import wrong_checksums

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

        Checks SQLite's own structure, the schema, the checksum of each row, foreign keys, the id of each task, run,
        experience, demonstration, variant, prior and set of tasks against its content, and that each compressed text
        can be read.
        """
        with self._read("verifying it") as db:
            return tuple(line for check in (_structure, self._schema, *_CHECKS) for line in _findings(db, check))

    def _schema(self, db: Database) -> Iterator[str]:
        """Views and tables of other programs may stand beside ours."""
        for kind, name, *_ in sorted(expected_parts(self._migrations()) - schema_parts(db)):
            yield f"schema: {kind} {name} is not as it was made"


def _findings(db: Database, check: _Check) -> Iterator[str]:
    try:
        yield from check(db)
    except (sqlite3.Error, *UNREADABLE) as error:
        yield f"cannot read on: {error}"


def _structure(db: Database) -> Iterator[str]:
    for (line,) in db.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield str(line)


def _foreign_keys(db: Database) -> Iterator[str]:
    for table, rowid, parent, _ in db.execute("PRAGMA foreign_key_check"):
        yield f"{table} row {rowid}: its row in {parent} is missing"


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
    for task_set, tasks in db.execute("SELECT id, json_group_array(task) FROM task_sets GROUP BY id"):
        if task_set_id(json.loads(tasks)) != task_set:
            yield f"task set {task_set}: tasks were added to it, or taken out"


def _texts(db: Database) -> Iterator[str]:
    for table, column in (("calls", "response"), ("rollouts", "messages"), ("rollouts", "whole")):
        for rowid, blob in db.execute(f"SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL"):
            try:
                rows.unpack(blob)
            except UNREADABLE as error:
                yield f"{table} row {rowid}: {column} cannot be read: {error}"


_CHECKS: tuple[_Check, ...] = (wrong_checksums, _foreign_keys, _ids, _task_sets, _texts)
