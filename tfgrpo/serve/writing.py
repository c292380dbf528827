"""The process that writes calls of the proxy down: what it is handed it reads, redacts, packs and appends to the store.

It also forgets what is too old, or too much, now and then. It ends when its parent does.
"""

import logging
import math
import os
import pickle
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, NamedTuple

from ..errors import InputError, StoreError, TfgrpoError
from ..records import JSON
from ..store import Feedback, Inference, Store, StorePath
from ..store.database import RefusedRow
from .feedback_labels import feedback_worth
from .recording import redacted_call, redacted_feedback
from .reporting import Collector, trying_for
from .unpacking import unpacked

KEPT_BODY = 200_000
"""Bytes of a request or an answer that are kept; a longer one is left out."""
FORGETS_EVERY = 600.0
"""Seconds between two looks at what is too old, or too much."""
_SENDS_FOR = 60.0
"""Seconds in which a batch is sent to a collector again and again."""
_NICE = 10
"""Calls come first. It counts within a session alone where Linux groups processes by session (`sched_autogroup`)."""


@dataclass(frozen=True, slots=True)
class Shadowing:
    """How many further rollouts are made of calls, for whose groups."""

    share: float = 0.0
    """Of the calls."""
    group_size: int = 4
    """Rollouts of a group, the caller's own call among them."""
    calls_a_day: int = 1_000
    """UTC, over all workers."""
    workers: int = 1
    """Each has its part of the day's calls."""

    def __post_init__(self) -> None:
        """Raises InputError for what is no share, no group and no budget."""
        if not 0 <= self.share <= 1:
            raise InputError(f"--shadow-groups {self.share}: a share of the calls, from 0 to 1")
        if not 2 <= self.group_size <= 64:
            raise InputError(f"--group-size {self.group_size}: from 2 to 64 rollouts, the caller's own call among them")
        if self.calls_a_day < 1:
            raise InputError(f"--shadow-budget {self.calls_a_day}: at least 1 call a day")


NO_SHADOWS = Shadowing()


@dataclass(frozen=True, slots=True)
class Recording:
    """What is recorded, and for how long it is kept."""

    share: float | None = None
    """Of the calls whose texts are kept; None: nothing is recorded."""
    days: float = math.inf
    megabytes: float = math.inf
    shadows: Shadowing = NO_SHADOWS
    to: str | None = None
    """The URL of the collector that calls go to; None: to the store here."""

    def __post_init__(self) -> None:
        """Raises InputError for what is no share, and for keeping nothing."""
        if self.shadows.share and self.share is None:
            raise InputError("--shadow-groups are recorded: give --record too (--record 0 keeps no other texts)")
        if self.share is not None and not 0 <= self.share <= 1:
            raise InputError(f"--record {self.share}: a share of the calls, from 0 (no texts) to 1 (all)")
        for option, value in (("--keep-days", self.days), ("--keep-mb", self.megabytes)):
            if not value > 0:
                raise InputError(f"{option} {value}: a number above 0")


NOT_RECORDED = Recording()


class RecordedCall(NamedTuple):
    """A call as it is left behind: nothing of it is read yet."""

    id: str
    namespace: str
    prior: str | None
    variant: str
    surface: str
    model: str
    status: int
    seconds: float
    added: float | None
    draw: Mapping[str, JSON] | None
    at: float
    """By the clock."""
    request: bytes | None = None
    """As the caller wrote it, unpacked."""
    response: bytes | None = None
    """As it came."""
    encoding: str = ""
    """How the answer is packed."""
    texts: bool = False
    """Whether both are kept; else the request only tells the model."""
    shadow_of: str | None = None


def write_calls() -> None:
    """Be that process: the parent says where to, then hands over one batch after the other, and is told of each why it
    could not be written, or nothing, how many texts of it could not be read, and what of it could not be kept."""
    logging.getLogger("tfgrpo").addHandler(logging.NullHandler())  # the parent says it, in the form of its log
    with suppress(OSError):
        os.nice(_NICE)
    write_batches(sys.stdin.buffer, sys.stdout.buffer)


def write_batches(handed: IO[bytes], told: IO[bytes]) -> None:
    """What that process does, from where it is handed them to where it tells."""
    path, recording, is_made = pickle.load(handed)
    writing = Writing(path, recording, is_made=is_made)
    if recording.share is not None:
        writing.write(())  # what takes long is done before the first call, and the store is there for others to read
    with suppress(EOFError, BrokenPipeError):  # the parent is done, or gone
        while True:
            items = [item for part in pickle.load(handed) for item in pickle.loads(part)]
            refused = writing.write([RecordedCall(*one) if isinstance(one, tuple) else one for one in items])
            pickle.dump((refused, writing.unreadable, writing.unkept), told)
            told.flush()
    writing.close()


class Writing:
    """The store that calls go to, open while it can be written."""

    def __init__(self, path: StorePath, recording: Recording, *, is_made: bool = False) -> None:
        self._path, self._recording = path, recording
        self._collector = Collector(recording.to) if recording.to else None
        self._parent = os.getppid()
        self._store: Store | None = None
        self._is_made = is_made
        """Whether there was a store: one that is gone since is not made anew, which would take the live prior away."""
        self._forgot = -FORGETS_EVERY
        self.unreadable = 0
        """Calls of the last batch whose texts were to be kept, and could not be read."""
        self.unkept: tuple[tuple[str, str], ...] = ()
        """What of the last batch could not be kept where all else was, a call or feedback, and why."""

    def write(self, batch: Sequence[RecordedCall | Feedback]) -> str:
        """Append a batch, or send it on; why that could not be done. With an empty one what is old is forgotten."""
        calls = [_readable(one) for one in batch if isinstance(one, RecordedCall)]
        wanted = sum(one.texts for one in batch if isinstance(one, RecordedCall))
        self.unkept = ()
        self.unreadable = wanted - sum(bool(one.request) for one in calls)
        feedback = [redacted_feedback(one) for one in batch if isinstance(one, Feedback)]
        try:
            if self._collector:
                self._collector.send(calls, feedback, trying_for(_SENDS_FOR, self._is_alone))
                return ""
            self._store = store = self._store or Store(self._path, create=not self._is_made)
            self._is_made = True
            self.unkept = tuple(("call", why) for why in store.add_calls_in_use(calls))
            if feedback:  # after the calls: what one was worth is read in what it answered
                wrong = store.add_calls_in_use((), [feedback_worth(store, one) for one in feedback])
                self.unkept += tuple(("feedback", why) for why in wrong)
            if not batch or time.monotonic() - self._forgot >= FORGETS_EVERY:
                self._forget(store)
        except RefusedRow as error:  # of a collector: feedback that is sent again would take all that comes with it
            told = [*(("call", str(error)) for _ in calls), *(("feedback", str(error)) for _ in feedback)]
            self.unkept = tuple(told)
        except StoreError as error:
            self.close()
            return str(error)
        return ""

    def close(self) -> None:
        """Let go of the store."""
        store, self._store = self._store, None
        with suppress(TfgrpoError):
            if store:
                store.close()

    def _is_alone(self) -> bool:
        return os.getppid() != self._parent

    def _forget(self, store: Store) -> None:
        self._forgot = time.monotonic()
        with suppress(StoreError):  # what was written is written: else feedback would be written once more
            store.forget_calls(days=self._recording.days, megabytes=self._recording.megabytes)


def _readable(call: RecordedCall) -> Inference:
    """A call without secrets; without its texts where anything in them cannot be gone through."""
    try:
        return redacted_call(as_inference(call))
    except Exception:  # one strange text must not take the calls beside it
        return as_inference(call._replace(texts=False))


def as_inference(call: RecordedCall) -> Inference:
    """A call as it is kept; without its texts where they cannot be read."""
    request = response = ""
    if call.texts and call.request is not None and call.response is not None:
        answer = call.response
        if call.encoding not in ("", "identity"):
            answer = unpacked(call.response, call.encoding, KEPT_BODY) or b""
        if answer:
            request, response = call.request.decode("utf-8", "replace"), answer.decode("utf-8", "replace")
    at = f"{_second(int(call.at))}.{int(call.at % 1 * 1000):03}Z"
    return Inference(
        call.id,
        call.namespace,
        call.prior,
        call.variant,
        call.surface,
        call.model[:200].replace("\0", ""),
        call.status,
        round(call.seconds, 6),
        request,
        response,
        call.draw,
        None if call.added is None else round(call.added, 6),
        call.shadow_of,
        at=at,
    )


@lru_cache
def _second(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
