"""Where a live prior is read from: a store, an exported file, or the URL of a `tfgrpo serve`.

Each is looked at again and again, off the path of any call, and says cheaply that nothing has changed.
"""

import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ..errors import StoreError
from ..records import Backend, Prior, PriorState, Snapshot
from ..surfaces.http import Reason
from ..surfaces.surface import make_ready
from .forks import no_fork

if TYPE_CHECKING:
    from ..store import Store, StorePath

Backends: TypeAlias = Mapping[str, Mapping[str, Backend]]
"""What is known of each base URL, model by model."""

LOOK_SECONDS = 0.5
"""Between two looks at a store or a file."""


@dataclass(frozen=True, slots=True)
class InForce:
    """What is in force in a namespace at one moment, and what is known of upstreams."""

    live: Snapshot | None = None
    backends: Backends = field(default_factory=dict)
    reason: Reason = "no live prior"
    """Why there is none, where there is none."""
    canary: Snapshot | None = None
    """A candidate that a share of the calls has in place of the live one."""
    share: float = 0.0


class PriorPlace(Protocol):
    """Somewhere a live prior is read from, for one namespace."""

    name: str
    """For people."""
    keeps: bool
    """What was read last stays in force while nothing can be read."""

    @property
    def path(self) -> "StorePath":
        """The store or file that it is, or the file that what was pulled is kept in."""
        ...

    @property
    def seconds(self) -> float:
        """Until the next look."""
        ...

    def listen(self) -> bool:
        """Wait as long, or until it is told that there is something new; False at once where nobody tells it."""
        ...

    def look(self, known: InForce) -> InForce:
        """What stands there now, `known` itself where nothing has changed; StoreError where it cannot be read."""
        ...

    def beside(self, namespace: str) -> "PriorPlace":
        """The same place, for another namespace."""
        ...

    def close(self) -> None:
        """Let go of it; a later look opens it again."""
        ...

    def renew(self) -> None:
        """Leave to the parent of this process what is its own."""
        ...


def lasting(path: Path) -> Path:
    """A path that goes on meaning the same file when the program changes its working directory."""
    try:
        return path.absolute()
    except OSError:  # the working directory is gone
        return path


class StorePlace:
    """A namespace of a store. A file that cannot be read serves nothing; a server may be gone for a while."""

    seconds = LOOK_SECONDS

    def __init__(self, path: "StorePath", namespace: str) -> None:
        self.path = lasting(path) if isinstance(path, Path) else path
        self.name = f"store {path}"
        self.keeps = not isinstance(path, Path)
        self._namespace = namespace
        self._open: _OpenStore | None = None
        self._inherited: list[_OpenStore] = []  # SQLite forbids a fork to use, or even close, its parent's connection

    def look(self, known: InForce) -> InForce:
        """Raises StoreError for a store that is missing, damaged or from the future."""
        with no_fork():
            try:
                self._open = self._open or _OpenStore(self.path, self._namespace)
                found = self._open.read(known)
            except StoreError:
                self.close()
                raise
        return found

    def listen(self) -> bool:
        """A store in a database says when another prior is live."""
        return self.keeps and self._open is not None and self._open.listen(self.seconds)

    def beside(self, namespace: str) -> "StorePlace":
        """The same store."""
        return StorePlace(self.path, namespace)

    def close(self) -> None:
        """Close the store."""
        if self._open:
            self._open.close()
        self._open = None

    def renew(self) -> None:
        """Keep the parent's connection, unused."""
        if self._open:
            self._inherited.append(self._open)
        self._open = None


class _OpenStore:
    """An open store, and how far it was read."""

    def __init__(self, path: "StorePath", namespace: str) -> None:
        from ..store import Store  # importing a client must not take longer than the SDK's

        self._store = Store(path, create=False)
        self._namespace = namespace
        self._changes: int | None = None
        self.close = weakref.finalize(self, _close, self._store, os.getpid())

    def listen(self, seconds: float) -> bool:
        return self._store.listen(seconds)

    def read(self, known: InForce) -> InForce:
        changes = self._store.changes()  # asked first: what is committed in between is read next time
        if changes == self._changes:
            return known
        live, backends = self._store.live(self._namespace), self._store.probes()
        there = live or any(one.name == self._namespace for one in self._store.namespaces())
        canary, share = self._store.canary(self._namespace) or (None, 0.0)
        self._changes = changes
        return kept_ready(InForce(live, backends, "no live prior" if there else "namespace", canary, share), known)


def _close(store: "Store", process: int) -> None:
    if process == os.getpid():
        store.close()


def kept_ready(found: InForce, known: InForce) -> InForce:
    """The same, its prior ready to be given at once; what has not changed stays the same object, and so ready."""
    held = {one.prior.id: one.prior for one in (known.live, known.canary) if one}
    backends = known.backends if found.backends == known.backends else found.backends
    return replace(found, live=_held(found.live, held), canary=_held(found.canary, held), backends=backends)


def _held(found: Snapshot | None, held: Mapping[str, Prior]) -> Snapshot | None:
    if found and found.prior.id in held:
        return replace(found, prior=held[found.prior.id])
    if found is None:
        return None
    prior = first_of_equals(found.prior)
    make_ready(prior)
    return replace(found, prior=prior)


@lru_cache(512)
def first_of_equals(prior: Prior) -> Prior:
    """One object for what a process reads several times, now or later: of two that are equal caches would compare all
    content, at each call."""
    return prior


class FilePlace:
    """A file as `tfgrpo prior export` writes it, which is of one namespace. What was read last is kept.

    `only`: the namespace was asked for by name, and a file of another has nothing for it.
    """

    seconds = LOOK_SECONDS
    keeps = True

    def __init__(self, path: Path, namespace: str, *, only: bool = False, trust: Path | None = None) -> None:
        self.path = lasting(path)
        self.name = f"file {path}"
        self._namespace = namespace
        self._only = only
        self._trust = trust
        self._read: tuple[int, int] | None = None

    def listen(self) -> bool:
        """Nobody tells it."""
        return False

    def look(self, known: InForce) -> InForce:
        """Raises StoreError for a file that is missing, or that holds no prior with the id that it names."""
        try:
            stands = self.path.stat()
            moment = stands.st_mtime_ns, stands.st_size
            if moment == self._read:
                return known
            text = self.path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise StoreError(f"{self.path} cannot be read: {why}; `tfgrpo prior export` writes such a file") from error
        found = exported_in_force(str(self.path), text, known, self._namespace, self._trust, only=self._only)
        self._read = moment
        return found

    def beside(self, namespace: str) -> "FilePlace":
        """The same file, if it is of this namespace."""
        return FilePlace(self.path, namespace, only=True, trust=self._trust)

    def close(self) -> None:
        """Read it anew at the next look."""
        self._read = None

    def renew(self) -> None:
        """Nothing is the parent's alone."""


def exported_in_force(
    source: str, text: str, known: InForce, namespace: str, trust: Path | None, *, only: bool = False
) -> InForce:
    """What an exported file puts in force in a namespace, `only` if it is of that; raises as `exported_snapshot`."""
    live = exported_snapshot(source, text, trust)
    if only and live.namespace != namespace:
        return InForce(reason="namespace")
    return kept_ready(InForce(replace(live, namespace=namespace)), known)


def exported_snapshot(source: str, text: str, trust: Path | None = None) -> Snapshot:
    """The prior of an exported file under the frame that it was learned in; StoreError for what is none.

    What the prior hashes to must be its id, so a text that was changed on the way is refused; and where there is a
    file of keys to `trust`, so is what none of them has signed.
    """
    from ..errors import InputError
    from ..priors.parse import FILE_BYTES, parse_prior
    from ..priors.portable import Portable

    try:
        if len(text) > FILE_BYTES:
            raise InputError(f"{source} holds more than {FILE_BYTES} bytes")
        read = parse_prior(source, text)
        if trust is not None:
            from ..priors.signing import check_trusted

            check_trusted(source, text, trust)
    except InputError as error:
        raise StoreError(str(error)) from error
    if not isinstance(read, Portable):
        raise StoreError(f"{source} holds no prior as `tfgrpo prior export` writes it")
    served: list[PriorState] = [event.state for event in read.lineage if event.state in ("live", "ungated")]
    return Snapshot(read.namespace, read.prior, served[-1] if served else "ungated", read.frame)
