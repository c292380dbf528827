"""Priors, and what became of each in its namespace: which is live. Rows are appended only."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any

from ..errors import StoreError
from ..records import Frame, Prior, PriorState, QuestionOffsets, Snapshot
from . import rows
from .database import ONCE, Database, Row, add_namespace, insert, one_row
from .experiences import add_demonstrations, demonstration_of
from .opened import OpenStore

SERVING = ("live", "ungated")
"""States in which a prior is given to clients; it leaves them by being superseded or rolled back."""
AUTOPILOT = "autopilot"
"""By whom what the autopilot does is, in lineage and history; no person goes by that name."""
_NO_PERSON = ("rule", AUTOPILOT)
IMPORTED = "imported from "
"""How the reason begins why a prior of another store is a candidate."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A lineage of priors, and the model that it was first used with."""

    name: str
    model: str | None


@dataclass(frozen=True, slots=True)
class LineageEntry:
    """One event in the life of a prior; `at` is UTC in ISO 8601, for people."""

    prior: str
    state: PriorState
    frame: Frame
    run: str
    by: str
    why: str
    at: str


def rolled_back_by_a_person(events: Iterable[LineageEntry], prior_id: str) -> LineageEntry | None:
    """The event by which a person has rolled a prior back, which stands; None where nobody has, or where it was served
    or tried again since. Pure."""
    own = [event for event in events if event.prior == prior_id]
    since = takewhile(lambda event: event.state in ("rolled back", "rejected"), reversed(own))
    return next((event for event in since if event.state == "rolled back" and event.by not in _NO_PERSON), None)


_SERVED = """
SELECT (SELECT max(id) FROM lineage), (SELECT max(id) FROM canaries), (SELECT max(id) FROM probes),
    (SELECT count(*) FROM namespaces), (SELECT count(*) FROM keys), (SELECT count(*) FROM revocations),
    (SELECT sum(calls) FROM key_use), (SELECT sum(tokens) FROM key_use)
"""


class LineageStore(OpenStore):
    """The part of the store that remembers priors, and which of them is live in each namespace."""

    def namespaces(self) -> tuple[Namespace, ...]:
        """All namespaces by name."""
        with self._read("listing namespaces") as db:
            return tuple(Namespace(**row) for row in db.query("SELECT name, model FROM namespaces ORDER BY name"))

    def served(self) -> int:
        """A number that differs once anything that is served may: calls and feedback move `changes`, and not this."""
        with self._read("looking at what is served") as db:
            return hash(tuple(db.execute(_SERVED).fetchone()))

    def add_prior(self, prior: Prior) -> None:
        """Add a prior with all that it holds, in order; one that is there already stays."""
        self._write(f"adding {prior.id}", partial(_add_prior, prior=prior))

    def prior(self, given: str) -> Prior:
        """The prior with this id, or the only one whose id begins so."""
        with self._read(f"looking up prior {given}") as db:
            return load_prior(db, one_row(db, "priors", "prior", given))

    def set_state(
        self,
        namespace: str,
        prior_id: str,
        state: PriorState,
        *,
        frame: Frame,
        run: str = "",
        by: str = "rule",
        why: str = "",
        seen: int | None = None,
    ) -> None:
        """Append an event to a namespace's lineage; a resumed run's own event is there already.

        A prior that goes live, gated or not, supersedes the one that was. `seen`: as many events of the namespace were
        decided by; StoreError, and nothing is changed, where there are others by now.
        """
        event = LineageEntry(prior_id, state, frame, run, by, why, "")
        self.add_events(namespace, [event], seen=seen)

    def add_events(self, namespace: str, events: Sequence[LineageEntry], *, seen: int | None = None) -> None:
        """Append several, in order, as `set_state` does one: all or none. Their time is now."""

        def work(db: Database) -> None:
            if seen is not None and seen != _events(db, namespace):
                raise StoreError(f"somebody else has changed what namespace {namespace} serves meanwhile; look again")
            for event in events:
                _add_event(db, namespace, event)

        told = " and ".join(f"{event.prior} {event.state}" for event in events)
        self._write(f"making {told} in {namespace}", work)

    def lineage(self, namespace: str) -> tuple[LineageEntry, ...]:
        """All events of a namespace, oldest first."""
        query = "SELECT prior, state, frame, run, by, why, at FROM lineage WHERE namespace = ? ORDER BY id"
        with self._read(f"reading the lineage of {namespace}") as db:
            found = list(db.query(query, [namespace]))
            return tuple(LineageEntry(**(row | {"frame": rows.frame_of(row["frame"])})) for row in found)

    def imported_before(self, run_id: str) -> tuple[Prior, ...]:
        """What had been imported into a run's namespace when the run began and was still a candidate, newest first."""
        with self._read(f"reading what was imported before run {run_id}") as db:
            found = list(db.query("SELECT namespace, started FROM runs WHERE id = ?", [run_id]))
        events = [event for row in found for event in self.lineage(row["namespace"]) if event.at <= row["started"]]
        last = {event.prior: event for event in events}
        taken_in = dict.fromkeys(event.prior for event in reversed(events) if event.why.startswith(IMPORTED))
        return tuple(self.prior(one) for one in taken_in if last[one].state == "candidate")

    def live(self, namespace: str) -> Snapshot | None:
        """The prior that clients are given, with its request frame; None when there is none."""
        with self._read(f"reading the live prior of {namespace}") as db:
            event = _live(db, namespace)
            if event is None:
                return None
            prior = load_prior(db, one_row(db, "priors", "prior", event["prior"]))
            return Snapshot(namespace, prior, event["state"], rows.frame_of(event["frame"]))


def _add_prior(db: Database, prior: Prior) -> None:
    if not insert(db, "priors", [rows.prior_row(prior)], ONCE):
        return
    insert(db, "experiences", [rows.experience_row(experience) for experience in prior.experiences], ONCE)
    order = enumerate(prior.experiences)
    insert(db, "prior_experiences", [{"prior": prior.id, "position": n, "experience": entry.id} for n, entry in order])
    insert(db, "token_biases", [rows.bias_row(prior.id, entry) for entry in prior.biases])
    insert(db, "prior_questions", [rows.question_row(prior.id, entry) for entry in prior.questions])
    offsets = [rows.offset_row(prior.id, entry.id, one) for entry in prior.questions for one in entry.offsets]
    insert(db, "option_offsets", offsets)
    add_demonstrations(db, prior.demonstrations)
    places: list[Row] = [
        {
            "prior": prior.id,
            "position": place,
            "demonstration": one.id,
            "vector": one.vector if prior.embedding else "",
        }
        for place, one in enumerate(prior.demonstrations)
    ]
    insert(db, "prior_demonstrations", places)


_EXPERIENCES = """
SELECT experiences.kind, experiences.text, origins.run, origins.step, origins.tasks, origins.parent
FROM prior_experiences
JOIN experiences ON experiences.id = prior_experiences.experience
LEFT JOIN origins ON origins.id = (SELECT min(id) FROM origins WHERE origins.experience = experiences.id)
WHERE prior_experiences.prior = ?
ORDER BY prior_experiences.position
"""


_DEMONSTRATIONS = """
SELECT demonstrations.*, prior_demonstrations.vector
FROM prior_demonstrations
JOIN demonstrations ON demonstrations.id = prior_demonstrations.demonstration
WHERE prior_demonstrations.prior = ?
ORDER BY prior_demonstrations.position
"""


def load_prior(db: Database, row: dict[str, Any]) -> Prior:
    """The prior of a row of `priors`; ValueError when its content is not what its id was made from."""
    biases = db.query("SELECT * FROM token_biases WHERE prior = ? ORDER BY token", [row["id"]])
    prior = Prior(
        experiences=tuple(rows.experience_of(entry) for entry in db.query(_EXPERIENCES, [row["id"]])),
        biases=tuple(rows.bias_of(entry) for entry in biases),
        tokenizer=row["tokenizer"],
        template=row["template"],
        parent=row["parent"],
        instruction=row["instruction"],
        demonstrations=tuple(demonstration_of(entry) for entry in db.query(_DEMONSTRATIONS, [row["id"]])),
        nearest=row["nearest"],
        questions=tuple(_questions(db, row["id"])),
        embedding=row["embedding"],
    )
    rows.same_id(row["id"], prior.id)
    return prior


def _questions(db: Database, prior: str) -> Iterator[QuestionOffsets]:
    offsets = list(db.query("SELECT * FROM option_offsets WHERE prior = ? ORDER BY question, option", [prior]))
    for row in list(db.query("SELECT * FROM prior_questions WHERE prior = ? ORDER BY question", [prior])):
        yield rows.question_of(row, (one for one in offsets if one["question"] == row["question"]))


def _add_event(db: Database, namespace: str, event: LineageEntry) -> None:
    add_namespace(db, namespace, event.frame.model)
    before = _live(db, namespace) if event.state in SERVING else None
    row: Row = {
        "namespace": namespace,
        "prior": event.prior,
        "state": event.state,
        "frame": rows.frame_text(event.frame),
        "run": event.run,
        "by": event.by,
        "why": event.why,
    }
    if not insert(db, "lineage", [row], ONCE):
        return
    if event.state in SERVING:
        db.announce(namespace)
    if before and before["prior"] != event.prior:
        why = f"{event.prior} is {event.state}"
        ended = {**row, "prior": before["prior"], "frame": before["frame"], "state": "superseded", "why": why}
        insert(db, "lineage", [ended])


def _events(db: Database, namespace: str) -> int:
    found = db.execute("SELECT count(*) FROM lineage WHERE namespace = ?", [namespace]).fetchone()
    return int(found[0])


_LIVE = """
SELECT prior, state, frame FROM lineage AS event
WHERE namespace = ? AND state IN ('live', 'ungated') AND NOT EXISTS (
    SELECT 1 FROM lineage AS later
    WHERE later.namespace = event.namespace AND later.prior = event.prior AND later.id > event.id
    AND later.state IN ('superseded', 'rolled back'))
ORDER BY id DESC LIMIT 1
"""


def _live(db: Database, namespace: str) -> dict[str, Any] | None:
    """The event that made the live prior of a namespace live."""
    found = list(db.query(_LIVE, [namespace]))
    return found[0] if found else None
