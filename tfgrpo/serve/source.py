"""A source of the live prior: held in memory, and kept up with the place that it is read from."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio.to_thread

from ..errors import StoreError
from ..records import Backend, Prior, Snapshot, backend_key
from ..surfaces.http import Reason
from .drawing import NOTHING_LEFT, Drawn, Offer, user_of
from .following import Follower
from .forks import renewed_in_children
from .places import LOOK_SECONDS, FilePlace, InForce, PriorPlace, StorePlace, lasting

if TYPE_CHECKING:
    from ..store import StorePath

CHECK_SECONDS = LOOK_SECONDS
"""How often the store is looked at for a newer prior."""
_NOTICES = 100
"""Different lines that one source says at most: the names in them may come from strangers."""
_UNKNOWN: Mapping[str, Backend] = {}

_logger = logging.getLogger("tfgrpo")


class PriorSource:
    """The prior that is live in one namespace of a store, kept in memory; shared by threads and event loops.

    The first call waits for a look at the store. From then on a thread in the background looks, so that a new prior is
    in force within a second and no call waits for it. A store that is missing, damaged or from the future, or that has
    no live prior there, means no prior: said once on the logger `tfgrpo`, tried again at the next look, and never an
    error for the caller.
    """

    def __init__(self, place: Path | PriorPlace, namespace: str, follower: Follower | None = None) -> None:
        """`follower` is that of sources of the same place."""
        self.place: PriorPlace = StorePlace(place, namespace) if isinstance(place, Path) else place
        self.namespace = namespace
        self._lock = Lock()
        self._hold(InForce())
        self._follower = follower or Follower(self.place)
        self.is_followed = False
        """Whether it has looked, so that what is live is in memory."""
        self._reported = ""
        self._said: set[str] = set()
        renewed_in_children(self)

    @property
    def path(self) -> "StorePath":
        """The store or file that the prior is read from, or that a pulled one is kept in."""
        return self.place.path

    @property
    def snapshot(self) -> Snapshot | None:
        """What was live at the last look; reads nothing."""
        return self._in_force.live

    @property
    def reason(self) -> Reason:
        """Why there was none at the last look, where there was none."""
        return self._in_force.reason

    @property
    def prior(self) -> Prior | None:
        """The prior that a call made now would get; None when there is none."""
        snapshot = self.current()
        return snapshot.prior if snapshot else None

    def backends(self, url: object) -> Mapping[str, Backend]:
        """What was known, at the last look, of the upstream that a URL belongs to, model by model; reads nothing."""
        known = self._in_force.backends
        return known.get(backend_key(str(url)), _UNKNOWN) if known else _UNKNOWN

    def current(self) -> Snapshot | None:
        """What is live: after a look at the place the first time, later from memory."""
        if not self.is_followed:
            self._begin()
        return self._in_force.live

    def snapshot_for(self, key: str | None, content: bytes = b"") -> Snapshot | None:
        """The prior that a call gets."""
        return self.drawn_for(key, content).snapshot

    def drawn_for(self, key: str | None, content: bytes = b"") -> Drawn:
        """What a call gets for a caller's key: the live prior, or the canary for its share of the keys; reads nothing.

        Which keys those are is a matter of hashes alone (`drawing.py`), so a key gets the same in every process, and
        stays in as the share grows. Without a key the user that the content of a request names stands for it; a call
        without either is drawn anew.
        """
        offer = self._offer
        if offer.canary is None:
            return Drawn(offer.live)
        return offer.drawn(NOTHING_LEFT, self.namespace, key or user_of(content), uuid4().hex)

    async def current_async(self) -> Snapshot | None:
        """As `current`; the event loop goes on while a thread looks."""
        return await anyio.to_thread.run_sync(self.current) if not self.is_followed else self._in_force.live

    def refresh(self) -> None:
        """Look at the place now."""
        with self._lock:
            self._look()

    def close(self) -> None:
        """Let go of the place; a later look opens it again."""
        with self._lock:
            self._follower.leave(self)
            self.is_followed = False
            self.place.close()

    def beside(self, namespace: str) -> "PriorSource":
        """The source of another namespace of the same place, which the same thread keeps up to date."""
        return PriorSource(self.place.beside(namespace), namespace, self._follower)

    def renew(self) -> None:
        """In a forked child: look anew, with a lock, a connection and a thread of its own."""
        self._lock = Lock()
        self.is_followed = False
        self.place.renew()

    def say(self, notice: str | None, about: str | None = None) -> None:
        """Log a line, the first time that it is said, or that one is said about a matter."""
        matter = about or notice
        if notice and matter and matter not in self._said and len(self._said) < _NOTICES:
            self._said.add(matter)
            _logger.warning(notice)

    def _begin(self) -> None:
        with self._lock:
            if not self.is_followed:
                self._look()
                self.is_followed = True
                self._follower.follow(self)

    def _look(self) -> None:
        try:
            self._hold(self.place.look(self._in_force))
        except Exception as caught:  # also what no place foresees: no call fails for it
            error = caught if isinstance(caught, StoreError) else f"{self.place.name}: {type(caught).__name__}"
            if self.place.keeps and self._in_force.live:
                kept = f"prior {self._in_force.live.prior.id}, which was read before, stays in force"
                self._report(f"{error}; {kept}", logging.WARNING)
            else:
                self._hold(InForce(reason="store"))
                self._report(f"{error}; until then calls go out without a prior", logging.WARNING)
        else:
            self._report(self._told(), logging.INFO if self._in_force.live else logging.WARNING)

    def _hold(self, known: InForce) -> None:
        self._in_force, self._offer = known, Offer(known.live, known.canary, known.share)

    def _told(self) -> str:
        if live := self._in_force.live:
            return f"prior {live.prior.id} of namespace {self.namespace!r} is {live.state}"
        return (
            f"namespace {self.namespace!r} of {self.place.name} has no live prior: calls go out without one;"
            " `tfgrpo learn` makes one, `tfgrpo prior list` shows what there is"
        )

    def _report(self, told: str, level: int) -> None:
        if told != self._reported:
            self._reported = told
            _logger.log(level, told)


def prior_source(
    store: "str | StorePath | None" = None, namespace: str | None = None, trust: str | Path | None = None
) -> PriorSource:
    """The source that arguments or the environment name.

    A store not given is that of TFGRPO_STORE or ./tfgrpo.db, a namespace that of TFGRPO_NAMESPACE or `default`. In
    place of a store there may be the URL of a `tfgrpo serve`, or an exported file (`.json`), here, on a web server, or
    wherever fsspec reads. Of those only what a key of the file `trust` (TFGRPO_TRUST) has signed is served, if it is
    given.
    """
    named = namespace or os.environ.get("TFGRPO_NAMESPACE") or "default"
    return PriorSource(place_of(store, named, trust), named)


def place_of(given: "str | StorePath | None", namespace: str, trust: str | Path | None = None) -> PriorPlace:
    """Where the live prior of a namespace is read from, as `prior_source` is told it."""
    named = str(given or os.environ.get("TFGRPO_STORE") or "")
    trusted = trust or os.environ.get("TFGRPO_TRUST")
    keys = lasting(Path(os.path.expanduser(trusted))) if trusted else None
    if named.startswith(("http://", "https://")):
        from .pulled import UrlPlace  # here and below: what is not asked for is not loaded

        return UrlPlace(named, namespace, trust=keys)
    if "://" in named and not named.lower().startswith(("postgresql://", "postgres://")):
        from .objects import ObjectPlace

        return ObjectPlace(named, namespace, trust=keys)
    if named.lower().endswith(".json"):
        return FilePlace(Path(os.path.expanduser(named)), namespace, trust=keys)  # pathlib's raises for no such user
    from ..store import default_store_path

    return StorePlace(default_store_path(given), namespace)
