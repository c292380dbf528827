"""Calls in use and feedback are forgotten by age, and by the room that they take: the oldest first, whole."""

import math
from datetime import UTC, datetime, timedelta

from .database import Database
from .opened import OpenStore

_CALL_BYTES, _FEEDBACK_BYTES = 560, 305
"""About what a row takes with its entries in indexes, once others were forgotten before it; bodies, comments and labels
come on top."""
_FEEDBACK_SIZE = f"{_FEEDBACK_BYTES} + length(comment) + coalesce(length(label), 0)"
_FITTING = f"""
SELECT min(number) AS call, min(at) AS at, coalesce(sum(own), 0) AS own FROM (
    SELECT number, at, own, sum(own + (
        SELECT coalesce(sum({_FEEDBACK_SIZE}), 0) FROM feedback WHERE inference = called.id)
    ) OVER (ORDER BY number DESC) AS bytes FROM (
        SELECT number, at, id, {_CALL_BYTES} + coalesce(length(request) + length(response), 0) AS own
        FROM inferences LEFT JOIN bodies ON call = number) AS called) AS sized
WHERE bytes <= :bytes
"""
"""The first of the latest calls that fit into a number of bytes with what was said of them, and their bytes alone."""
_FITTING_FEEDBACK = f"""
SELECT min(id) FROM (SELECT id, sum({_FEEDBACK_SIZE}) OVER (ORDER BY id DESC) AS bytes FROM feedback) AS sized
WHERE bytes <= :bytes
"""
_FORGET = tuple(
    f"DELETE FROM {table} WHERE {key} IN ("
    f" SELECT {number} FROM {of} WHERE {number} < :{of} ORDER BY {number} LIMIT 2000)"
    for table, key, of, number in (
        ("bodies", "call", "inferences", "number"),
        ("feedback", "id", "feedback", "id"),
        ("inferences", "number", "inferences", "number"),
    )
)
"""A part of each: others wait for the transaction."""


class ForgetfulStore(OpenStore):
    """The part of the store that forgets calls in use."""

    def forget_calls(self, *, days: float = math.inf, megabytes: float = math.inf) -> int:
        """Forget calls and feedback that are older, or the oldest where all take more; how many rows it were.

        The latest call and the latest feedback stay, so that no number is given twice. The file does not shrink: what
        comes next takes the room.
        """
        with self._read("looking for calls to forget") as db:
            stay = _to_stay(db, min(days, 36_500.0), megabytes)
        gone = 0
        while count := self._write(
            "forgetting calls", lambda db: sum(db.execute(one, stay).rowcount for one in _FORGET)
        ):
            gone += count
        return gone


def _to_stay(db: Database, days: float, megabytes: float) -> dict[str, int]:
    """The numbers of the first call and of the first feedback that stay.

    A time that lies ahead comes from a clock that was wrong, and does not hold up what came after it.
    """
    now = datetime.now(UTC)
    since, ahead = (now - timedelta(days=days)).isoformat(), (now + timedelta(days=1)).isoformat()
    calls, feedback = _first(db, "inferences", "number", since, ahead), _first(db, "feedback", "id", since, ahead)
    if megabytes < math.inf:
        most = int(megabytes * 1e6)
        call, at, own = db.execute(_FITTING, {"bytes": most}).fetchone()
        if (call,) != db.execute("SELECT min(number) FROM inferences").fetchone():  # what was said of others goes, too
            calls = max(calls, _last(db, "inferences", "number") if call is None else call)
            feedback = max(feedback, _first(db, "feedback", "id", at or now.isoformat(), ahead))
        said = db.execute(_FITTING_FEEDBACK, {"bytes": most - int(own)}).fetchone()[0]
        feedback = max(feedback, _last(db, "feedback", "id") if said is None else said)
    return {"inferences": calls, "feedback": feedback}


def _first(db: Database, table: str, number: str, since: str, until: str) -> int:
    """The number of the first row in a window of time; of the last row of all where there is none."""
    query = f"SELECT {number} FROM {table} WHERE at BETWEEN ? AND ? ORDER BY {number} LIMIT 1"
    found = db.execute(query, [since, until]).fetchone()
    return int(found[0]) if found else _last(db, table, number)


def _last(db: Database, table: str, number: str) -> int:
    return int(db.execute(f"SELECT coalesce(max({number}), 0) FROM {table}").fetchone()[0])
