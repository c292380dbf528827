"""Connections to a server that may go away and come back: kept for the next use, made anew, waited for."""

import logging
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ...errors import StoreError
from .transactions import PgConnection, adapt

WAIT_SECONDS = 60.0
"""How long a store that was at work waits for a server that is gone."""
_LOCK_SECONDS = 30
"""How long a transaction waits for another one's lock."""
SCHEMA = "tfgrpo"
"""What a store's tables are in: a database may hold more than that."""
_SETTINGS: dict[str, Any] = {
    "client_encoding": "UTF8",
    "connect_timeout": 10,
    "application_name": "tfgrpo",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
"""What a URL may say otherwise."""

_logger = logging.getLogger("tfgrpo")
logging.getLogger("psycopg").addHandler(logging.NullHandler())  # what it says of a lost connection is said by us


class Connections:
    """Those of one store; used by several threads."""

    def __init__(self, name: str, dsn: str) -> None:
        """`name` is for people, without secrets; StoreError for what is no URL of PostgreSQL's."""
        self._name = name
        try:
            given = conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:  # what libpq says of it may quote the password
            raise StoreError(
                f"store {name} is no URL that PostgreSQL understands: postgresql://USER:PASSWORD@HOST/DATABASE,"
                " with signs such as @ / % in the password as %40 %2F %25"
            ) from None
        options = f"-c lock_timeout={_LOCK_SECONDS}s {given.get('options') or ''} -c search_path={SCHEMA}"
        self._settings: dict[str, Any] = {**_SETTINGS, **given, "options": options}
        self._idle: deque[PgConnection] = deque()
        self._closed = False
        self.patient = False
        """Wait where the server is gone: something that is kept there was begun."""

    @contextmanager
    def transaction(self, begin: str) -> Iterator[tuple[PgConnection, Any]]:
        """A connection in a transaction, and the row that the last statement of `begin` gave, if any."""
        conn, row = self._begun(begin)
        try:
            yield conn, row
            conn.execute("COMMIT", prepare=False)
        except BaseException:
            with suppress(psycopg.Error):
                conn.execute("ROLLBACK", prepare=False)
            raise
        finally:
            self._keep(conn)

    def connect(self) -> PgConnection:
        """A connection for its owner to close; the server is waited for where that is wanted."""
        begun, said = time.monotonic(), False
        while True:
            try:
                conn = psycopg.connect(**self._settings, autocommit=True)
                break
            except psycopg.OperationalError as error:
                if not self.patient or time.monotonic() - begun > WAIT_SECONDS:
                    raise
                if not said:
                    _logger.warning(
                        f"store {self._name}: {said_by(error)}; waiting for it, at most {WAIT_SECONDS:.0f} s"
                    )
                said = True
            time.sleep(0.25)
        if said:
            _logger.warning(f"store {self._name}: it is back after {time.monotonic() - begun:.0f} s")
        adapt(conn)
        return conn

    def close(self) -> None:
        """Close those that are not in use, and those that are as soon as they are not."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _begun(self, begin: str) -> tuple[PgConnection, Any]:
        """A connection that waited may have lost its server meanwhile: the first statement tells."""
        if self._closed:
            raise StoreError(f"store {self._name} is closed")
        while True:
            try:
                conn, fresh = self._idle.pop(), False
            except IndexError:
                conn, fresh = self.connect(), True
            try:
                return conn, _last_row(conn, begin)
            except psycopg.Error:
                if fresh or not conn.broken:
                    with suppress(psycopg.Error):
                        conn.execute("ROLLBACK", prepare=False)
                    self._keep(conn)
                    raise
                conn.close()

    def _keep(self, conn: PgConnection) -> None:
        if (
            self._closed
            or conn.broken
            or conn.closed
            or conn.info.transaction_status != psycopg.pq.TransactionStatus.IDLE
        ):
            conn.close()
        else:
            self._idle.append(conn)


def _last_row(conn: PgConnection, statements: str) -> Any:
    cursor = conn.execute(statements.encode(), prepare=False)
    while cursor.nextset():
        pass
    return cursor.fetchone() if cursor.description else None


def said_by(error: psycopg.Error) -> str:
    """What PostgreSQL says, in one line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rpartition("failed: ")[2].replace("FATAL:  ", "").strip()
