"""What happened in a namespace, in order: its runs, what became of its priors, and what was done and told."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ..records import JSON
from ..store import HistoryEntry, LineageEntry, Store


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

    A row and the event that it made have their reason in common; of a process that was killed between the two there is
    the event alone.
    """
    done = list(rows)
    said: dict[str | None, list[str]] = {}
    for row in done:
        said.setdefault(row.prior, []).append(row.said)
    for event in events:
        if not (event.why and any(one.startswith(event.why) for one in said.get(event.prior, ()))):
            yield Happening(event.at, event.state, event.by, event.prior, event.why)
    for row in done:
        yield Happening(row.at, row.action, row.actor, row.prior, row.said, row.figures)


def _runs(store: Store, namespace: str) -> Iterator[Happening]:
    for entry in store.runs(namespace):
        run = entry.run
        told = f"{len(run.tasks)} tasks, {run.frame.model}, {run.usage.calls:,} calls"
        yield Happening(entry.started, f"{run.kind} began", "", run.id, told)
        if entry.ended:
            yield Happening(entry.ended, f"{run.kind} {run.status}", "", run.id, told)
