"""Experiences with their evidence, and ways to prompt with their demonstrations. Rows are appended only."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..records import Decision, Demonstration, Effect, Experience, Origin, Variant
from . import rows
from .database import ONCE, Database, Row, add_namespace, insert, one_row
from .opened import OpenStore


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


class ExperienceStore(OpenStore):
    """The part of the store that remembers experiences, namespace by namespace."""

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


_EXPLORED = """
SELECT variants.* FROM variants
JOIN runs ON runs.id = variants.run
JOIN runs AS begun ON begun.namespace = runs.namespace
WHERE runs.kind = 'explore' AND begun.id = ? AND variants.at <= begun.started
ORDER BY runs.started DESC, runs.id, variants.id
"""


class VariantStore(OpenStore):
    """The part of the store that remembers what raced."""

    def add_variants(self, run_id: str, variants: Iterable[tuple[Variant, int]]) -> None:
        """Add ways to prompt that race in a run, with the tokens that each adds to a request; a resumed run's stay."""
        added = list(variants)
        shown = [entry for variant, _ in added for entry in variant.demonstrations]
        entries = [_variant_row(run_id, variant, tokens) for variant, tokens in added]

        def work(db: Database) -> None:
            add_demonstrations(db, shown)
            insert(db, "variants", entries, ONCE)

        self._write(f"adding variants to run {run_id}", work)

    def variants(self, run_id: str) -> tuple[tuple[Variant, int], ...]:
        """The ways to prompt that raced in a run, in the order they came, with the tokens that each adds."""
        with self._read(f"reading the variants of run {run_id}") as db:
            found = list(db.query("SELECT * FROM variants WHERE run = ? ORDER BY rowid", [run_id]))
            return tuple((load_variant(db, row), row["tokens"]) for row in found)

    def explored_variants(self, run_id: str) -> tuple[Variant, ...]:
        """The ways to prompt that the last exploration added to a run's namespace, of those before the run began."""
        with self._read(f"reading what was explored before run {run_id}") as db:
            found = list(db.query(_EXPLORED, [run_id]))
            return tuple(load_variant(db, row) for row in found if row["run"] == found[0]["run"])


def add_demonstrations(db: Database, demonstrations: Sequence[Demonstration]) -> None:
    """Add demonstrations; one that is there already stays, with its task."""
    insert(db, "demonstrations", [_demonstration_row(entry) for entry in demonstrations], ONCE)


def _demonstration_row(demonstration: Demonstration) -> Row:
    return {
        "id": demonstration.id,
        "input": rows.dumps(demonstration.input),
        "answer": demonstration.answer,
        "task": demonstration.task,
    }


def demonstration_of(row: Mapping[str, Any]) -> Demonstration:
    """The demonstration of a row, with its vector where that comes along; ValueError when its content is not what its
    id was made from."""
    given = json.loads(row["input"])
    asked = given if isinstance(given, str) else tuple(given)
    demonstration = Demonstration(asked, row["answer"], row["task"], row.get("vector", ""))
    rows.same_id(row["id"], demonstration.id)
    return demonstration


def _variant_row(run_id: str, variant: Variant, tokens: int) -> Row:
    return {
        "run": run_id,
        "id": variant.id,
        "source": rows.column_text(variant.source),
        "instruction": variant.instruction,
        "nearest": variant.nearest,
        "demonstrations": rows.dumps([entry.id for entry in variant.demonstrations]),
        "tokens": tokens,
        "embedding": rows.column_text(variant.embedding),
        "vectors": rows.dumps([entry.vector for entry in variant.demonstrations] if variant.embedding else []),
    }


def load_variant(db: Database, row: Mapping[str, Any]) -> Variant:
    """The variant of a row of `variants`; ValueError or LookupError for content that its id was not made from."""
    ids = json.loads(row["demonstrations"])
    listed = "SELECT * FROM demonstrations WHERE id IN (SELECT value FROM json_each(?))"
    known = {entry["id"]: demonstration_of(entry) for entry in db.query(listed, [rows.dumps(ids)])}
    vectors = json.loads(row["vectors"]) or [""] * len(ids)
    shown = tuple(replace(known[entry], vector=vector) for entry, vector in zip(ids, vectors, strict=True))
    variant = Variant(row["instruction"], shown, row["nearest"], row["source"], row["embedding"])
    rows.same_id(row["id"], variant.id)
    return variant
