"""Calls in use, what they were worth, and at what share a canary is tried. Rows are only appended."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from ..records import JSON, Snapshot
from . import rows
from .database import ONCE, Database, RefusedRow, Row, insert, one_row
from .lineage import load_prior
from .opened import OpenStore


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
    """JSON, as the caller wrote it; empty where it was not kept, or not asked for."""
    response: str = ""
    """JSON, or a stream of events."""
    draw: Mapping[str, JSON] | None = None
    """What chance decided for the call, and with what probability; None: nothing."""
    added: float | None = None
    """Seconds that tfgrpo added."""
    shadow_of: str | None = None
    """The call whose further rollout this is; its variant is what it was made under."""
    number: int = field(default=0, compare=False)
    """In the order of their being written; 0 before."""
    at: str = field(default="", compare=False)
    """When it was written, UTC in ISO 8601; empty: now."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What one call was worth, as the one who made it says; of several for one call the latest counts."""

    inference: str
    namespace: str
    prior: str | None
    variant: str
    reward: float | None
    """In [0, 1]; None where only the right answer is known, and not what the call answered."""
    comment: str = ""
    label: JSON = None
    """The right answer, where it was told."""
    id: int = field(default=0, compare=False)
    """In the order of their being written; 0 before."""
    at: str = field(default="", compare=False)
    """When it was written, UTC in ISO 8601; empty: now."""


@dataclass(frozen=True, slots=True)
class DrawnFeedback:
    """What a call was worth for which chance decided something."""

    id: int
    inference: str
    reward: float
    draw: Mapping[str, Any]
    at: str


@dataclass(frozen=True, slots=True)
class CallCount:
    """What the calls of one variant came to in one span of time; shadows are not among them."""

    span: str
    """The beginning of their times, as 2026-11-26T17."""
    variant: str
    calls: int
    failed: int
    """Answered with a status of 400 or more."""
    added: float | None
    """Mean seconds that tfgrpo added."""


_CANARY = """
SELECT event.prior, event.state, event.frame, canaries.share FROM lineage AS event
JOIN canaries ON canaries.id = (
    SELECT max(id) FROM canaries WHERE canaries.namespace = event.namespace AND canaries.prior = event.prior)
WHERE event.namespace = ? AND event.state = 'canary' AND event.id = (
    SELECT max(id) FROM lineage AS last WHERE last.namespace = event.namespace AND last.prior = event.prior)
ORDER BY event.id DESC LIMIT 1
"""
_WITH_BODIES = "SELECT inferences.*, request, response FROM inferences LEFT JOIN bodies ON call = number"
_LATEST = """
FROM feedback AS given WHERE namespace = :namespace AND id > :after AND at >= :since AND NOT EXISTS (
    SELECT 1 FROM feedback AS later WHERE later.inference = given.inference AND later.id > given.id)
"""
"""Feedback that no later one of the same call replaced."""
_COUNTS = """
SELECT substr(at, 1, :chars) AS span, variant, count(*) AS calls,
    count(CASE WHEN status >= 400 THEN 1 END) AS failed, avg(added) AS added
FROM inferences WHERE namespace = :namespace AND at >= :since AND shadow_of IS NULL
GROUP BY span, variant ORDER BY span, variant
"""
_DRAWN = """
SELECT given.id, given.inference, given.reward, inferences.draw, given.at
FROM feedback AS given JOIN inferences ON inferences.id = given.inference
WHERE given.namespace = ? AND given.id > ? AND given.reward IS NOT NULL AND inferences.draw IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM feedback AS later WHERE later.inference = given.inference AND later.id > given.id)
ORDER BY given.id LIMIT ?
"""
_EMPTY = rows.pack("")
_ENDLESS = 2**62
MOST_ANSWERS = 100
"""Different ones; more are no labels."""


class InferenceStore(OpenStore):
    """The part of the store that remembers calls in use."""

    def add_calls_in_use(self, calls: Sequence[Inference], feedback: Sequence[Feedback] = ()) -> tuple[str, ...]:
        """Append calls and feedback; a call that is there already stays. A line for each that cannot be kept, where all
        others are."""
        try:
            self._add_calls_in_use(calls, feedback)
        except RefusedRow as error:
            if len(calls) + len(feedback) == 1:
                named = calls[0].id if calls else f"feedback on {feedback[0].inference}"
                return (f"{named} cannot be kept: {error}",)
            half, other = (len(calls) + 1) // 2, 0 if calls else (len(feedback) + 1) // 2
            first, second = (calls[:half], feedback[:other]), (calls[half:], feedback[other:])
            return (*self.add_calls_in_use(*first), *self.add_calls_in_use(*second))
        return ()

    def _add_calls_in_use(self, calls: Sequence[Inference], feedback: Sequence[Feedback]) -> None:

        def work(db: Database) -> None:
            now = db.now()
            insert(db, "inferences", _inference_rows(calls, now), ONCE)
            insert(db, "bodies", [_bodies_row(db, one) for one in calls if one.request or one.response], ONCE)
            insert(db, "feedback", [_feedback_row(one, now) for one in feedback])

        self._write("recording calls", work, appends=True)

    def inference(self, id_: str) -> Inference | None:
        """One call with its bodies, as far as they were kept; None for one that is not known."""
        with self._read("reading a call") as db:
            return next(_inferences(db.query(f"{_WITH_BODIES} WHERE id = ?", [id_])), None)

    def inferences(self, namespace: str, limit: int = 1_000, *, shadows: bool = True) -> tuple[Inference, ...]:
        """The latest calls of a namespace, with the bodies that were kept, oldest first; `shadows`: those too."""
        which = "" if shadows else " AND shadow_of IS NULL"
        query = f"{_WITH_BODIES} WHERE namespace = ?{which} ORDER BY at DESC, number DESC LIMIT ?"
        with self._read(f"reading calls of {namespace}") as db:
            return tuple(_inferences(db.query(query, [namespace, limit])))[::-1]

    def calls_in_use(
        self, namespace: str, *, after: int = 0, since: str = "", until: str = "9", limit: int = _ENDLESS
    ) -> tuple[Inference, ...]:
        """Calls without their bodies, oldest first: those of a number above `after`, in a window of time."""
        where = "WHERE namespace = ? AND number > ? AND at >= ? AND at < ? ORDER BY at, number LIMIT ?"
        with self._read(f"reading calls of {namespace}") as db:
            found = db.query(f"SELECT * FROM inferences {where}", [namespace, after, since, until, limit])
            return tuple(_inferences(found))

    def calls_by_id(self, ids: Iterable[str]) -> tuple[Inference, ...]:
        """Those calls of these ids that are known, without their bodies."""
        wanted = sorted(set(ids))
        marks = ", ".join("?" * len(wanted))
        with self._read("looking calls up") as db:
            return tuple(_inferences(db.query(f"SELECT * FROM inferences WHERE id IN ({marks})", wanted)))

    def shadows(self, id_: str) -> tuple[Inference, ...]:
        """The further rollouts of a call, with their bodies."""
        with self._read("reading further rollouts") as db:
            return tuple(_inferences(db.query(f"{_WITH_BODIES} WHERE shadow_of = ? ORDER BY number", [id_])))

    def further_rollouts(self, namespace: str, since: str, *, at_once: int = 500) -> Iterator[Inference]:
        """The further rollouts of all calls of a namespace since a time, with their bodies, oldest first; so many of
        them are held at once."""
        where = "namespace = ? AND shadow_of IS NOT NULL AND (at, number) > (?, ?) ORDER BY at, number LIMIT ?"
        return self._in_parts(namespace, where, (since, 0), _ENDLESS, at_once)

    def latest_calls(self, namespace: str, limit: int, *, at_once: int = 500) -> Iterator[Inference]:
        """The latest calls of a namespace, no shadows, with their bodies, newest first; so many are held at once."""
        where = "namespace = ? AND shadow_of IS NULL AND (at, number) < (?, ?) ORDER BY at DESC, number DESC LIMIT ?"
        return self._in_parts(namespace, where, ("9", 0), limit, at_once)

    def _in_parts(
        self, namespace: str, where: str, beyond: tuple[str, int], left: int, at_once: int
    ) -> Iterator[Inference]:
        """By time and number, in which order an index has them: each part goes on where the one before it ended."""
        while left > 0:
            most = min(at_once, left)
            with self._read(f"reading calls of {namespace}") as db:
                found = tuple(_inferences(db.query(f"{_WITH_BODIES} WHERE {where}", [namespace, *beyond, most])))
            yield from found
            if len(found) < most:
                return
            beyond, left = (found[-1].at, found[-1].number), left - most

    def count_shadows(self, since: str) -> int:
        """How many further rollouts were made since a time, in all namespaces."""
        query = "SELECT count(*) FROM inferences WHERE shadow_of IS NOT NULL AND at >= ?"
        with self._read("counting further rollouts") as db:
            return int(db.execute(query, [since]).fetchone()[0])

    def call_counts(self, namespace: str, since: str = "", chars: int = 13) -> tuple[CallCount, ...]:
        """What calls came to, by variant and span of time: days where that is of 10 characters, hours of 13."""
        given = {"namespace": namespace, "since": since, "chars": chars}
        with self._read(f"counting calls of {namespace}") as db:
            return tuple(CallCount(**row) for row in db.query(_COUNTS, given))

    def feedback(self, namespace: str, limit: int = 1_000) -> tuple[Feedback, ...]:
        """The latest feedback of a namespace that counts, oldest first."""
        given = {"namespace": namespace, "after": 0, "since": "", "limit": limit}
        with self._read(f"reading feedback of {namespace}") as db:
            found = db.query(f"SELECT * {_LATEST} ORDER BY id DESC LIMIT :limit", given)
            return tuple(map(_feedback, found))[::-1]

    def feedback_since(
        self, namespace: str, after: int = 0, *, since: str = "", limit: int = _ENDLESS
    ) -> tuple[Feedback, ...]:
        """Feedback of an id above `after` that counts as of now, oldest first."""
        given = {"namespace": namespace, "after": after, "since": since, "limit": limit}
        with self._read(f"reading feedback of {namespace}") as db:
            return tuple(map(_feedback, db.query(f"SELECT * {_LATEST} ORDER BY id LIMIT :limit", given)))

    def few_answers(self, namespace: str) -> tuple[JSON, ...]:
        """The answers that tasks of a namespace's runs have, where these are few for so many tasks; else none."""
        query = (
            "SELECT answer, count(*) AS tasks FROM tasks WHERE answer != 'null' AND id IN (SELECT task FROM run_tasks"
            " JOIN runs ON runs.id = run WHERE namespace = ?) GROUP BY answer LIMIT ?"
        )
        with self._read(f"reading the answers of {namespace}") as db:
            found = list(db.query(query, [namespace, MOST_ANSWERS + 1]))
        few = len(found) <= MOST_ANSWERS and len(found) * 3 <= sum(row["tasks"] for row in found)
        return tuple(json.loads(row["answer"]) for row in found) if few else ()

    def drawn_feedback(self, namespace: str, after: int = 0, *, at_once: int = 5_000) -> Iterator[DrawnFeedback]:
        """Feedback with a reward of an id above `after`, on calls of which a draw was written down, oldest first; so
        many are held at once."""
        while True:
            with self._read(f"reading feedback of {namespace}") as db:
                found = list(db.query(_DRAWN, [namespace, after, at_once]))
            yield from (DrawnFeedback(**{**row, "draw": json.loads(row["draw"])}) for row in found)
            if len(found) < at_once:
                return
            after = found[-1]["id"]

    def calls_fed_back(self, namespace: str, after: int = 0) -> int:
        """Calls that feedback of an id above `after` is on, each once."""
        query = "SELECT count(DISTINCT inference) FROM feedback WHERE namespace = ? AND id > ?"
        with self._read(f"counting feedback of {namespace}") as db:
            return int(db.execute(query, [namespace, after]).fetchone()[0])

    def last_feedback(self, namespace: str) -> int:
        """The id of the latest feedback of a namespace; 0: there is none."""
        query = "SELECT coalesce(max(id), 0) FROM feedback WHERE namespace = ?"
        with self._read(f"looking for the last feedback of {namespace}") as db:
            return int(db.execute(query, [namespace]).fetchone()[0])

    def call_numbers(self) -> tuple[int, int]:
        """The numbers of the first call that is not forgotten, and of the last, in all namespaces; 0: there is none."""
        query = "SELECT coalesce(min(number), 0), coalesce(max(number), 0) FROM inferences"
        with self._read("counting calls") as db:
            first, last = next(iter(db.execute(query)))
            return first, last

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


def _inference_rows(calls: Sequence[Inference], now: str) -> list[Row]:
    """Calls as rows; of a draw that many of them share the text is made once."""
    draws = {id(one.draw): one.draw for one in calls if one.draw is not None}
    texts = {name: rows.dumps(dict(draw)) for name, draw in draws.items()}
    return [_inference_row(one, texts.get(id(one.draw)), now) for one in calls]


def _inference_row(one: Inference, draw: str | None, now: str) -> Row:
    return {
        "id": one.id,
        "namespace": one.namespace,
        "prior": one.prior,
        "variant": one.variant,
        "surface": one.surface,
        "model": rows.column_text(one.model),
        "status": one.status,
        "seconds": one.seconds,
        "added": one.added,
        "draw": draw,
        "shadow_of": one.shadow_of,
        "at": one.at or now,
    }


def _bodies_row(db: Database, one: Inference) -> Row:
    (number,) = db.execute("SELECT number FROM inferences WHERE id = ?", [one.id]).fetchone()
    return {"call": number, "request": rows.pack(one.request), "response": rows.pack(one.response)}


def _inferences(found: Iterable[dict[str, Any]]) -> Iterator[Inference]:
    for row in found:
        del row["checksum"]
        bodies: dict[str, Any] = {name: rows.unpack(row.get(name) or _EMPTY) for name in ("request", "response")}
        draw = None if row["draw"] is None else json.loads(row["draw"])
        yield Inference(**(row | bodies | {"draw": draw}))


def _feedback_row(one: Feedback, now: str) -> Row:
    return {
        "inference": rows.column_text(one.inference),
        "namespace": one.namespace,
        "prior": one.prior,
        "variant": one.variant,
        "reward": one.reward,
        "label": None if one.label is None else rows.dumps(one.label),
        "comment": rows.column_text(one.comment),
        "at": one.at or now,
    }


def _feedback(row: dict[str, Any]) -> Feedback:
    del row["checksum"]
    return Feedback(**(row | {"label": None if row["label"] is None else json.loads(row["label"])}))
