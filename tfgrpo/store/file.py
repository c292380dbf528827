"""The file behind the store: recognised by its first bytes, opened, upgraded; every failure is one StoreError."""

import os
import sqlite3
import stat
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

from ..errors import StoreError
from .database import TOO_LARGE, AnyWork, Database, RefusedRow, Work, Writer
from .migrations import APPLICATION_ID, NOT_WRITABLE, Migration, expected_parts, schema_parts, upgrade
from .sqlite import SqliteDatabase, transaction

_HEADER = 100
"""Bytes of the shortest database."""


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


T = TypeVar("T")

BUSY_SECONDS = 30.0
"""How long a write waits for another process's."""
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_IMMUTABLE = "ro&immutable=1"
"""The mode for what cannot be written: a write-ahead log needs a folder in which it can be made."""
UNREADABLE = (zlib.error, ValueError, TypeError, LookupError)
"""What a row that SQLite can read but no record can be made of leads to."""
_ADVICE = {
    sqlite3.SQLITE_BUSY: "another process keeps it locked; wait for that to end, then try again",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked; wait for that to end, then try again",
    sqlite3.SQLITE_FULL: "the disk is full; free some space, then start the same command again",
    sqlite3.SQLITE_IOERR: "the disk failed or is full; see to it, then start the same command again",
    sqlite3.SQLITE_READONLY: "it cannot be written; check the permissions of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the permissions of the file and its folder",
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: "it names a run, task, experience or prior that was not added before",
}


class StoreFile:
    """A store in a file: one connection that reads, and a writer that starts with the first write."""

    faulty: tuple[type[Exception], ...] = (sqlite3.Error, *UNREADABLE)
    """What reading leads to where the file is damaged."""

    def __init__(self, path: Path, steps: Sequence[Migration], *, create: bool) -> None:
        self.path = path
        self._steps = steps
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self._closed = False
        self._identity: tuple[int, int] | None = None
        self._log: tuple[int, int] | None = None
        """The write-ahead log that commits of this process went to."""
        self._frozen: tuple[int, int, int] | None = None
        check_place(self.path, create)
        with self._readable("opening it"):
            self._db = self._open(create)

    def close(self) -> None:
        """Commit what is queued and close the file; a second time does nothing."""
        with self._lock:
            self._closed = True
            if self._writer:
                self._writer.close()
                self._writer = None
            self._db.close()

    def backup(self, path: Path) -> int:
        """Write all of the store into a new file, as it is at one moment, while others may go on; its size in bytes."""
        if path.exists():
            raise StoreError(f"{path} exists already; name a new file")
        try:
            with self.errors("copying it"), self._lock:
                self._follow()
                self._db.conn.execute("VACUUM INTO ?", [str(path)])
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path.stat().st_size

    def changes(self) -> int:
        """A number that moves when anything was committed, by this process or another: cheap enough to poll."""
        with self.errors("looking for changes"), self._lock:
            self._follow()
            return hash((self._frozen, *self._db.execute("PRAGMA data_version").fetchone()))

    def listen(self, seconds: float) -> bool:
        """Nobody tells it of a file."""
        return False

    @contextmanager
    def read(self, what: str) -> Iterator[Database]:
        """A consistent view of the store, however many queries it takes."""
        with self._readable(what), self._lock:
            self._follow()
            with self._db.atomic():
                yield self._db

    def submit(self, work: Work[T]) -> Future[T]:
        """Queue what is to be written."""
        with self._lock:
            if self._closed:
                raise StoreError(f"store {self.path} is closed")
            if not self._writer:
                self._writer = Writer(SqliteLedger(self._connect("rw")))
            return self._writer.submit(work)

    def _open(self, create: bool) -> SqliteDatabase:
        """The reading connection; a store that cannot be written, and is not to be made, is only read."""
        try:
            db, self._frozen = self._prepared("rwc" if create else "rw"), None
        except sqlite3.OperationalError as error:
            if create or error.sqlite_errorcode & 0xFF not in NOT_WRITABLE or _pending(self.path):
                raise
            moment = _moment(self.path)  # asked first: what is committed in between is followed
            db, self._frozen = self._prepared(_IMMUTABLE), moment
        return db

    def _prepared(self, mode: str) -> SqliteDatabase:
        db = self._connect(mode)
        try:
            upgrade(db, self.path, self._steps)
            if mode != _IMMUTABLE:
                _enable_wal(db)
            opened = os.stat(self.path)
        except BaseException:
            db.close()
            raise
        self._identity = opened.st_dev, opened.st_ino
        return db

    def _follow(self) -> None:
        """A connection that SQLite was told is immutable sees no later commit: open another when the file changed."""
        if self._frozen and _moment(self.path) != self._frozen:
            before, self._db = self._db, self._open(create=False)
            before.close()

    def _connect(self, mode: str) -> SqliteDatabase:
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        conn = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
        try:
            db = SqliteDatabase(conn, execute_plugins=False)
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA synchronous = FULL")  # a commit is on the disk, not only with the operating system
        except BaseException:
            conn.close()
            raise
        return db

    def only_learner(self, namespace: str) -> nullcontext[None]:
        """A file cannot tell who else is at it."""
        return nullcontext()

    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    def faults(self, db: Database) -> Sequence[Iterator[str]]:
        """What is wrong with the file, the schema and its references, a line each: several searches, one by one."""
        return self._wrong_pages(db), self._wrong_parts(), self._missing_parents(db)

    def _wrong_pages(self, db: Database) -> Iterator[str]:
        for (line,) in db.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield str(line)

    def _missing_parents(self, db: Database) -> Iterator[str]:
        for table, rowid, parent, _ in db.execute("PRAGMA foreign_key_check"):
            yield f"{table} row {rowid}: its row in {parent} is missing"

    def _wrong_parts(self) -> Iterator[str]:
        """Views and tables of other programs may stand beside ours."""
        for kind, name, *_ in sorted(expected_parts(self._steps) - schema_parts(self._db)):
            yield f"schema: {kind} {name} is not as it was made"

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """The one place where failures of SQLite become a StoreError."""
        try:
            yield
        except sqlite3.Error as error:
            self._check_presence()
            code = getattr(error, "sqlite_errorcode", 0)  # a kind in the low byte, details above it
            known = self._damaged() if code & 0xFF in _DAMAGE else _ADVICE.get(code) or _ADVICE.get(code & 0xFF)
            advice = known or error
            kind = RefusedRow if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError) else StoreError
            raise kind(f"store {self.path}, {what}: {advice}") from error
        except OverflowError as error:
            raise RefusedRow(f"store {self.path}, {what}: {TOO_LARGE}") from error
        except UnicodeDecodeError as error:  # what SQLite says of a damaged schema quotes its bytes
            raise StoreError(f"store {self.path}, {what}: {self._damaged()}") from error
        except OSError as error:
            self._check_presence()
            raise StoreError(f"store {self.path}, {what}: {error.strerror}; see to it, then try again") from error
        self._check_presence()

    @contextmanager
    def _readable(self, what: str) -> Iterator[None]:
        """As `errors`; rows of which nothing can be made are damage, too."""
        try:
            with self.errors(what):
                yield
        except UNREADABLE as error:
            raise StoreError(f"store {self.path}, {what}: {self._damaged()} ({error})") from error

    def _damaged(self) -> str:
        """`verify` has to open the store, too."""
        how = "(`tfgrpo store verify` says where)" if self._identity else "beyond opening"
        return f"it is damaged {how}; restore a copy, or name another file with --store"

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
        self._check_log()

    def _check_log(self) -> None:
        """SQLite writes on into a log that was deleted, and all of it is lost when the last one closes it."""
        if self._writer is None:
            return
        try:
            found = os.stat(f"{self.path}-wal")
            here = found.st_dev, found.st_ino
        except OSError:
            here = None
        self._log = self._log or here
        if self._log is not None and here != self._log:
            lost = "what was written since it was last copied into the store is lost"
            raise StoreError(
                f"store {self.path}: {self.path.name}-wal was removed while in use, and {lost}; start again"
            )


class SqliteLedger:
    """The one connection that a process writes by."""

    common: tuple[type[Exception], ...] = (sqlite3.OperationalError,)

    def __init__(self, db: SqliteDatabase) -> None:
        db.write_checksums()
        self.db = db

    def commit(self, works: Sequence[AnyWork]) -> list[Any]:
        """Do all in one transaction; what they came to."""
        try:
            with transaction(self.db):
                return [work.do(self.db) for work in works]
        except BaseException:
            self.db.kept = set()  # what triggers it had made are gone with it
            raise

    def close(self) -> None:
        """Bring what was committed into the file itself, if nobody reads the log; then close."""
        with suppress(sqlite3.Error):  # whoever reads may keep it from being emptied: the last to close does it then
            self.db.execute("PRAGMA busy_timeout = 200")
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.db.close()


def _enable_wal(db: SqliteDatabase) -> None:
    """Let readers and a writer work side by side; SQLite itself does not wait for others before this switch."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return db.enable_wal()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _pending(path: Path) -> bool:
    """Whether commits wait in a write-ahead log: without them the file itself may be in the middle of a change."""
    return _moment(path)[-1] > 0


def _moment(path: Path) -> tuple[int, int, int]:
    """Differs once anything was written: the times of the file and its write-ahead log, and the size of that."""
    log, file = Path(f"{path}-wal"), path.stat()
    found = log.stat() if log.exists() else None
    return file.st_mtime_ns, found.st_mtime_ns if found else 0, found.st_size if found else 0
