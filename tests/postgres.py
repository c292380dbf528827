"""A PostgreSQL of the tests' own: made in a temporary folder, reached by a socket in it, gone afterwards."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import psycopg

from tfgrpo.store import Store, StoreUrl

_SETTINGS = {
    "listen_addresses": "", "fsync": "off", "shared_buffers": "16MB", "max_connections": "60", "autovacuum": "off",
    "unix_socket_permissions": "0777", "max_wal_size": "64MB", "log_min_messages": "fatal",
}  # fmt: skip
_SPARE = "spare"
"""A database with the tables of a new store."""


def binaries() -> Path | None:
    """Where the programs of the newest PostgreSQL are; None where there is none."""
    found = shutil.which("initdb")
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return Path(found).resolve().parent if found else newest[-1].parent if newest else None


class PostgresServer:
    """A server that may be killed and started again."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.folder = Path(mkdtemp(prefix="tfgrpo-postgres-"))
        self._user = "postgres" if os.geteuid() == 0 else None  # it refuses to be root's
        if self._user:
            shutil.chown(self.folder, self._user)
        self.folder.chmod(0o755)
        self._run("initdb", "-D", str(self._data), "-U", "tfgrpo", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"local all locked scram-sha-256\n{rules.read_text()}")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, user=self._user, check=True, capture_output=True, cwd=self.folder)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-k", str(self.folder), *settings]
        self._process = subprocess.Popen(command, user=self._user, cwd=self.folder, stderr=subprocess.DEVNULL)
        while True:
            try:
                psycopg.connect(self.url("postgres").dsn).close()
                break
            except psycopg.OperationalError:
                if self._process.poll() is not None:
                    raise
            time.sleep(0.02)

    def kill(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it at once, as after a crash: what was not committed is lost, and connections break off."""
        assert self._process
        self._process.send_signal(how)
        self._process.wait()

    def close(self) -> None:
        """End it, and remove all of it."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> StoreUrl:
        """Of a database that may be there or not."""
        return StoreUrl(f"postgresql://tfgrpo:geheim@/{database}?host={self.folder}")

    def do(self, sql: str, database: str = "postgres") -> None:
        """As the owner of all."""
        with psycopg.connect(self.url(database).dsn, autocommit=True, options="-c search_path=tfgrpo") as conn:
            conn.execute(sql.encode(), prepare=False)

    def empty_store(self) -> StoreUrl:
        """The store that one test has for itself: without rows, its numbers begin anew."""
        place = self.url(_SPARE)
        if not self._has_spare():
            self.do(f"CREATE DATABASE {_SPARE}")
            Store(place).close()
        self.do(_EMPTY, _SPARE)
        return place

    def _has_spare(self) -> bool:
        with psycopg.connect(self.url("postgres").dsn) as conn:
            return bool(conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_SPARE]).fetchone())

    @contextmanager
    def database(self, name: str) -> Iterator[StoreUrl]:
        """A database of its own, without a store."""
        self.do(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.do(f"DROP DATABASE {name} WITH (FORCE)")


_EMPTY = """
DO $$
DECLARE one text;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'tfgrpo' AND tablename <> 'migrations' LOOP
        EXECUTE 'DELETE FROM ' || one;
    END LOOP;
    FOR one IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'tfgrpo' LOOP
        PERFORM setval(one::regclass, 1, false);
    END LOOP;
END $$
"""
"""TRUNCATE takes a hundred times as long."""
