"""What the proxy holds of its store in memory: live priors, what upstreams honour, who may call. No call waits for it.

The store is looked at every SHELF_SECONDS, in a thread. What was read last stays while the store cannot be read, is
locked, cut off or gone: a proxy in production goes on with the last good prior, and with the keys that it knows.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from threading import Lock

from ...errors import StoreError
from ...records import Backend, Snapshot, backend_key
from ...store import AccessKey, KeySpending, Store, StorePath
from ...store.keys import NOTHING_SPENT
from ...surfaces.chat import prior_text
from ...surfaces.http import Reason
from ...surfaces.surface import make_ready
from ..drawing import NOTHING_LEFT, DrawShares, Offer, PriorLess, left_out_sets
from ..places import first_of_equals

SHELF_SECONDS = 1.0
"""Between two looks."""
_NOTICES = 100
"""Different lines that one proxy says at most: the names in them may come from strangers."""
_NO_BACKENDS: Mapping[str, Backend] = {}
_NO_OFFER = Offer(None)

_logger = logging.getLogger("tfgrpo")


@dataclass(frozen=True, slots=True)
class Held:
    """What stood in the store at one moment."""

    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    """By namespace, where a prior is live."""
    offers: Mapping[str, Offer] = field(default_factory=dict)
    """By namespace, where a prior is live or a canary is out."""
    namespaces: frozenset[str] = frozenset()
    backends: Mapping[str, Mapping[str, Backend]] = field(default_factory=dict)
    """By base URL and model."""
    keys: Mapping[str, AccessKey] = field(default_factory=dict)
    """By id, revoked ones too."""


class Shelf:
    """What is held of one store, for one event loop."""

    def __init__(self, path: StorePath, namespace: str = "default", shares: DrawShares = NOTHING_LEFT) -> None:
        """`namespace` is that of calls that name none; `shares` what chance may decide of calls."""
        self.path = path
        self.namespace = namespace
        self.shares = shares
        self.held = Held()
        self.trouble: str | None = None
        """Why the store could not be read at the last look."""
        self._store: Store | None = None
        self._changes: int | None = None
        self._served: int | None = None
        self._spent: dict[str, KeySpending] = {}
        self._written: dict[str, KeySpending] = {}
        """What is being written down: the keys that are held do not have it yet."""
        self._spending = Lock()
        self._looking = Lock()
        """One thread at a time: the last look may still go on in its thread when the proxy ends."""
        self._reported = ""
        self._said: set[str] = set()

    @property
    def snapshot(self) -> Snapshot | None:
        """What is live in the proxy's own namespace."""
        return self.held.snapshots.get(self.namespace)

    def backends(self, base: str) -> Mapping[str, Backend]:
        """What is known of the upstream at a base URL, model by model."""
        return self.held.backends.get(backend_key(base), _NO_BACKENDS) if self.held.backends else _NO_BACKENDS

    def lacking(self, namespace: str) -> Reason | None:
        """Why there is no prior to add in a namespace; None: there is one."""
        if namespace in self.held.offers:
            return None
        if self.trouble and not self.held.namespaces:
            return "store"
        return "no live prior" if namespace in (self.namespace, *self.held.namespaces) else "namespace"

    def knows(self, namespace: str) -> bool:
        """Whether there is such a namespace: whoever calls may name any."""
        return namespace == self.namespace or namespace in self.held.namespaces

    def spent(self, key: AccessKey) -> KeySpending:
        """What was spent under a key here that it does not have itself."""
        with self._spending:
            written = self._written.get(key.id, NOTHING_SPENT)
            return self._spent.get(key.id, NOTHING_SPENT).plus(*written)

    def spend(self, key: AccessKey, calls: int = 0, tokens: int = 0) -> None:
        """Remember what was spent under a key, to be written down at the next look."""
        with self._spending:
            self._spent[key.id] = self._spent.get(key.id, NOTHING_SPENT).plus(calls, tokens)

    def refresh(self) -> None:
        """Write down what was spent, and look at the store now."""
        with self._looking:
            self._refresh()

    def _refresh(self) -> None:
        try:
            self._look()
        except StoreError:
            self._release()  # one that was replaced by another file is opened anew at once
            try:
                self._look()
            except StoreError as error:
                self._release()
                self.trouble = str(error)
                until = "what was read last is served" if self.held.namespaces else "calls go out without a prior"
                self._report(f"{error}; until then {until}")
                return
        self.trouble = None
        self._report(self._standing())

    def listen(self, seconds: float) -> bool:
        """Wait so long at most until it is told that another prior is live; False at once where nobody tells it."""
        return self._store is not None and self._store.listen(seconds)

    def close(self) -> None:
        """Write down what was spent, and let go of the store."""
        if self._spent:
            self.refresh()
        with self._looking:
            self._release()

    def say(self, notice: str | None) -> None:
        """Log a line, the first time that it is said."""
        if notice and notice not in self._said and len(self._said) < _NOTICES:
            self._said.add(notice)
            _logger.warning(notice)

    def _look(self) -> None:
        self._store = self._store or Store(self.path, create=False)
        if self._spent:
            with self._spending:
                written, self._spent = self._spent, {}
                self._written = written
            try:
                self._store.add_spending(written)
            except StoreError:
                with self._spending:
                    for id_, (calls, tokens) in self._spent.items():
                        written[id_] = written.get(id_, NOTHING_SPENT).plus(calls, tokens)
                    self._spent, self._written = written, {}
                raise
        changes = self._store.changes()  # asked first: what is committed in between is read next time
        if changes != self._changes:
            served = self._store.served()
            if served != self._served:  # calls that are recorded change nothing that is held
                self.held, self._served = self._read(self._store), served
            self._changes = changes
        self._written = {}

    def _read(self, store: Store) -> Held:
        names = frozenset(namespace.name for namespace in store.namespaces())
        offers = {name: self._offer(store, name) for name in names}
        return Held(
            {name: offer.live for name, offer in offers.items() if offer.live},
            {name: offer for name, offer in offers.items() if offer.live or offer.canary},
            names,
            store.probes(),
            {key.id: key for key in store.access_keys()},
        )

    def _offer(self, store: Store, name: str) -> Offer:
        """What calls of a namespace may get, ready to be given."""
        before = self.held.offers.get(name, _NO_OFFER)
        live, (canary, share) = store.live(name), store.canary(name) or (None, 0.0)
        live, canary = live and _ready(live), canary and _ready(canary)
        same = live is not None and live == before.live
        return Offer(live, canary, share, before.sets if same else self._sets(live))

    def _sets(self, live: Snapshot | None) -> tuple[PriorLess, ...]:
        if live is None or not self.shares.leave_out:
            return ()
        return tuple(replace(one, snapshot=_ready(one.snapshot)) for one in left_out_sets(live))

    def _release(self) -> None:
        if self._store:
            self._store.close()
        self._store, self._changes, self._served = None, None, None

    def _standing(self) -> str:
        offer = self.held.offers.get(self.namespace, _NO_OFFER)
        tried = f"; {offer.share:.0%} of its calls have canary {offer.canary.prior.id}" if offer.canary else ""
        if self.snapshot:
            return f"prior {self.snapshot.prior.id} of namespace {self.namespace!r} is {self.snapshot.state}{tried}"
        return (
            f"namespace {self.namespace!r} of store {self.path} has no live prior: calls go out without one;"
            f" `tfgrpo learn` makes one, `tfgrpo prior list` shows what there is{tried}"
        )

    def _report(self, standing: str) -> None:
        if standing != self._reported:
            self._reported = standing
            _logger.log(logging.INFO if self.snapshot and not self.trouble else logging.WARNING, standing)


def _ready(snapshot: Snapshot) -> Snapshot:
    """The same, of a prior that is ready to be given: what was made ready is found by its being the same object."""
    prior = first_of_equals(snapshot.prior)
    make_ready(prior)
    prior_text(prior)
    return replace(snapshot, prior=prior)
