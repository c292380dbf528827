"""Taking in a prior of another store: it is a candidate here, its experiences on trial while there are places."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..errors import InputError
from ..experiences.admission import refusal, secret_in, text_refusal
from ..records import Decision, Prior, Snapshot, Task
from ..settings import Settings
from ..store import IMPORTED, Store
from ..surfaces.surface import turns_text
from ..text import shortened
from .offered import Offered, decided_before, fate_of_new, library_of, person_named, tasks_used
from .portable import Portable
from .serving import snapshot_of

_SHOWN = 5
"""Objections that one error names at most."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A prior that was taken in, and what became of its experiences, in their order."""

    snapshot: Snapshot
    experiences: tuple[Offered, ...]


def import_prior(
    store: Store, namespace: str, portable: Portable, *, by: str, source: str, settings: Settings | None = None
) -> Imported:
    """Take in a prior as a candidate, with the run that learned it and what is known of its effects.

    Its experiences are on trial here while there are places, and else wait for review, whatever they were at home; what
    was decided here before stands. Raises InputError, and takes in nothing, when admission refuses one of them, or the
    prior's instruction, or when a demonstration holds a secret.
    """
    by, prior = person_named(by), portable.prior
    _admit(prior, tasks_used(store, namespace), source)
    library, outcomes = library_of(store, namespace), []
    decisions: list[Decision] = []
    for entry in prior.experiences:
        if last := library.standing.get(entry.id):
            outcomes.append(decided_before(entry, last))
            continue
        verdict = fate_of_new(library, entry, settings or Settings())
        decisions.append(Decision(entry.id, verdict, f"imported with {prior.id}", by))
        library = replace(library, experiences=(*library.experiences, entry)).decided(decisions[-1])
        outcomes.append(Offered(entry.text, verdict, None, entry.id))
    store.add_experiences(namespace, prior.experiences)
    store.add_effects(namespace, portable.effects)
    store.add_decisions(namespace, decisions)
    store.add_prior(prior)
    if prior.id not in {event.prior for event in store.lineage(namespace)}:
        told = f"{IMPORTED}{source}: {_home(portable)}"
        store.set_state(namespace, prior.id, "candidate", frame=portable.frame, run=portable.run, by=by, why=told)
    return Imported(snapshot_of(store, namespace, prior.id), tuple(outcomes))


def _home(portable: Portable) -> str:
    """What a prior was where it comes from, in a line."""
    learned = f"learned on {portable.frame.model}, run {portable.run or 'unknown'}"
    if not portable.lineage:
        return learned
    last = portable.lineage[-1]
    return f"{learned}; {last.state} in its namespace {shortened(portable.namespace, 40)} ({shortened(last.why, 200)})"


def _admit(prior: Prior, tasks: Sequence[Task], source: str) -> None:
    """A prior is one whole, so one refused text refuses it; that its texts repeat each other is no objection."""
    refused = [f"{place}: {why}" for place, why in _objections(prior, tasks) if why]
    if refused:
        more = f"; and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        raise InputError(f"{source}: not admitted, nothing was imported: {'; '.join(refused[:_SHOWN])}{more}")


def _objections(prior: Prior, tasks: Sequence[Task]) -> Iterator[tuple[str, str | None]]:
    """Each text of a prior by its place, and why it may not be tried; demonstrations speak in turns of their own."""
    yield "instruction", text_refusal(prior.instruction or "", tasks)
    for place, entry in enumerate(prior.experiences):
        yield f"experiences[{place}]", refusal(entry, (), tasks, Settings())
    for place, shown in enumerate(prior.demonstrations):
        yield f"demonstrations[{place}]", secret_in(unicodedata.normalize("NFKC", turns_text(shown)))
