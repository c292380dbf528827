"""Calls in use and feedback, written to the store in the background: no call waits, and none fails, for it."""

import atexit
import logging
import os
import queue
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from numbers import Real
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, TypeAlias

from ..errors import InputError, StoreError
from ..experiences.admission import without_secrets
from ..records import JSON
from ..store import Feedback, Inference, Store
from ..store.opened import has_file
from .call_info import inference_of, info
from .feedback_labels import LONGEST_LABEL, feedback_worth, is_label
from .forks import no_fork, renewed_in_children
from .places import PriorPlace, StorePlace

WAITING = 1_000
"""Calls that wait to be written, at most; more are dropped, and counted."""
BODY_BYTES = 1_000_000
"""Of a request or an answer that is kept; a longer one is left out."""
REPORT_VARIABLE = "TFGRPO_REPORT_TO"
"""The environment variable with the URL of the `tfgrpo collect` that calls and feedback of clients go to."""
_TOGETHER = 200
_LAST_SECONDS, _CLOSING_SECONDS = 2.0, 10.0
"""For what still waits when the process ends, or a client is closed."""

if TYPE_CHECKING:
    from .reporting import Collector

Item: TypeAlias = Inference | Feedback | Callable[[], Inference]
"""What is written; a function makes it there, off the path of the call."""

_logger = logging.getLogger("tfgrpo")


def feedback_on(response: object, reward: object, comment: str, namespace: str, label: JSON = None) -> Feedback:
    """Feedback on a call; InputError for a response of no call of ours, and for what is no reward or no label."""
    worth = None
    if reward is not None or label is None:
        if not isinstance(reward, Real) or not 0 <= float(reward) <= 1:  # metrics give numpy's
            raise InputError(f"feedback: the reward is {reward!r}; it must be a number from 0 to 1, or give label=")
        worth = float(reward)
    if label is not None and not is_label(label):
        raise InputError(f"feedback: the label must be an answer, in JSON, of at most {LONGEST_LABEL:,} characters")
    inference = inference_of(response)
    known = info(inference if info(inference).inference else response)
    variant = known.variant or "none"
    return Feedback(inference, known.namespace or namespace, known.prior, variant, worth, str(comment), label)


def check_recordable(place: PriorPlace) -> "StorePlace | Collector":
    """Where calls and feedback go: the collector that TFGRPO_REPORT_TO names, a `tfgrpo serve` that records, a store.

    Raises InputError for a place that is none.
    """
    if url := os.environ.get(REPORT_VARIABLE) or getattr(place, "server", None):
        from .reporting import Collector

        return Collector(url)
    if isinstance(place, StorePlace):
        return place
    told = f"for that give store= the path of a store, or set {REPORT_VARIABLE} to the URL of a `tfgrpo collect`"
    raise InputError(f"{place.name} keeps no calls and no feedback; {told}")


class Recorder:
    """A queue of calls and feedback, and a thread that writes them to a store."""

    def __init__(self, place: "StorePlace | Collector") -> None:
        self._place = place
        self._ending = Event()
        self.dropped = 0
        """Calls that could not be written: too many waited, or the store failed."""
        self._in_hand = 0
        """Calls and feedback that are being written."""
        self._said, self._is_made = False, isinstance(place, StorePlace) and has_file(place.path)
        self._waiting: queue.Queue[Item | Event | None] = queue.Queue(WAITING)
        self._thread: Thread | None = None
        self._starting = Lock()
        renewed_in_children(self)
        atexit.register(_end, weakref.ref(self))

    def add(self, item: Item) -> None:
        """Have something written; dropped where too much waits already."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = Thread(target=self._serve, name="tfgrpo-recorder", daemon=True)
                    self._thread.start()
        try:
            self._waiting.put_nowait(item)
        except queue.Full:
            self._drop(1, f"more than {WAITING} calls wait to be written")

    def flush(self, seconds: float) -> bool:
        """Wait until all that was added is written; False where that takes longer."""
        if self._thread is None:
            return True
        done = Event()
        try:
            self._waiting.put(done, timeout=seconds)
        except queue.Full:
            return False
        return done.wait(seconds)

    def close(self) -> None:
        """Write what waits, and end; what is left then is dropped, which is counted and said."""
        thread, self._thread = self._thread, None
        if thread:
            self._ending.set()
            with suppress(queue.Full):  # whoever is to take it takes long, or is gone
                self._waiting.put(None, timeout=_CLOSING_SECONDS)
                thread.join(_CLOSING_SECONDS)
            self._drop_rest()
            if thread.is_alive():
                self._waiting.put(None)  # it ends with what it has in hand

    def end(self, seconds: float) -> None:
        """The program ends: write what waits, for so many seconds; what is left then is dropped, and said."""
        self.flush(seconds)
        self._drop_rest()

    def renew(self) -> None:
        """In a forked child: what waits is the parent's."""
        self._waiting = queue.Queue(WAITING)
        self._in_hand = 0
        self._ending = Event()
        self._thread = None
        self._starting = Lock()

    def _serve(self) -> None:
        ended = False
        while not ended:
            batch = [self._waiting.get()]
            while len(batch) < _TOGETHER and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            items = [item for item in batch if not isinstance(item, Event | None)]
            self._in_hand = len(items)
            try:
                self._write(items)
            except Exception as error:  # whatever it is: what is added later has to be written
                self._drop(len(items), f"calls cannot be written ({type(error).__name__})")
            self._in_hand = 0
            for item in batch:
                if isinstance(item, Event):
                    item.set()
            ended = None in batch

    def _write(self, batch: list[Item]) -> None:
        made = [one for item in batch if (one := self._made(item))]
        calls = [item for item in made if isinstance(item, Inference)]
        feedback = [item for item in made if isinstance(item, Feedback)]
        if not made:
            return
        try:
            if isinstance(self._place, StorePlace):
                with no_fork(), Store(self._place.path, create=not self._is_made) as store:
                    self._is_made = True  # one that is gone since is not made anew, which would take the prior away
                    wrong = store.add_calls_in_use(calls)
                    wrong += store.add_calls_in_use((), [feedback_worth(store, one) for one in feedback])
                for why in wrong:
                    self._drop(1, why)
            else:
                self._place.send(calls, feedback, lambda seconds: not self._ending.wait(seconds))
        except StoreError as error:
            self._drop(len(made), str(error))

    def _made(self, item: Item) -> Inference | Feedback | None:
        """What is written for an item, without secrets; None where nothing can be made of it, as of an answer that is
        packed wrongly."""
        try:
            made = item if isinstance(item, Inference | Feedback) else item()
            return redacted_call(made) if isinstance(made, Inference) else redacted_feedback(made)
        except Exception as error:  # of whichever HTTP library it is; what is added later has to be written
            self._drop(1, f"an answer cannot be read ({type(error).__name__})")
            return None

    def _drop_rest(self) -> None:
        left = 0
        with suppress(queue.Empty):
            while True:
                left += not isinstance(self._waiting.get_nowait(), Event | None)
        self.dropped += left
        late = self._in_hand
        if left or late:
            rest = f"; {late:,} that are being written may be lost, too" if late else ""
            _logger.warning(
                f"{left:,} calls and feedback that wait to be written are dropped: the end came before{rest}"
            )

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        if not self._said:
            self._said = True
            _logger.warning(f"{why}; calls go on, and what cannot be written is dropped")


def redacted_call(call: Inference) -> Inference:
    """The same without what looks like a secret in what was said."""
    if not (call.request or call.response):  # looking costs more than all else, even where there is nothing
        return call
    return replace(call, request=without_secrets(call.request), response=without_secrets(call.response))


def redacted_feedback(given: Feedback) -> Feedback:
    """The same without what looks like a secret in its words."""
    return replace(given, comment=without_secrets(given.comment), label=_redacted(given.label))


def _redacted(label: JSON) -> JSON:
    """Whatever texts are in it."""
    if isinstance(label, str):
        return without_secrets(label)
    if isinstance(label, Mapping):
        return {without_secrets(name): _redacted(held) for name, held in label.items()}
    return [_redacted(one) for one in label] if isinstance(label, (list, tuple)) else label


def _end(known: "weakref.ref[Recorder]") -> None:
    if recorder := known():
        recorder.end(_LAST_SECONDS)
