"""Ways to prompt: the demonstrations of priors, and the variants that race in a run. Rows are appended only."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlite_utils import Database

from ..records import Demonstration, Variant
from . import rows
from .file import StoreFile
from .writer import ONCE, Row, insert


class VariantStore(StoreFile):
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
    """The demonstration of a row; ValueError when its content is not what its id was made from."""
    given = json.loads(row["input"])
    asked = given if isinstance(given, str) else tuple(given)
    demonstration = Demonstration(asked, row["answer"], row["task"])
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
    }


def load_variant(db: Database, row: Mapping[str, Any]) -> Variant:
    """The variant of a row of `variants`; ValueError or LookupError for content that its id was not made from."""
    ids = json.loads(row["demonstrations"])
    listed = "SELECT * FROM demonstrations WHERE id IN (SELECT value FROM json_each(?))"
    known = {entry["id"]: demonstration_of(entry) for entry in db.query(listed, [rows.dumps(ids)])}
    variant = Variant(row["instruction"], tuple(known[entry] for entry in ids), row["nearest"], row["source"])
    rows.same_id(row["id"], variant.id)
    return variant
