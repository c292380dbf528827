"""An experience that a person or a file offers to a namespace, and what it meets there: what was decided before, the
library, the tasks."""

from dataclasses import dataclass

from ..errors import InputError
from ..experiences.library import DISTILLER, RULE, Library, places
from ..records import Decision, Experience, Fate, Task
from ..settings import Settings
from ..store import AUTOPILOT, Store


@dataclass(frozen=True, slots=True)
class Offered:
    """What became of one text that was offered."""

    text: str
    verdict: str
    """`on trial`, `awaiting review` or `refused`; any, where it was decided here before."""
    why: str | None
    experience: str | None
    """Its id; None when it was refused now, since nothing is stored then."""
    stands: bool = False
    """It was decided here before, and that stands: an import overrules nobody."""


def person_named(by: str) -> str:
    """The name without blanks around it; InputError for none, and for those by which tfgrpo itself decides."""
    name = by.strip()
    if name.casefold() in ("", RULE, DISTILLER, AUTOPILOT):
        own = (
            f"{RULE}, {DISTILLER} and {AUTOPILOT} are tfgrpo's own (on the dashboard the name is that of the admin key)"
        )
        raise InputError(f"--by {by!r}: give a person's name; {own}")
    return name


def library_of(store: Store, namespace: str) -> Library:
    """The experiences of a namespace, with what stands decided of each."""
    known = store.experiences(namespace)
    decisions = tuple(status.decision for status in known if status.decision)
    return Library(tuple(status.experience for status in known), decisions)


def fate_of_new(library: Library, new: Experience, settings: Settings) -> Fate:
    """On trial while there is a place for its kind, else it waits for one."""
    taken = sum(entry.kind == new.kind for entry in library.having("on trial"))
    return "on trial" if taken < places(new.kind, settings) else "awaiting review"


def decided_before(experience: Experience, last: Decision) -> Offered:
    """An experience of which a decision stands."""
    why = f"decided here by {last.by}: {last.why}"
    return Offered(experience.text, last.verdict, why, experience.id, stands=True)


def tasks_used(store: Store, namespace: str) -> tuple[Task, ...]:
    """Every task that a run of the namespace has used: no experience may give away the answer of one."""
    return store.tasks(dict.fromkeys(task for entry in store.runs(namespace) for task in entry.run.tasks))
