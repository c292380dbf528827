"""A proxy whose live prior comes from elsewhere: another `tfgrpo serve`, a web server, an object store, a file."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...errors import StoreError
from ...records import Snapshot
from ...store import Store, StorePath
from ..drawing import NOTHING_LEFT, DrawShares, Offer
from ..places import InForce, PriorPlace
from .shelf import Held, Shelf


@dataclass(frozen=True, slots=True)
class PulledFrom:
    """Where the prior is, and the store with keys and traffic of this proxy's own, which need not be there."""

    place: PriorPlace
    store: StorePath


class PulledShelf(Shelf):
    """A Shelf whose own namespace has the prior of another place; what was pulled last stays while that is away."""

    def __init__(self, source: PulledFrom, namespace: str = "default", shares: DrawShares = NOTHING_LEFT) -> None:
        super().__init__(source.store, namespace, shares)
        self._place = source.place
        self._stored = Held()
        self._pulled = InForce()
        self._due = 0.0
        self._away: StoreError | None = None

    def _look(self) -> None:
        before = self._pulled
        self._pull()
        try:
            if not (hasattr(self.path, "exists") and not self.path.exists()):
                super()._look()
        finally:
            if self._pulled is not before:
                self.held = self._merged()
        if self._away:
            raise self._away

    def _pull(self) -> None:
        if time.monotonic() < self._due:
            return
        try:
            self._pulled, self._away = self._place.look(self._pulled), None
        except StoreError as error:
            self._away = error
        self._due = time.monotonic() + self._place.seconds

    def _read(self, store: Store) -> Held:
        self._stored = super()._read(store)
        return self._merged()

    def _merged(self) -> Held:
        """What stood in the store, with what was pulled in the proxy's own namespace."""
        stored, pulled, name = self._stored, self._pulled, self.namespace
        same = self.held.offers.get(name)
        kept = same.sets if same and same.live is pulled.live else self._sets(pulled.live)
        offer = Offer(pulled.live, pulled.canary, pulled.share, kept)
        live: Mapping[str, Snapshot] = {name: pulled.live} if pulled.live else {}
        offers = {name: offer} if pulled.live or pulled.canary else {}
        rest = {other: known for other, known in stored.snapshots.items() if other != name}
        others = {other: known for other, known in stored.offers.items() if other != name}
        return replace(
            stored, snapshots={**rest, **live}, offers={**others, **offers}, namespaces=stored.namespaces | {name}
        )
