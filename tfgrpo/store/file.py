"""The file behind the store: found, recognised, opened, upgraded; every failure is one StoreError."""

import asyncio
import os
import sqlite3
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self, TypeVar

from sqlite_utils import Database

from ..errors import StoreError
from .migrations import Migration, apply_migrations, load_migrations, needed_version, schema_number
from .writer import Writer, transaction

T = TypeVar("T")

APPLICATION_ID = 0x74666770
"""Stands in the header of each store, at byte 68: "tfgp"."""
BUSY_SECONDS = 30.0
"""How long a write waits for another process's."""
_HEADER = 100
_MAGIC = b"SQLite format 3\0"
_DAMAGED = "it is damaged; restore a copy, or name another file with --store"
_UNREADABLE = (zlib.error, ValueError, TypeError, LookupError)
"""What a row that SQLite can read but no record can be made of leads to."""
_ADVICE = {
    sqlite3.SQLITE_BUSY: "another process keeps it locked; wait for that to end, then try again",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked; wait for that to end, then try again",
    sqlite3.SQLITE_FULL: "the disk is full; free some space, then start the same command again",
    sqlite3.SQLITE_IOERR: "the disk failed or is full; see to it, then start the same command again",
    sqlite3.SQLITE_READONLY: "it cannot be written; check the permissions of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the permissions of the file and its folder",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: "it names a run, task, experience or prior that was not added before",
}


def default_store_path(given: str | Path | None = None) -> Path:
    """The file named by `--store`, else by TFGRPO_STORE, else ./tfgrpo.db."""
    return Path(given or os.environ.get("TFGRPO_STORE") or "tfgrpo.db").expanduser()


class StoreFile:
    """An open store: one connection that reads, and a writer that starts with the first write.

    It may be used by several threads and event loops of one process, and by many processes at once.
    """

    def __init__(self, path: str | Path, *, create: bool = True) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self._closed = False
        self._identity: tuple[int, int] | None = None
        _check_place(self.path, create)
        with self._errors("opening it"):
            self._db = self._open(create)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit what is queued and close the file; a second time does nothing."""
        with self._lock:
            self._closed = True
            if self._writer:
                self._writer.close()
                self._writer = None
            self._db.close()

    def changes(self) -> int:
        """A number that moves when anything was committed, by this process or another: cheap enough to poll."""
        with self._errors("looking for changes"), self._lock:
            return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def _read(self, what: str) -> Iterator[Database]:
        """A consistent view of the store, however many queries it takes."""
        try:
            with self._errors(what), self._lock, self._db.atomic():
                yield self._db
        except _UNREADABLE as error:
            raise StoreError(f"store {self.path}, {what}: {_DAMAGED} ({error})") from error

    def _write(self, what: str, work: Callable[[Database], T]) -> T:
        """Run `work` in a transaction; returns once it is committed."""
        with self._errors(what):
            return self._submit(work).result()

    async def _write_async(self, what: str, work: Callable[[Database], T]) -> T:
        """As `_write`, without holding up the event loop."""
        with self._errors(what):
            return await asyncio.wrap_future(self._submit(work))

    def _submit(self, work: Callable[[Database], T]) -> Future[T]:
        with self._lock:
            if self._closed:
                raise StoreError(f"store {self.path} is closed")
            if not self._writer:
                self._writer = Writer(self._connect("rw"))
            return self._writer.submit(work)

    def _open(self, create: bool) -> Database:
        db = self._connect("rwc" if create else "rw")
        try:
            self._upgrade(db)
            _enable_wal(db)
            opened = os.stat(self.path)
        except BaseException:
            db.close()
            raise
        self._identity = opened.st_dev, opened.st_ino
        return db

    def _connect(self, mode: str) -> Database:
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        conn = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
        try:
            db = Database(conn, execute_plugins=False)
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA synchronous = FULL")  # a commit is on the disk, not only with the operating system
        except BaseException:
            conn.close()
            raise
        return db

    def _upgrade(self, db: Database) -> None:
        from .. import __version__

        steps = self._migrations()
        if schema_number(db) == steps[-1].number:
            return
        with transaction(db):
            present = schema_number(db)  # another process may have been first
            if present > steps[-1].number:
                raise StoreError(
                    f"store {self.path} needs tfgrpo {needed_version(db)} or later, this is {__version__};"
                    " upgrade tfgrpo, or name another file with --store"
                )
            if 0 < present < steps[-1].number:
                self._keep_copy(present)
            apply_migrations(db, steps, __version__)

    def _migrations(self) -> tuple[Migration, ...]:
        return load_migrations()

    def _keep_copy(self, number: int) -> None:
        """Copy the store as it is committed; the caller's transaction keeps other writers out."""
        copy = self.path.with_name(f"{self.path.name}.schema-{number}.bak")
        with closing(self._connect("ro")) as source, closing(sqlite3.connect(copy)) as target:
            source.conn.backup(target)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """The one place where failures of SQLite become a StoreError."""
        try:
            yield
        except sqlite3.Error as error:
            self._check_presence()
            code = getattr(error, "sqlite_errorcode", 0)  # a kind in the low byte, details above it
            advice = _ADVICE.get(code) or _ADVICE.get(code & 0xFF) or error
            raise StoreError(f"store {self.path}, {what}: {advice}") from error
        except UnicodeDecodeError as error:  # what SQLite says of a damaged schema quotes its bytes
            raise StoreError(f"store {self.path}, {what}: {_DAMAGED}") from error
        self._check_presence()

    def _check_presence(self) -> None:
        """SQLite writes on into a file that was deleted, and reports success."""
        if self._identity is None:
            return
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise StoreError(f"store {self.path} has disappeared; put it back, or start again") from error
        if (found.st_dev, found.st_ino) != self._identity:
            raise StoreError(f"store {self.path} was replaced by another file while in use; start again")


def _check_place(path: Path, create: bool) -> None:
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


def _enable_wal(db: Database) -> None:
    """Let readers and a writer work side by side; SQLite itself does not wait for others before this switch."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return db.enable_wal()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _header(path: Path) -> bytes:
    """The first bytes of a file; empty when there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_HEADER)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreError(f"store {path} cannot be read: {error.strerror}; name another file with --store") from error
