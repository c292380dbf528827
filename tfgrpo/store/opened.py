"""An open store: where it is, and which engine is behind it."""

import asyncio
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self, TypeAlias, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

from ..errors import StoreError
from ..extras import install_hint
from .database import Database, LostServer, NoStore, Work
from .file import StoreFile
from .migrations import Migration, load_migrations

T = TypeVar("T")

_POSTGRES = re.compile(r"postgres(ql)?://([^@/?]*@)?[^@?]*(\?[^@]*)?", re.IGNORECASE)
"""A URL in which it is plain where the password ends."""
_NO_PATH = re.compile(r"\w[\w+.-]+:/|postgres\S*@|.*\bpassword *=", re.IGNORECASE | re.DOTALL)
"""What is meant as a URL, and may hold a password, whether it is one that is known here or not."""
_SECRETS = ("password", "sslpassword")


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A database of PostgreSQL's that holds a store, or what was meant as one. As text it has no password."""

    dsn: str = field(repr=False)
    """As libpq reads it, secrets and all."""

    @property
    def understood(self) -> bool:
        """Whether it is such a URL."""
        return bool(_POSTGRES.fullmatch(self.dsn))

    def __str__(self) -> str:
        if not self.understood:
            scheme = re.match(r"\w[\w+.-]+:/", self.dsn)
            return f"{scheme[0]}..." if scheme else "..."
        place, _, query = self.dsn.partition("://")[2].partition("?")
        user, at, server = place.rpartition("@")
        told = [(name, value) for name, value in parse_qsl(query) if name.lower() not in _SECRETS]
        asked = f"?{urlencode(told, safe='/', quote_via=quote)}" if told else ""
        return f"postgresql://{user.partition(':')[0]}{at}{server}{asked}"


StorePath: TypeAlias = Path | StoreUrl
"""What a store is named by, once it was understood."""


def store_place(given: "str | StorePath") -> StorePath:
    """A file, or a database where a URL of PostgreSQL's is given."""
    if isinstance(given, str):
        if _POSTGRES.fullmatch(given):
            scheme, _, rest = given.partition("://")
            return StoreUrl(f"{scheme.lower()}://{rest}")
        return StoreUrl(given) if _NO_PATH.match(given) else Path(given)
    return given


def default_store_path(given: "str | StorePath | None" = None) -> StorePath:
    """What `--store` names, else TFGRPO_STORE, else ./tfgrpo.db."""
    place = store_place(given or os.environ.get("TFGRPO_STORE") or "tfgrpo.db")
    try:
        return place.expanduser() if isinstance(place, Path) else place
    except RuntimeError:  # no user of that name: opening it will say that there is no such folder
        return place


class Engine(Protocol):
    """What keeps a store. Whatever fails in it is one StoreError, of one line."""

    faulty: tuple[type[Exception], ...]
    """What reading leads to where the store itself is damaged."""

    def read(self, what: str) -> AbstractContextManager[Database]:
        """A consistent view of the store, however many queries it takes; `what` it is for stands in errors."""
        ...

    def submit(self, work: Work[T]) -> Future[T]:
        """Queue what is to be written."""
        ...

    def errors(self, what: str) -> AbstractContextManager[None]:
        """Its failures inside become StoreErrors."""
        ...

    def changes(self) -> int:
        """A number that moves when anything was committed, by this process or another: cheap enough to poll."""
        ...

    def listen(self, seconds: float) -> bool:
        """Wait so long at most until it is told that another prior is live; False at once where nobody tells it."""
        ...

    def only_learner(self, namespace: str) -> AbstractContextManager[None]:
        """Keep other processes from learning in a namespace meanwhile, where the engine can."""
        ...

    def size(self) -> int:
        """Bytes that it takes."""
        ...

    def faults(self, db: Database) -> Sequence[Iterator[str]]:
        """What is wrong beyond the content of rows, a line each: several searches of what `read` gave."""
        ...

    def close(self) -> None:
        """Commit what is queued and let go of the store; a second time does nothing."""
        ...


def open_engine(place: StorePath, steps: Sequence[Migration], *, create: bool) -> Engine:
    """The engine of a file or a database; StoreError where it cannot be opened."""
    if isinstance(place, Path):
        return StoreFile(place, steps, create=create)
    if not place.understood:
        raise StoreError(
            f"store {place} is no path and no URL that tfgrpo understands: postgresql://USER:PASSWORD@HOST/DATABASE,"
            " with signs such as @ / % in the password as %40 %2F %25"
        )
    try:
        from .postgres.server import StoreServer  # a file needs no driver
    except ImportError as error:
        raise StoreError(f"store {place} needs the extra postgres: {install_hint('postgres')}") from error
    return StoreServer(str(place), place.dsn, steps, create=create)


def store_exists(given: "str | StorePath | None" = None) -> bool:
    """Whether a store is there already, without making one; StoreError where that cannot be told."""
    place = default_store_path(given)
    if isinstance(place, Path):
        return place.exists()
    try:
        open_engine(place, load_migrations(), create=False).close()
    except NoStore:
        return False
    return True


def has_file(place: StorePath) -> bool:
    """Whether there is a file with something in it; False for a database, and for what cannot be looked at."""
    try:
        return isinstance(place, Path) and place.stat().st_size > 0
    except OSError:
        return False


class OpenStore:
    """An open store.

    It may be used by several threads and event loops of one process, and by many processes at once.
    """

    def __init__(self, path: str | StorePath, *, create: bool = True) -> None:
        self.path = store_place(path)
        self._engine = open_engine(self.path, self._migrations(), create=create)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit what is queued and close the store; a second time does nothing."""
        self._engine.close()

    def changes(self) -> int:
        """A number that moves when anything was committed, by this process or another: cheap enough to poll."""
        return self._engine.changes()

    def listen(self, seconds: float) -> bool:
        """Wait so long at most until it is told that another prior is live; False at once where nobody tells it.

        A hint, and no more: whoever waits looks afterwards, told or not. For one thread at a time.
        """
        return self._engine.listen(seconds)

    def only_learner(self, namespace: str) -> AbstractContextManager[None]:
        """Learn in a namespace alone; StoreError where another process does.

        Two at a file are told apart by their calls: the second that records another response to the same call ends.
        """
        return self._engine.only_learner(namespace)

    def _read(self, what: str) -> AbstractContextManager[Database]:
        """A consistent view of the store, however many queries it takes."""
        return self._engine.read(what)

    def _look(self, what: str, work: Callable[[Database], T]) -> T:
        """What one function of a consistent view gives; it is called again where the server went away meanwhile."""
        try:
            with self._read(what) as db:
                return work(db)
        except LostServer:
            with self._read(what) as db:
                return work(db)

    def _write(
        self, what: str, work: Callable[[Database], T], *, appends: bool = False, numbers: str | None = None
    ) -> T:
        """Run `work` in a transaction; returns once it is committed. `appends`, `numbers`: as in `Work`."""
        with self._engine.errors(what):
            return self._engine.submit(Work(work, appends, numbers)).result()

    async def _write_async(self, what: str, work: Callable[[Database], T], *, appends: bool = False) -> T:
        """As `_write`, without holding up the event loop."""
        with self._engine.errors(what):
            return await asyncio.wrap_future(self._engine.submit(Work(work, appends)))

    def _migrations(self) -> tuple[Migration, ...]:
        return load_migrations()
