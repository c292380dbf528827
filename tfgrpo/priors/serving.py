"""A person's choice of the prior that a namespace serves: `prior use` and `prior rollback`.

It is appended to the lineage with the person's name; nothing that was is changed.
"""

from dataclasses import replace

from ..errors import InputError
from ..records import Prior, PriorState, Snapshot
from ..store import SERVING, LineageEntry, Store
from .versions import served

_NO_PRIOR = "tfgrpo prior list shows what there is"


def event_of(store: Store, namespace: str, prior: Prior) -> LineageEntry:
    """The last event of a prior in a namespace; InputError when it has none there."""
    events = [event for event in store.lineage(namespace) if event.prior == prior.id]
    if not events:
        raise InputError(
            f"{prior.id} was never a candidate in namespace {namespace}; {_NO_PRIOR}, and tfgrpo prior import brings in"
            " one of another namespace"
        )
    return events[-1]


def snapshot_of(store: Store, namespace: str, given: str) -> Snapshot:
    """A prior by id or the beginning of it, under the request frame that it has in the namespace."""
    prior = store.prior(given)
    event = event_of(store, namespace, prior)
    return Snapshot(namespace, prior, event.state, event.frame)


def use(store: Store, namespace: str, given: str, *, by: str, why: str) -> Snapshot:
    """Make a prior live that was there before; it is ungated unless a gate has passed it."""
    from .offered import person_named  # it loads what learning does, and whoever only asks what is served does not

    by = person_named(by)
    chosen, live = snapshot_of(store, namespace, given), store.live(namespace)
    if live and live.prior.id == chosen.prior.id:
        raise InputError(f"{live.prior.id} is {live.state} in namespace {namespace} already")
    passed = any(event.prior == chosen.prior.id and event.state == "live" for event in store.lineage(namespace))
    state: PriorState = "live" if passed else "ungated"
    store.set_state(namespace, chosen.prior.id, state, frame=chosen.frame, by=by, why=why)
    return replace(chosen, state=state)


def before_live(store: Store, namespace: str) -> LineageEntry | None:
    """What a rollback goes back to; None: nothing was served before, and calls would go out without a prior."""
    earlier = [event for event in served(store.lineage(namespace))[:-1] if event.state in SERVING]
    return earlier[-1] if earlier else None


def roll_back(store: Store, namespace: str, *, by: str, why: str) -> tuple[Snapshot, Snapshot | None]:
    """A person goes back to the prior that was served before the live one: `went_back`, in their name."""
    from .offered import person_named

    return went_back(store, namespace, by=person_named(by), why=why)


def went_back(
    store: Store, namespace: str, *, by: str, why: str, seen: int | None = None
) -> tuple[Snapshot, Snapshot | None]:
    """Go back to the prior that was served before the live one; returns what was live, and what is now.

    With none before it, calls go out without a prior from then on. Both events are written, or none. `seen` as in
    `Store.set_state`.
    """
    live = store.live(namespace)
    if live is None:
        raise InputError(f"no prior is live in namespace {namespace}, so there is nothing to roll back; {_NO_PRIOR}")
    events = [LineageEntry(live.prior.id, "rolled back", live.frame, "", by, why, "")]
    if back := before_live(store, namespace):
        told = f"{live.prior.id} is rolled back"
        events.insert(0, replace(back, run="", by=by, why=told))
    store.add_events(namespace, events, seen=seen)
    return live, store.live(namespace)
