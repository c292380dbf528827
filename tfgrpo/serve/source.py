"""A source of the live prior: held in memory, kept up with the store."""

import logging
import os
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

import anyio.to_thread

from ..errors import StoreError
from ..model.backends import backend_key
from ..records import Backend, Prior, Snapshot
from ..surfaces.turns import make_ready

if TYPE_CHECKING:
    from ..store import Store

CHECK_SECONDS = 2.0
"""How often the store is looked at for a newer prior, at most."""
_NOTICES = 100
"""Different lines that one source says at most: the names in them may come from strangers."""

_Backends: TypeAlias = Mapping[str, Mapping[str, Backend]]
"""What is known of each base URL, model by model."""

_logger = logging.getLogger("tfgrpo")


class PriorSource:
    """The prior that is live in one namespace of a store, kept in memory; shared by threads and event loops.

    The store is looked at once in CHECK_SECONDS at most. A store that is missing, damaged or from the future, or that
    has no live prior there, means no prior: said once on the logger `tfgrpo`, tried again at the next look, and never
    an error for the caller.
    """

    def __init__(self, path: Path, namespace: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.namespace = namespace
        self._clock = clock
        self._due = -float("inf")
        self._lock = Lock()
        self._snapshot: Snapshot | None = None
        self._backends: _Backends = {}
        self._connection: _OpenStore | None = None
        self._inherited: _OpenStore | None = None
        self._reported = ""
        self._said: set[str] = set()

    @property
    def snapshot(self) -> Snapshot | None:
        """What was live at the last look; reads nothing."""
        return self._snapshot

    @property
    def prior(self) -> Prior | None:
        """The prior that a call made now would get; None when there is none."""
        snapshot = self.current()
        return snapshot.prior if snapshot else None

    def backends(self, url: str) -> Mapping[str, Backend]:
        """What was known, at the last look, of the upstream that a URL belongs to, model by model; reads nothing."""
        return self._backends.get(backend_key(url), {}) if self._backends else {}

    def current(self) -> Snapshot | None:
        """What is live, after a look at the store if one is due."""
        if self._clock() >= self._due:
            with self._lock:
                if self._clock() >= self._due:
                    self._look()
        return self._snapshot

    async def current_async(self) -> Snapshot | None:
        """As `current`; the event loop goes on while a thread looks."""
        return await anyio.to_thread.run_sync(self.current) if self._clock() >= self._due else self._snapshot

    def refresh(self) -> None:
        """Look at the store now."""
        with self._lock:
            self._look()

    def close(self) -> None:
        """Let go of the store; a later look opens it again."""
        with self._lock:
            self._release()

    def say(self, notice: str | None) -> None:
        """Log a line, the first time that it is said."""
        if notice and notice not in self._said and len(self._said) < _NOTICES:
            self._said.add(notice)
            _logger.warning(notice)

    def _look(self) -> None:
        try:
            self._snapshot, self._backends = self._connected().read(self._snapshot, self._backends)
        except StoreError as error:
            self._release()
            self._snapshot, self._backends = None, {}
            self._report(f"{error}; until then calls go out without a prior")
        else:
            self._report(self._standing())
        self._due = self._clock() + CHECK_SECONDS

    def _connected(self) -> "_OpenStore":
        if self._connection and self._connection.process != os.getpid():
            self._inherited = self._connection  # SQLite forbids a fork to use, or even close, its parent's connection
            self._connection = None
        if self._connection is None:
            self._connection = _OpenStore(self.path, self.namespace)
        return self._connection

    def _release(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _standing(self) -> str:
        if self._snapshot:
            return f"prior {self._snapshot.prior.id} of namespace {self.namespace!r} is {self._snapshot.state}"
        return (
            f"namespace {self.namespace!r} of store {self.path} has no live prior: calls go out without one;"
            " `tfgrpo learn` makes one, `tfgrpo prior list` shows what there is"
        )

    def _report(self, standing: str) -> None:
        if standing != self._reported:
            self._reported = standing
            _logger.log(logging.INFO if self._snapshot else logging.WARNING, standing)


def prior_source(store: str | Path | None = None, namespace: str | None = None) -> PriorSource:
    """The source that arguments or the environment name.

    A store not given is that of TFGRPO_STORE or ./tfgrpo.db, a namespace that of TFGRPO_NAMESPACE or `default`.
    """
    from ..store import default_store_path  # here, and below: importing a client must not take longer than the SDK's

    return PriorSource(default_store_path(store), namespace or os.environ.get("TFGRPO_NAMESPACE") or "default")


class _OpenStore:
    """An open store, and how far it was read."""

    def __init__(self, path: Path, namespace: str) -> None:
        from ..store import Store

        self._store = Store(path, create=False)
        self._namespace = namespace
        self._changes: int | None = None
        self.process = os.getpid()
        self.close = weakref.finalize(self, _close, self._store, self.process)

    def read(self, known: Snapshot | None, backends: _Backends) -> tuple[Snapshot | None, _Backends]:
        """What is live and what upstreams honour; as given, read before over this connection, when nothing changed."""
        changes = self._store.changes()  # asked first: what is committed in between is read next time
        if changes == self._changes:
            return known, backends
        live, probes = self._store.live(self._namespace), self._store.probes()
        if live and known and live.prior.id == known.prior.id:
            live = replace(live, prior=known.prior)  # what was made ready for it is found by its being the same
        if live:
            make_ready(live.prior)
        self._changes = changes
        return live, probes


def _close(store: "Store", process: int) -> None:
    if process == os.getpid():
        store.close()
