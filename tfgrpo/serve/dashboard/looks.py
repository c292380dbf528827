"""What the dashboard tells of the store, read once for each page; every number stands there, or is a count of rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from ...deployment.history import Happening, of_priors
from ...priors.serving import before_live
from ...records import Prior, Snapshot
from ...store import SERVING, ExperienceStatus, HistoryEntry, LineageEntry, Store
from ...store.browse import RunRow

LATEST_RUNS, LATEST_EVENTS, LATEST_PRIORS = 20, 50, 20
"""So many are shown of each."""
NAMESPACES, EXPERIENCES = 60, 100
_REACH = NormalDist().inv_cdf(0.975)
"""Of a 95% interval, in standard deviations, as `experiences.credit` has it, which takes a second to load."""


@dataclass(frozen=True, slots=True)
class NamespaceLine:
    """A namespace in the list of all."""

    name: str
    model: str | None
    live: Snapshot | None
    since: str
    """When it went live."""
    canary: tuple[Snapshot, float] | None


@dataclass(frozen=True, slots=True)
class StandingExperience:
    """An experience with what is known of it, and its place on the axis that all share."""

    status: ExperienceStatus
    served: bool

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval of its effect, in reward units."""
        effect = self.status.effect
        return (effect.mean - _REACH * effect.sd, effect.mean + _REACH * effect.sd) if effect else None


@dataclass(frozen=True, slots=True)
class OfferedPrior:
    """A prior that a person may serve: what it holds, and what became of it last."""

    id: str
    event: LineageEntry
    served: bool


@dataclass(frozen=True, slots=True)
class NamespaceLook:
    """All that is told of one namespace, but for its traffic."""

    name: str
    live: Snapshot | None
    since: LineageEntry | None
    """The event that made it live."""
    back: str | None
    """The prior that a roll back goes to."""
    canary: tuple[Snapshot, float] | None
    experiences: tuple[StandingExperience, ...]
    """Those of the live prior first, in the order shown; then the others, the strongest effect first."""
    more_experiences: int
    priors: tuple[OfferedPrior, ...]
    """The latest first."""
    history: tuple[Happening, ...]
    """The latest first."""
    runs: tuple[RunRow, ...]
    asked: HistoryEntry | None
    """What the autopilot asks a person to approve."""


def namespace_lines(store: Store, page: int = 1) -> tuple[tuple[NamespaceLine, ...], bool]:
    """Some namespaces by name, a page of them, and whether there are more."""
    found, names, first = [], store.namespaces(), NAMESPACES * (page - 1)
    for one in names[first : first + NAMESPACES]:
        live = store.live(one.name)
        since = _since(store.lineage(one.name), live)
        canary = store.canary(one.name)
        found.append(NamespaceLine(one.name, one.model, live, since.at if since else "", canary))
    return tuple(found), len(names) > first + NAMESPACES


def namespace_look(store: Store, name: str) -> NamespaceLook:
    """One namespace, which may be one that nothing is known of."""
    live, events = store.live(name), store.lineage(name)
    since = _since(events, live)
    back = before_live(store, name) if live else None
    experiences = _experiences(store.experiences(name), live.prior if live else None)
    rows = store.history_of(name, LATEST_EVENTS)
    return NamespaceLook(
        name=name,
        live=live,
        since=since,
        back=back.prior if back else None,
        canary=store.canary(name),
        experiences=experiences[:EXPERIENCES],
        more_experiences=len(experiences[EXPERIENCES:]),
        priors=_offered(events, live)[:LATEST_PRIORS],
        history=_latest(events, rows),
        runs=store.latest_runs(name, LATEST_RUNS),
        asked=_asked(rows),
    )


def _latest(events: Sequence[LineageEntry], rows: Sequence[HistoryEntry]) -> tuple[Happening, ...]:
    """What became of priors, and what was done and told, the latest first; as `tfgrpo history` has it."""
    found = of_priors(events[-LATEST_EVENTS:], rows)
    return tuple(sorted(found, key=lambda one: one.at)[::-1][:LATEST_EVENTS])


def _asked(rows: Sequence[HistoryEntry]) -> HistoryEntry | None:
    """The last question of the autopilot, unless something was done with its prior since."""
    for place, row in reversed(list(enumerate(rows))):
        if row.action == "told" and str(row.figures.get("about")).startswith("ask "):
            later = (one for one in rows[place + 1 :] if one.prior == row.prior and one.action != "told")
            return None if any(later) else row
    return None


def _since(events: Sequence[LineageEntry], live: Snapshot | None) -> LineageEntry | None:
    if live is None:
        return None
    own = [event for event in events if event.prior == live.prior.id and event.state in SERVING]
    return own[-1] if own else None


def _experiences(known: Sequence[ExperienceStatus], prior: Prior | None) -> tuple[StandingExperience, ...]:
    shown = [experience.id for experience in prior.experiences] if prior else []
    by_id = {status.experience.id: status for status in known}
    first = [
        StandingExperience(by_id.get(one.id) or ExperienceStatus(one, None, None), served=True)
        for one in (prior.experiences if prior else ())
    ]
    others = [StandingExperience(one, served=False) for one in known if one.experience.id not in shown]
    told = [one for one in others if not (one.status.decision and one.status.decision.verdict == "refused")]
    told.sort(key=lambda one: -one.status.effect.mean if one.status.effect else 2.0)
    return (*first, *told)


def _offered(events: Sequence[LineageEntry], live: Snapshot | None) -> tuple[OfferedPrior, ...]:
    last = {event.prior: event for event in events}
    order = list(dict.fromkeys(event.prior for event in reversed(events)))
    return tuple(OfferedPrior(one, last[one], live is not None and live.prior.id == one) for one in order)
