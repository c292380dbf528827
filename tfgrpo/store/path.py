"""Which file is the store, and whether it is one: told by its name and its first bytes, before anything is opened."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from ..errors import StoreError

APPLICATION_ID = 0x74666770
"""Stands in the header of each store, at byte 68: "tfgp"."""
NOT_WRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
"""What SQLite says of a place that cannot be written."""
_HEADER = 100
"""Bytes of the shortest database."""


def default_store_path(given: str | Path | None = None) -> Path:
    """The file named by `--store`, else by TFGRPO_STORE, else ./tfgrpo.db."""
    path = Path(given or os.environ.get("TFGRPO_STORE") or "tfgrpo.db")
    try:
        return path.expanduser()
    except RuntimeError:  # no user of that name: opening it will say that there is no such folder
        return path


def check_place(path: Path, create: bool) -> None:
    """Refuse what is not ours from its first bytes alone; what is refused was not touched."""
    found, folder = _found(path), _found(path.parent)
    if found and stat.S_ISDIR(found.st_mode):
        raise StoreError(f"store {path} is a folder; name a file, for example {path / 'tfgrpo.db'}")
    if not folder or not stat.S_ISDIR(folder.st_mode):
        raise StoreError(
            f"store {path}: there is no folder {path.parent}; create it, or name another file with --store"
        )
    if found and not stat.S_ISREG(found.st_mode):
        raise StoreError(f"store {path} is no file that could hold one; name another file with --store")
    if not found or not found.st_size:
        if not create:
            raise StoreError(f"no store at {path}; `tfgrpo learn` makes one, --store or TFGRPO_STORE names another")
    elif found.st_size < _HEADER or (application := _application(path)) is None:
        raise StoreError(f"store {path} is not a database, or was cut off; name another file with --store")
    elif application != APPLICATION_ID:
        raise StoreError(f"store {path} is the database of another application; name another file with --store")


def _found(path: Path) -> os.stat_result | None:
    """What is at a place; None when there is nothing."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # a folder that may not be entered, a name that is too long
        raise StoreError(f"store {path} cannot be read: {error.strerror}; name another file with --store") from error


def _application(path: Path) -> int | None:
    """Whose database a file is; None for what is no database.

    SQLite itself reads it, told that the file is immutable: so it takes no lock and makes no file beside it. A plain
    open and close here would end the locks that this process holds on a store (POSIX knows no better), and another
    process would then delete the log that is still being written.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as db:
            db.execute("PRAGMA writable_schema = ON")  # the size in the header may be ahead of a file that is growing
            found: int = db.execute("PRAGMA application_id").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_NOTADB:
            return None
        raise StoreError(
            f"store {path} cannot be read; check its permissions, or name another file with --store"
        ) from error
    return found
