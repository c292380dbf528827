"""Calls in use, what they were worth, and at what share a canary is tried. Rows are appended only."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from ..errors import InputError
from ..records import Snapshot
from . import rows
from .file import StoreFile
from .lineage import load_prior
from .writer import ONCE, Row, insert, one_row


@dataclass(frozen=True, slots=True)
class Inference:
    """One call in use, as it went."""

    id: str
    namespace: str
    prior: str | None
    variant: str
    """The state that the prior was in; `none` where it had none."""
    surface: str
    model: str
    status: int
    seconds: float
    request: str = ""
    """JSON, as the caller wrote it."""
    response: str = ""
    """JSON, or a stream of events."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What one call was worth, as the one who made it says."""

    inference: str
    namespace: str
    prior: str | None
    variant: str
    reward: float
    """In [0, 1]."""
    comment: str = ""


_CANARY = """
SELECT event.prior, event.state, event.frame, canaries.share FROM lineage AS event
JOIN canaries ON canaries.id = (
    SELECT max(id) FROM canaries WHERE canaries.namespace = event.namespace AND canaries.prior = event.prior)
WHERE event.namespace = ? AND event.state = 'canary' AND event.id = (
    SELECT max(id) FROM lineage AS last WHERE last.namespace = event.namespace AND last.prior = event.prior)
ORDER BY event.id DESC LIMIT 1
"""


class InferenceStore(StoreFile):
    """The part of the store that remembers calls in use."""

    def add_calls_in_use(self, calls: Sequence[Inference], feedback: Sequence[Feedback] = ()) -> None:
        """Append calls and feedback; a call that is there already stays."""

        def work(db: Database) -> None:
            insert(db, "inferences", [_inference_row(one) for one in calls], ONCE)
            insert(db, "feedback", [_feedback_row(one) for one in feedback])

        self._write("recording calls", work)

    def inferences(self, namespace: str, limit: int = 1_000) -> tuple[Inference, ...]:
        """The latest calls of a namespace that were kept, oldest first."""
        query = "SELECT * FROM inferences WHERE namespace = ? ORDER BY rowid DESC LIMIT ?"
        with self._read(f"reading calls of {namespace}") as db:
            found = list(db.query(query, [namespace, limit]))
            return tuple(_inference(row) for row in reversed(found))

    def feedback(self, namespace: str, limit: int = 1_000) -> tuple[Feedback, ...]:
        """The latest feedback of a namespace, oldest first."""
        columns = "inference, namespace, prior, variant, reward, comment"
        query = f"SELECT {columns} FROM feedback WHERE namespace = ? ORDER BY id DESC LIMIT ?"
        with self._read(f"reading feedback of {namespace}") as db:
            return tuple(Feedback(**row) for row in reversed(list(db.query(query, [namespace, limit]))))

    def add_share(self, namespace: str, prior_id: str, share: float) -> None:
        """Say which share of calls a prior gets while it is a canary; InputError for what is no share."""
        if not 0 <= share <= 1:
            raise InputError(f"the share of a canary is {share}; it must be from 0 to 1")
        row: Row = {"namespace": namespace, "prior": prior_id, "share": float(share)}
        self._write(f"giving {prior_id} its share", lambda db: insert(db, "canaries", [row]))

    def canary(self, namespace: str) -> tuple[Snapshot, float] | None:
        """The canary that is out in a namespace, and its share of calls; None where there is none."""
        with self._read(f"reading the canary of {namespace}") as db:
            found = list(db.query(_CANARY, [namespace]))
            if not found or not found[0]["share"]:
                return None
            prior = load_prior(db, one_row(db, "priors", "prior", found[0]["prior"]))
            return Snapshot(namespace, prior, "canary", rows.frame_of(found[0]["frame"])), found[0]["share"]


def _inference_row(one: Inference) -> Row:
    return {
        "id": one.id,
        "namespace": one.namespace,
        "prior": one.prior,
        "variant": one.variant,
        "surface": one.surface,
        "model": rows.column_text(one.model),
        "status": one.status,
        "seconds": one.seconds,
        "request": rows.pack(one.request),
        "response": rows.pack(one.response),
    }


def _inference(row: Row) -> Inference:
    told = {name: value for name, value in row.items() if name not in ("at", "checksum")}
    return Inference(**{**told, "request": rows.unpack(row["request"]), "response": rows.unpack(row["response"])})  # type: ignore[arg-type]  # a damaged row is told as such


def _feedback_row(one: Feedback) -> Row:
    return {
        "inference": rows.column_text(one.inference),
        "namespace": one.namespace,
        "prior": one.prior,
        "variant": one.variant,
        "reward": one.reward,
        "comment": rows.column_text(one.comment),
    }
