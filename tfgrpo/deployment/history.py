"""What happened in a namespace, in order: its runs, what became of its priors, and what was done and told."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..records import JSON
from ..store import HistoryEntry, LineageEntry, Store

_TOGETHER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened."""

    at: str
    """UTC, in ISO 8601."""
    what: str
    """A run's kind and status, the state of a prior, or what was done."""
    by: str
    prior: str | None
    """Or the run, where it is one."""
    why: str
    figures: Mapping[str, JSON] = field(default_factory=dict)

    def as_json(self) -> dict[str, JSON]:
        """For programs."""
        told: dict[str, JSON] = {"at": self.at, "what": self.what, "by": self.by, "prior": self.prior, "why": self.why}
        return {**told, "figures": dict(self.figures)} if self.figures else told


def happened(store: Store, namespace: str) -> tuple[Happening, ...]:
    """All of a namespace, oldest first; of one moment, in the order of runs, lineage, and what was done."""
    rows = store.history_of(namespace, 1_000_000)
    found = [*_runs(store, namespace), *of_priors(store.lineage(namespace), rows)]
    return tuple(sorted(found, key=lambda one: one.at))


def of_priors(events: Iterable[LineageEntry], rows: Iterable[HistoryEntry]) -> Iterator[Happening]:
    """What became of priors, and what was done and told; what stands in both is told once, by the row that has figures.

    Of a process that was killed between the two there is the event alone.
    """
    done = list(rows)
    by_prior: dict[str | None, list[HistoryEntry]] = {}
    for row in done:
        by_prior.setdefault(row.prior, []).append(row)
    for event in events:
        if not any(_came_of(event, row) for row in by_prior.get(event.prior, ())):
            yield Happening(event.at, event.state, event.by, event.prior, event.why)
    for row in done:
        yield Happening(row.at, row.action, row.actor, row.prior, row.said, row.figures)


def _came_of(event: LineageEntry, row: HistoryEntry) -> bool:
    """Whether both are one thing: they have their reason in common, and the row was written right after the event."""
    if not (event.why and row.said.startswith(event.why)):
        return False
    later = datetime.fromisoformat(row.at) - datetime.fromisoformat(event.at)
    return timedelta() <= later < _TOGETHER


def _runs(store: Store, namespace: str) -> Iterator[Happening]:
    for entry in store.runs(namespace):
        run = entry.run
        told = f"{len(run.tasks)} tasks, {run.frame.model}, {run.usage.calls:,} calls"
        yield Happening(entry.started, f"{run.kind} began", "", run.id, told)
        if entry.ended:
            why = f"{told}; {run.result['error']}" if "error" in run.result else told
            yield Happening(entry.ended, f"{run.kind} {run.status}", "", run.id, why)
