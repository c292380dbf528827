"""The store in a database of PostgreSQL's, as an engine: opened, read, written; every failure is one StoreError."""

import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import errors

from ...errors import StoreError
from ..database import TOO_LARGE, AnyWork, Database, LostServer, RefusedRow, Work, Writer
from ..file import UNREADABLE
from ..migrations import Migration
from . import connections
from .connections import Connections, said_by
from .dialect import NOW
from .schema import bring_up, check_number, expected_schema, found_schema, missing_parents, plain_words, present_number
from .transactions import PgConnection, PostgresDatabase, Shapes, read_shapes

T = TypeVar("T")

_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_LOCK = "SELECT pg_advisory_xact_lock(1952868208, 1)"
"""Held by one writer at a time, but for those that only append."""
_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED"
_NUMBER = f"SELECT {NOW}, CAST(pg_current_xact_id() AS TEXT)"
_APPEND, _ALONE = f"{_WRITE}; {_NUMBER}", f"{_WRITE}; {_LOCK}; {_NUMBER}"
_CLAIM, _CLAIM_SECONDS = "SELECT pg_try_advisory_lock(1952868209, hashtext(%s))", 2.0
"""Held by the one that learns in a namespace, as long as its connection lasts."""
_DEAF_SECONDS = 30.0
"""Until it is tried again to listen, where that failed."""
_RETRIES = 5
"""Of a transaction that others were in the way of."""
_ADVICE = {
    "22003": TOO_LARGE,
    "23503": "it names a run, task, experience or prior that was not added before",
    "25006": "the server takes no writes (a standby?); name the one that does",
    "42501": "its user may not do that; GRANT it the rights, or name another user in the URL",
    "53100": "the server's disk is full; free some space, then start the same command again",
    "55P03": "another process keeps it locked; wait for that to end, then try again",
}


class StoreServer:
    """A store in a database: connections that wait for readers, and a writer that starts with the first write."""

    faulty: tuple[type[Exception], ...] = (psycopg.Error, *UNREADABLE)
    """What reading leads to where the store is damaged."""

    def __init__(self, name: str, dsn: str, steps: Sequence[Migration], *, create: bool) -> None:
        """`name` is the URL for people, without secrets."""
        self._name, self._steps = name, steps
        self._connections = Connections(name, dsn)
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self._closed = False
        self._known: Shapes | None = None
        self._ears: PgConnection | None = None
        self._deaf_until = 0.0
        try:
            with self._readable("opening it"):
                self._open(create)
        except BaseException:
            self._connections.close()
            raise

    def close(self) -> None:
        """Commit what is queued and let go of the server; a second time does nothing."""
        with self._lock:
            self._closed = True
            if self._writer:
                self._writer.close()
                self._writer = None
            self._connections.close()
        self._stop_listening()

    def changes(self) -> int:
        """A number that moves when anything was committed, by this process or another: cheap enough to poll."""
        with self.errors("looking for changes"), self._connections.transaction(_READ) as (conn, _):
            return hash(conn.execute("SELECT pg_current_snapshot()::text").fetchone())

    def listen(self, seconds: float) -> bool:
        """Hear what `announce` tells, on a connection of its own; False, for a while, where that is not to be had."""
        if self._closed or time.monotonic() < self._deaf_until:
            return False
        try:
            if self._ears is None or self._ears.closed:
                self._ears = self._connections.connect()
                self._ears.execute("LISTEN tfgrpo")
            for _ in self._ears.notifies(timeout=seconds, stop_after=1):
                pass
        except psycopg.Error:
            self._deaf_until = time.monotonic() + _DEAF_SECONDS
            self._stop_listening()
            return False
        return True

    def _stop_listening(self) -> None:
        ears, self._ears = self._ears, None
        if ears:
            ears.close()

    @contextmanager
    def read(self, what: str) -> Iterator[Database]:
        """A consistent view of the store, however many queries it takes."""
        with self._readable(what), self._reading() as conn:
            yield PostgresDatabase(conn, self._shapes)

    def submit(self, work: Work[T]) -> Future[T]:
        """Queue what is to be written."""
        with self._lock:
            if self._closed:
                raise StoreError(f"store {self._name} is closed")
            if not self._writer:
                self._connections.patient = True
                self._writer = Writer(PostgresLedger(self._connections, self._shapes))
            return self._writer.submit(work)

    @contextmanager
    def only_learner(self, namespace: str) -> Iterator[None]:
        """Keep other processes from learning in a namespace meanwhile; StoreError where one does."""
        with self.errors(f"learning in {namespace}"):
            conn = self._connections.connect()
        try:
            with self.errors(f"learning in {namespace}"):
                self._claim(conn, namespace)
            yield
        finally:
            conn.close()

    def _claim(self, conn: PgConnection, namespace: str) -> None:
        """The server needs a moment to notice that a process was killed."""
        begun = time.monotonic()
        while conn.execute(_CLAIM, [namespace]).fetchone() != (True,):
            if time.monotonic() - begun > _CLAIM_SECONDS:
                raise StoreError(
                    f"another process learns in namespace {namespace} of store {self._name};"
                    " wait for its end, or name another namespace with --namespace"
                )
            time.sleep(0.1)

    def size(self) -> int:
        """Bytes of its tables and indexes."""
        tables = "relkind = 'r' AND relnamespace = to_regnamespace(current_schema())"
        with self._reading() as conn:
            sql = f"SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE {tables}"
            (found,) = conn.execute(sql.encode()).fetchone() or (0,)
            return int(found or 0)

    def faults(self, db: Database) -> Sequence[Iterator[str]]:
        """What is wrong with the schema and its references, a line each; PostgreSQL looks after its files itself."""
        assert isinstance(db, PostgresDatabase)
        wrong = expected_schema(self._steps) - found_schema(db.conn)
        return map(plain_words, sorted(wrong, key=str)), missing_parents(db.conn)

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """The one place where failures of PostgreSQL become a StoreError."""
        try:
            yield
        except psycopg.Error as error:
            raise _kind(error)(f"store {self._name}, {what}: {self._advice(error)}") from error
        except (OverflowError, struct.error) as error:  # psycopg's own packing, in C and in Python
            raise RefusedRow(f"store {self._name}, {what}: {TOO_LARGE}") from error

    def _advice(self, error: psycopg.Error) -> str:
        if error.sqlstate in _ADVICE:
            return _ADVICE[error.sqlstate]
        if isinstance(error, errors.NotNullViolation):
            return f"NOT NULL constraint failed: {error.diag.table_name}.{error.diag.column_name}"
        if isinstance(error, psycopg.OperationalError):
            return f"{said_by(error)}; check the URL and the server, then start the same command again"
        return said_by(error)

    @contextmanager
    def _readable(self, what: str) -> Iterator[None]:
        """As `errors`; rows of which nothing can be made are damage, too."""
        try:
            with self.errors(what):
                yield
        except UNREADABLE as error:
            how = "it is damaged (`tfgrpo store verify` says where); restore a copy, or name another with --store"
            raise StoreError(f"store {self._name}, {what}: {how} ({error})") from error

    @contextmanager
    def _reading(self) -> Iterator[PgConnection]:
        with self._connections.transaction(_READ) as (conn, _):
            yield conn

    def _open(self, create: bool) -> None:
        with self._reading() as conn:
            encoding = conn.info.parameter_status("server_encoding")
            if encoding != "UTF8":
                raise StoreError(
                    f"store {self._name}: the database keeps text as {encoding}; make one with ENCODING 'UTF8'"
                )
            present = present_number(conn)
            if present == self._steps[-1].number:
                return
            check_number(conn, self._name, present, self._steps, create=create)
        with self._connections.transaction(_ALONE) as (conn, _):
            bring_up(conn, self._name, self._steps, create=create)

    def _shapes(self, conn: PgConnection) -> Shapes:
        if self._known is None:
            self._known = read_shapes(conn)
        return self._known


class PostgresLedger:
    """What a process writes by."""

    common: tuple[type[Exception], ...] = (psycopg.OperationalError,)

    def __init__(self, given: Connections, shapes: Callable[[PgConnection], Shapes]) -> None:
        self._connections = given
        self._shapes = shapes

    def commit(self, works: Sequence[AnyWork]) -> list[Any]:
        """Do all in one transaction; what they came to.

        What a lost connection left open is settled: a transaction that was not committed is done again. Two that were
        in each other's way are, too.
        """
        drawn = [work.numbers for work in works if work.numbers]
        begin = f"{_APPEND if all(work.appends for work in works) else _ALONE}{''.join(map(_drawing, drawn))}"
        begun, tries = time.monotonic(), 0
        while True:
            number, database, results = "", None, None
            try:
                with self._connections.transaction(begin) as (conn, (now, number, *numbers)):
                    database = PostgresDatabase(conn, self._shapes, now, list(zip(drawn, numbers, strict=True)))
                    results = [work.do(database) for work in works]
                return results
            except (errors.DeadlockDetected, errors.SerializationFailure):
                tries += 1
                if tries > _RETRIES:
                    raise
            except psycopg.OperationalError as error:
                if not _is_lost(error) or time.monotonic() - begun > 2 * connections.WAIT_SECONDS:
                    raise
                if database and results is not None and self._was_committed(number, database.mark):
                    return results

    def close(self) -> None:
        """The connections are the store's."""

    def _was_committed(self, number: str, mark: tuple[str, str] | None) -> bool:
        """Whether the rows of a transaction are there.

        Its number alone does not tell: after a crash of the server another one may have that number.
        """
        while (state := self._state(number)) == "in progress":
            time.sleep(0.05)
        if state == "aborted" or mark is None:
            return False
        table, seal = mark
        there = f"SELECT 1 FROM {table} WHERE CAST(xmin AS TEXT) = %s AND checksum = %s LIMIT 1"
        with self._connections.transaction(_READ) as (conn, _):
            return conn.execute(there.encode(), [str(int(number) % 2**32), seal]).fetchone() is not None

    def _state(self, number: str) -> str | None:
        try:
            with self._connections.transaction(_READ) as (conn, _):
                found = conn.execute("SELECT pg_xact_status(CAST(%s AS xid8))", [number]).fetchone()
                return str(found[0]) if found and found[0] else None
        except errors.InvalidParameterValue:  # a number yet to come: the server crashed and knows nothing of it
            return "aborted"


def _drawing(table: str) -> str:
    return f", nextval(pg_get_serial_sequence('{table}', 'id'))"


def _kind(error: psycopg.Error) -> type[StoreError]:
    if isinstance(error, psycopg.OperationalError) and _is_lost(error):
        return LostServer
    return RefusedRow if isinstance(error, psycopg.IntegrityError | psycopg.DataError) else StoreError


def _is_lost(error: psycopg.OperationalError) -> bool:
    """Whether the connection is gone, by whomever it was ended."""
    return error.sqlstate is None or error.sqlstate[:2] == "08" or error.sqlstate in ("57P01", "57P02", "57P03")
