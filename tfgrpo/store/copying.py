"""All of a store into another one, which may be of the other engine: rows, their numbers, times and checksums."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from ..errors import StoreError
from .database import CHECKSUM, Database, checksum
from .file import StoreFile
from .opened import OpenStore, StorePath

_PARENTS = ("migrations", "namespaces", "tasks", "runs", "experiences", "priors", "demonstrations", "groups",
            "validations", "keys")  # fmt: skip
"""Tables that others refer to, each after those that it refers to."""
_TOGETHER = 500


class CopiedStore(OpenStore):
    """The part of the store that goes elsewhere as a whole."""

    def backup(self, path: Path) -> int:
        """Write all of the store into a new file, as it is at one moment, while others may go on; its size in bytes."""
        if isinstance(self._engine, StoreFile):
            return self._engine.backup(path)
        if path.exists():
            raise StoreError(f"{path} exists already; name a new file")
        self.copy_to(path)
        return path.stat().st_size

    def copy_to(self, place: StorePath) -> Mapping[str, int]:
        """Copy all, as it is at one moment, into a store without rows, made where there is none; rows by table.

        Either all is there, or nothing. Raises StoreError for a store that holds rows, or that has another schema.
        """
        made = isinstance(place, Path) and not place.exists()
        try:
            with type(self)(place) as target:
                return target._take(self)
        except BaseException:
            if made and isinstance(place, Path):
                place.unlink(missing_ok=True)
            raise

    def _take(self, source: "CopiedStore") -> Mapping[str, int]:
        def work(db: Database) -> Mapping[str, int]:
            with source._read("copying it") as other:
                _check_empty(str(self.path), db)
                db.execute("DELETE FROM migrations")
                counts = {table: _copy_table(other, db, table) for table in _in_order(other)}
                db.number_on()
                return dict(sorted(counts.items()))

        return self._write(f"copying {source.path} into it", work)


def _check_empty(name: str, db: Database) -> None:
    for table in db.columns():
        if table != "migrations" and db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():
            raise StoreError(f"store {name} holds {table} already; name a new one")


def _in_order(db: Database) -> Sequence[str]:
    return [*_PARENTS, *(table for table in db.columns() if table not in _PARENTS)]


def _copy_table(source: Database, target: Database, table: str) -> int:
    found, count = source.contents(table), 0
    names = [name for name in source.columns()[table] if name != CHECKSUM]
    while part := list(islice(found, _TOGETHER)):
        for row in part:
            if CHECKSUM in row and row[CHECKSUM] != checksum(*(row[name] for name in names)):
                raise StoreError(f"{table} row {row['rowid']} is damaged; `tfgrpo store verify` says where else")
        target.restore(table, part)
        count += len(part)
    return count
