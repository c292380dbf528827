"""Calls and feedback of others, taken in by `tfgrpo collect` or by a proxy that records: in batches, each call once."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import TypeVar

import orjson

from ...errors import InputError, StoreError
from ...records import JSON
from ...store import AccessKey, Feedback, Inference, Store, StorePath
from ...store.opened import has_file
from ..feedback_labels import feedback_worth
from ..recording import redacted_call, redacted_feedback
from ..reporting import CALLS_PATH, MOST_BATCH_BYTES, MOST_CALLS, read_row
from .asgi import Caller, Left, Receive, Send, TooLong, error_body, respond
from .call import Works
from .door import Refusal
from .head import Head, identified

T = TypeVar("T", Inference, Feedback)

_WAITING = 16
"""Batches that are worked on or wait; more are asked to come again."""
_NO_KEY = Refusal(
    401,
    "invalid_api_key",
    "calls are reported with a key, but for those of this machine: whoever may report can say what never happened;"
    " tfgrpo keys add NAME makes one",
)


class CollectorDesk:
    """Takes batches, and writes each before it says so."""

    def __init__(self, works: Works, path: StorePath) -> None:
        self._works, self._path = works, path
        self._store: Store | None = None
        self._is_made = has_file(path)
        self._writing = Lock()
        self._waiting = 0

    async def answer(self, head: Head, receive: Receive, send: Send) -> None:
        """Take a batch: 200 with the number of rows once they are written."""
        try:
            told = await self._taken(head, receive)
        except Left:
            return
        if isinstance(told, Refusal):
            self._works.metrics.refused(told.code)
            await respond(send, told.status, error_body(told.kind, told.code, told.message), told.lines)
            return
        await respond(send, 200, {"taken": told})

    def close(self) -> None:
        """Let go of the store."""
        store, self._store = self._store, None
        with suppress(StoreError):
            if store:
                store.close()

    async def _taken(self, head: Head, receive: Receive) -> int | Refusal:
        if head.method != "POST":
            return Refusal(405, "method_not_allowed", f"calls are reported by POST {CALLS_PATH}")
        key = identified(head, self._works.door, self._works.shelf.held)
        if isinstance(key, Refusal):
            return key
        if key is None and not self._works.door.local:
            return _NO_KEY
        if self._waiting >= _WAITING:
            return Refusal(429, "too_busy", "too much waits to be written; try again")
        self._waiting += 1
        try:
            try:
                content = await Caller(receive, MOST_BATCH_BYTES).whole(MOST_BATCH_BYTES)
            except TooLong:
                content = None
            if content is None:
                return Refusal(413, "request_too_large", f"a batch has at most {MOST_BATCH_BYTES:,} bytes")
            return await asyncio.to_thread(self._written, content, key)
        finally:
            self._waiting -= 1

    def _written(self, content: bytes, key: AccessKey | None) -> int | Refusal:
        try:
            calls, feedback = _read(content)
        except InputError as error:
            return Refusal(400, "bad_batch", str(error))
        if key and not key.admin and key.namespace:
            others = {*(one.namespace for one in calls), *(one.namespace for one in feedback)} - {key.namespace}
            if others:
                return Refusal(403, "namespace_not_allowed", f"this key is for namespace {key.namespace!r}")
        with self._writing:
            try:
                self._store = store = self._store or Store(self._path, create=not self._is_made)
                self._is_made = True  # one that is gone since is not made anew, which would take the prior away
                if key and not key.admin and key.namespace and _of_others(store, calls, feedback, key.namespace):
                    return Refusal(403, "namespace_not_allowed", "a call of this batch is of another namespace")
                wrong = store.add_calls_in_use([redacted_call(one) for one in calls])
                said = [feedback_worth(store, redacted_feedback(one)) for one in feedback]
                wrong += store.add_calls_in_use((), said)
            except StoreError:
                self.close()
                return Refusal(503, "store_unwritable", "the store cannot be written now; try again")
        return len(calls) + len(feedback) - len(wrong)


def _of_others(store: Store, calls: Sequence[Inference], feedback: Sequence[Feedback], namespace: str) -> bool:
    """Whether anything is about a call that is known to be of another namespace."""
    named = {*(one.id for one in calls), *(one.shadow_of or "" for one in calls), *(one.inference for one in feedback)}
    return any(one.namespace != namespace for one in store.calls_by_id(named))


def _read(content: bytes) -> tuple[Sequence[Inference], Sequence[Feedback]]:
    """Raises InputError for what is no batch, naming the row."""
    try:
        given: JSON = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InputError("the body is no JSON") from error
    if not isinstance(given, dict) or not set(given) <= {"calls", "feedback"}:
        raise InputError('a batch is {"calls": [...], "feedback": [...]}')
    calls, feedback = (given.get(name, []) for name in ("calls", "feedback"))
    if not (isinstance(calls, list) and isinstance(feedback, list)) or len(calls) + len(feedback) > MOST_CALLS:
        raise InputError(f"calls and feedback are lists, of {MOST_CALLS:,} together at most")
    return _rows(Inference, "call", calls), _rows(Feedback, "feedback", feedback)


def _rows(kind: type[T], what: str, given: Sequence[JSON]) -> list[T]:
    found = []
    for place, one in enumerate(given, 1):
        try:
            found.append(read_row(kind, one))
        except InputError as error:
            raise InputError(f"{what} {place}: {error}") from error
    return found
