"""Which file is the store, and is it one? Decided from its name and its first bytes, without opening a database."""

import os
import sqlite3
import struct
from pathlib import Path

from ..errors import StoreError

APPLICATION_ID = 0x74666770
"""Stands in the header of each store, at byte 68: "tfgp"."""
NOT_WRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
"""What SQLite says of a place that cannot be written."""
_HEADER = 100
_MAGIC = b"SQLite format 3\0"


def default_store_path(given: str | Path | None = None) -> Path:
    """The file named by `--store`, else by TFGRPO_STORE, else ./tfgrpo.db."""
    return Path(given or os.environ.get("TFGRPO_STORE") or "tfgrpo.db").expanduser()


def check_place(path: Path, create: bool) -> None:
    """Refuse what is not ours from its first bytes alone, without opening it as a database."""
    if path.is_dir():
        raise StoreError(f"store {path} is a folder; name a file, for example {path / 'tfgrpo.db'}")
    if not path.parent.is_dir():
        raise StoreError(
            f"store {path}: there is no folder {path.parent}; create it, or name another file with --store"
        )
    header = _header(path)
    if not header:
        if not create:
            raise StoreError(f"no store at {path}; `tfgrpo learn` makes one, --store or TFGRPO_STORE names another")
    elif len(header) < _HEADER or not header.startswith(_MAGIC):
        raise StoreError(f"store {path} is not a database, or was cut off; name another file with --store")
    elif struct.unpack_from(">I", header, 68)[0] != APPLICATION_ID:
        raise StoreError(f"store {path} is the database of another application; name another file with --store")


def _header(path: Path) -> bytes:
    """The first bytes of a file; empty when there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_HEADER)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreError(f"store {path} cannot be read: {error.strerror}; name another file with --store") from error
