"""What was learned: experiences with their evidence, priors, and which of them is live. Rows are appended only."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlite_utils import Database

from ..records import Decision, Effect, Experience, Frame, Origin, Prior, PriorState, Snapshot
from . import rows
from .file import StoreFile
from .queries import add_namespace, one_row
from .variants import add_demonstrations, demonstration_of
from .writer import ONCE, Row, insert

SERVING = ("live", "ungated")
"""States in which a prior is given to clients; it leaves them by being superseded or rolled back."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A lineage of priors, and the model that it was first used with."""

    name: str
    model: str | None


@dataclass(frozen=True, slots=True)
class ExperienceStatus:
    """An experience with the latest that is known of it in one namespace."""

    experience: Experience
    effect: Effect | None
    """The latest that a run of the namespace has measured, else the latest that was imported."""
    decision: Decision | None
    imported: bool = False
    """The effect was measured elsewhere."""


@dataclass(frozen=True, slots=True)
class ExperienceHistory:
    """All that is known of an experience in one namespace, oldest first, each with its time, UTC in ISO 8601."""

    experience: Experience
    origins: tuple[tuple[str, Origin], ...]
    effects: tuple[tuple[str, Effect], ...]
    decisions: tuple[tuple[str, Decision], ...]
    successors: tuple[str, ...]
    """Ids of the experiences that replace it."""


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


class LineageStore(StoreFile):
    """The part of the store that outlives a run."""

    def namespaces(self) -> tuple[Namespace, ...]:
        """All namespaces by name."""
        with self._read("listing namespaces") as db:
            return tuple(Namespace(**row) for row in db.query("SELECT name, model FROM namespaces ORDER BY name"))

    def add_experiences(self, namespace: str, experiences: Iterable[Experience]) -> None:
        """Add experiences and where they came from; what is there already stays."""
        added = list(experiences)
        texts = [rows.experience_row(experience) for experience in added]
        origins = [rows.origin_row(namespace, experience) for experience in added]

        def work(db: Database) -> None:
            add_namespace(db, namespace)
            insert(db, "experiences", texts, ONCE)
            insert(db, "origins", origins, ONCE)

        self._write(f"adding experiences to {namespace}", work)

    def add_effects(self, namespace: str, effects: Iterable[Effect]) -> None:
        """Append estimates; one of the same experience, run and step is there already when a run is resumed."""
        self._append("effects", namespace, [rows.effect_row(namespace, effect) for effect in effects])

    def add_decisions(self, namespace: str, decisions: Iterable[Decision]) -> None:
        """Append decisions; a run's own, with the same step and verdict, is there already when it is resumed."""
        self._append("decisions", namespace, [rows.decision_row(namespace, decision) for decision in decisions])

    def experiences(self, namespace: str, *, without_run: str | None = None) -> tuple[ExperienceStatus, ...]:
        """The experiences of a namespace in the order they came, each with its latest effect and decision.

        `without_run` leaves out what one run has added, and others since it began: a run that is resumed starts from
        what it once started from.
        """
        with self._read(f"reading the experiences of {namespace}") as db:
            found = db.query(_STANDING, {"namespace": namespace, "without": without_run})
            return tuple(_status(row) for row in found)

    def effects(self, namespace: str, run_id: str) -> tuple[Effect, ...]:
        """The estimates that a run has made, oldest first."""
        return tuple(rows.effect_of(row) for row in self._made_by("effects", namespace, run_id))

    def decisions(self, namespace: str, run_id: str) -> tuple[Decision, ...]:
        """The decisions that a run has made, oldest first."""
        return tuple(rows.decision_of(row) for row in self._made_by("decisions", namespace, run_id))

    def history(self, namespace: str, given: str) -> ExperienceHistory:
        """The past of the experience with this id, or the only one whose id begins so; empty in another namespace."""
        with self._read(f"looking up experience {given}") as db:
            row = one_row(db, "experiences", "experience", given, prefix="exp")
            return _history(db, namespace, row)

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
    ) -> None:
        """Append an event to a namespace's lineage; a resumed run's own event is there already.

        A prior that goes live, gated or not, supersedes the one that was.
        """
        event: Row = {
            "namespace": namespace,
            "prior": prior_id,
            "state": state,
            "frame": rows.frame_text(frame),
            "run": run,
            "by": by,
            "why": why,
        }
        work = partial(_set_state, namespace=namespace, prior_id=prior_id, state=state, event=event, model=frame.model)
        self._write(f"making {prior_id} {state} in {namespace}", work)

    def lineage(self, namespace: str) -> tuple[LineageEntry, ...]:
        """All events of a namespace, oldest first."""
        query = "SELECT prior, state, frame, run, by, why, at FROM lineage WHERE namespace = ? ORDER BY id"
        with self._read(f"reading the lineage of {namespace}") as db:
            found = list(db.query(query, [namespace]))
            return tuple(LineageEntry(**{**row, "frame": rows.frame_of(row["frame"])}) for row in found)

    def live(self, namespace: str) -> Snapshot | None:
        """The prior that clients are given, with its request frame; None when there is none."""
        with self._read(f"reading the live prior of {namespace}") as db:
            event = _live(db, namespace)
            if event is None:
                return None
            prior = load_prior(db, one_row(db, "priors", "prior", event["prior"]))
            return Snapshot(namespace, prior, event["state"], rows.frame_of(event["frame"]))

    def _made_by(self, table: str, namespace: str, run_id: str) -> list[dict[str, Any]]:
        with self._read(f"reading the {table} of run {run_id}") as db:
            return list(
                db.query(f"SELECT * FROM {table} WHERE namespace = ? AND run = ? ORDER BY id", [namespace, run_id])
            )

    def _append(self, table: str, namespace: str, added: list[Row]) -> None:
        def work(db: Database) -> None:
            add_namespace(db, namespace)
            insert(db, table, added, ONCE)

        self._write(f"adding {table} to {namespace}", work)


_STANDING = """
SELECT experiences.id, experiences.kind, experiences.text,
    decisions.verdict, decisions.why, decisions.by, decisions.run AS decision_run, decisions.step AS decision_step,
    effects.mean, effects.sd, effects.evidence, effects.run AS effect_run, effects.step AS effect_step,
    EXISTS (SELECT 1 FROM runs WHERE id = effects.run AND namespace = :namespace) AS own,
    origins.run, origins.step, origins.tasks, origins.parent
FROM (
    SELECT min(id) AS first, max(id) AS last FROM origins
    WHERE namespace = :namespace AND run IS NOT :without
    AND at <= coalesce((SELECT started FROM runs WHERE id = :without), '9') GROUP BY experience) AS seen
JOIN origins ON origins.id = seen.last
JOIN experiences ON experiences.id = origins.experience
LEFT JOIN decisions ON decisions.id = (
    SELECT max(id) FROM decisions AS latest
    WHERE namespace = :namespace AND experience = origins.experience AND run IS NOT :without
    AND at <= coalesce((SELECT started FROM runs WHERE id = :without), '9'))
LEFT JOIN effects ON effects.id = (
    SELECT id FROM effects AS latest
    WHERE namespace = :namespace AND experience = origins.experience AND run IS NOT :without
    AND at <= coalesce((SELECT started FROM runs WHERE id = :without), '9')
    ORDER BY EXISTS (SELECT 1 FROM runs WHERE id = latest.run AND namespace = :namespace) DESC, id DESC LIMIT 1)
ORDER BY seen.first
"""


def _status(row: dict[str, Any]) -> ExperienceStatus:
    experience = rows.experience_of(row)
    effect = decision = None
    if row["mean"] is not None:
        effect = Effect(experience.id, row["effect_run"], row["effect_step"], row["mean"], row["sd"], row["evidence"])
    if row["verdict"] is not None:
        where = row["decision_run"], row["decision_step"]
        decision = Decision(experience.id, row["verdict"], row["why"], row["by"], *where)
    return ExperienceStatus(experience, effect, decision, effect is not None and not row["own"])


def _history(db: Database, namespace: str, row: dict[str, Any]) -> ExperienceHistory:
    def all_of(table: str) -> list[dict[str, Any]]:
        where = "namespace = :namespace AND experience = :experience"
        return list(db.query(f"SELECT * FROM {table} WHERE {where} ORDER BY id", place))

    place = {"namespace": namespace, "experience": row["id"]}
    versions = [(found["at"], rows.experience_of({**row, **found})) for found in all_of("origins")]
    next_ones = "SELECT DISTINCT experience FROM origins WHERE namespace = :namespace AND parent = :experience"
    return ExperienceHistory(
        experience=versions[-1][1] if versions else Experience(row["text"], row["kind"]),
        origins=tuple((at, version.origin) for at, version in versions),
        effects=tuple((found["at"], rows.effect_of(found)) for found in all_of("effects")),
        decisions=tuple((found["at"], rows.decision_of(found)) for found in all_of("decisions")),
        successors=tuple(experience for (experience,) in db.execute(next_ones, place)),
    )


def _add_prior(db: Database, prior: Prior) -> None:
    if not insert(db, "priors", [rows.prior_row(prior)], ONCE):
        return
    insert(db, "experiences", [rows.experience_row(experience) for experience in prior.experiences], ONCE)
    order = enumerate(prior.experiences)
    insert(db, "prior_experiences", [{"prior": prior.id, "position": n, "experience": entry.id} for n, entry in order])
    insert(db, "token_biases", [rows.bias_row(prior.id, entry) for entry in prior.biases])
    add_demonstrations(db, prior.demonstrations)
    shown = [entry.id for entry in prior.demonstrations]
    places: list[Row] = [{"prior": prior.id, "position": n, "demonstration": one} for n, one in enumerate(shown)]
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
SELECT demonstrations.*
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
    )
    rows.same_id(row["id"], prior.id)
    return prior


def _set_state(db: Database, *, namespace: str, prior_id: str, state: PriorState, event: Row, model: str) -> None:
    add_namespace(db, namespace, model)
    before = _live(db, namespace) if state in SERVING else None
    if not insert(db, "lineage", [event], ONCE):
        return
    if before and before["prior"] != prior_id:
        why = f"{prior_id} is {state}"
        ended = {**event, "prior": before["prior"], "frame": before["frame"], "state": "superseded", "why": why}
        insert(db, "lineage", [ended])


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
