"""What was done to what is served, by whom and on what grounds: a row each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ..records import JSON
from . import rows
from .database import Row, insert
from .opened import OpenStore

Actor: TypeAlias = Literal["autopilot", "person", "learn"]


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One thing that was done in a namespace."""

    namespace: str
    actor: Actor
    action: str
    """A word or two: learned, canary, promoted, rolled back, retired, asked, ..."""
    prior: str | None
    """That it concerns; None: none."""
    said: str
    """What was done and why, one line for people."""
    figures: Mapping[str, JSON] = field(default_factory=dict)
    """On what grounds."""
    id: int = field(default=0, compare=False)
    """In the order of their being written; 0 before."""
    at: str = field(default="", compare=False)
    """When it was written, UTC in ISO 8601."""


class HistoryStore(OpenStore):
    """The part of the store that remembers what was done."""

    def add_history(self, entry: HistoryEntry) -> None:
        """Append what was done."""
        row: Row = {
            "namespace": entry.namespace,
            "actor": entry.actor,
            "action": entry.action,
            "prior": entry.prior,
            "said": rows.column_text(entry.said),
            "figures": rows.dumps(dict(entry.figures)),
        }
        self._write(f"adding to the history of {entry.namespace}", lambda db: insert(db, "history", [row]))

    def history_of(self, namespace: str, limit: int = 1_000) -> tuple[HistoryEntry, ...]:
        """What was done last in a namespace, oldest first."""
        query = (
            "SELECT namespace, actor, action, prior, said, figures, id, at"
            " FROM history WHERE namespace = ? ORDER BY id DESC LIMIT ?"
        )
        with self._read(f"reading the history of {namespace}") as db:
            found = list(db.query(query, [namespace, limit]))
            return tuple(HistoryEntry(**{**row, "figures": json.loads(row["figures"])}) for row in reversed(found))
