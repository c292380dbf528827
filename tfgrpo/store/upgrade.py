"""An older store is brought to the newest schema when it is opened, all or nothing, and a copy is kept beside it."""

import logging
import sqlite3
import stat
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from sqlite_utils import Database

from .. import __version__
from ..errors import StoreError
from .checksums import add_checksums
from .migrations import Migration, apply_migrations, needed_version, schema_number
from .path import NOT_WRITABLE
from .writer import transaction

_logger = logging.getLogger("tfgrpo")


def upgrade(db: Database, path: Path, steps: Sequence[Migration]) -> None:
    """Bring the store at `path`, open as `db`, to the schema of `steps`; one that is upgraded is told on the log.

    Raises StoreError for one that needs a later tfgrpo, or that would have to be written and cannot be.
    """
    newest, older = steps[-1].number, _known(db, path, steps)
    if older == newest:
        return
    try:
        db.execute("PRAGMA foreign_keys = OFF")  # else a table that is made anew takes its children with it
        with ExitStack() as undo:
            with transaction(db):
                copy = _migrate(db, path, steps, undo)
            undo.pop_all()
        db.execute("PRAGMA foreign_keys = ON")
    except sqlite3.OperationalError as error:
        if not older or error.sqlite_errorcode & 0xFF not in NOT_WRITABLE:
            raise
        raise StoreError(
            f"store {path} has schema {older}, this version needs {newest}, and it cannot be written;"
            " upgrade it with `tfgrpo store info` where it can be"
        ) from error
    if copy:
        _logger.warning(f"store {path} was upgraded from schema {older} to {newest}; {copy} is a copy of it as it was")


def _known(db: Database, path: Path, steps: Sequence[Migration]) -> int:
    """The store's schema; StoreError for one that only a later version knows."""
    present = schema_number(db)
    if present > steps[-1].number:
        raise StoreError(
            f"store {path} needs tfgrpo {needed_version(db)} or later, this is {__version__};"
            " upgrade tfgrpo, or name another file with --store"
        )
    return present


def _migrate(db: Database, path: Path, steps: Sequence[Migration], undo: ExitStack) -> Path | None:
    """Apply what is missing; the copy that was kept of an older store, which `undo` takes back."""
    present = _known(db, path, steps)  # another process may have been first
    if present == steps[-1].number:
        return None
    copy = _keep_copy(path, present, undo) if present else None
    apply_migrations(db, steps, __version__)
    add_checksums(db)
    return copy


def _keep_copy(path: Path, number: int, undo: ExitStack) -> Path:
    """Copy the store as it is committed, for the same readers; the caller's transaction keeps other writers out."""
    names = (f"{path.name}.schema-{number}{again}.bak" for again in ("", *(f"-{n}" for n in range(2, 1000))))
    copy = next(place for place in map(path.with_name, names) if not place.exists())
    part = copy.with_name(f"{copy.name}.part")  # a copy that a kill cut off must not pass for a whole one
    for made in (copy, part):
        undo.callback(made.unlink, missing_ok=True)
    source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    with closing(source), closing(sqlite3.connect(part)) as target:
        source.backup(target)
    part.chmod(stat.S_IMODE(path.stat().st_mode))
    return part.rename(copy)
