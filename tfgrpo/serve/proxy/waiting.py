"""Calls and feedback that wait to be written, in memory that is given back.

A call leaves some dozen small objects behind, and thousands may wait while the process that writes is slow: their
memory would stay in pieces that nothing else fits into. So a thread pickles what has come ten times a second, off the
path of the calls, and what waits longer than that waits as a few long texts.
"""

import ctypes
import pickle
import re
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock
from typing import NamedTuple

from ...store import Feedback
from ..writing import KEPT_BODY, RecordedCall

_WAITING = 20_000
"""Calls and feedback that wait, at most."""
_WAITING_BYTES = 64 * 2**20
"""Of bodies that wait."""
_TOGETHER, _TOGETHER_BYTES = 1_000, 2**20
_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]{1,200})"')
_LOOKED_AT = 65_536
"""Bytes at either end of a body in which the model is looked for."""


class Pickled(NamedTuple):
    """Calls and feedback that wait as one text."""

    items: bytes
    """Pickled: a list of Feedback and of RecordedCalls as plain tuples, which takes a quarter of the time."""
    length: int
    """How many they are."""
    size: int
    """Bytes of the texts in them."""
    feedback: tuple[Feedback, ...]
    """What of them is tried again where it cannot be written."""


class WaitingCalls:
    """What waits, first come first served: calls of proxies add to it, one thread takes batches, another pickles."""

    def __init__(self, drop: Callable[[int, str, str], None]) -> None:
        self._drop = drop
        """Is told how many of what are not written, and why; without a reason where it goes without saying."""
        self._new: deque[RecordedCall | Feedback] = deque()
        self._pickled: deque[Pickled] = deque()
        self._most, self._full = _WAITING, f"more than {_WAITING:,} calls wait"
        self._count_taken = 0
        """Of what waits, what is pickled or just being so: what is in between must not be taken for gone."""
        self._bytes_in = self._bytes_out = 0  # what goes out is counted under the lock
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._new) + self._count_taken

    def add(self, item: RecordedCall | Feedback) -> bool:
        """One more; False where too much waits already."""
        if len(self) >= self._most:
            self._drop(1, _kind(item), self._full)
            return False
        if isinstance(item, RecordedCall) and item.request is not None:
            size = _size(item)
            if self._bytes_in - self._bytes_out + size > _WAITING_BYTES:
                self._drop(1, "texts", "")
                item, size = item._replace(request=None, response=None, texts=False), 0
            self._bytes_in += size
        self._new.append(item)
        return True

    def add_again(self, feedback: Sequence[Feedback]) -> bool:
        """What could not be written, before all that came later; False where too much waits already."""
        with self._lock:
            if len(self) + len(feedback) > self._most:
                return False
            if feedback:
                items = pickle.dumps(list(feedback), pickle.HIGHEST_PROTOCOL)
                self._pickled.appendleft(Pickled(items, len(feedback), 0, tuple(feedback)))
                self._count_taken += len(feedback)
        return True

    def put_back(self, batch: Sequence[Pickled]) -> None:
        """A batch that nobody has tried to write, before all that came later."""
        with self._lock:
            self._pickled.extendleft(reversed(batch))
            self._count_taken += sum(part.length for part in batch)
            self._bytes_out -= sum(part.size for part in batch)

    def end(self) -> tuple[int, int]:
        """Take no more; how many calls, and how much feedback, waited still and will not be written."""
        with self._lock:
            self._most, self._full = 0, "what comes after the end is not written"
            feedback = sum(len(part.feedback) for part in self._pickled)
            calls = sum(part.length for part in self._pickled) - feedback
            while self._new:
                said = isinstance(self._new.popleft(), Feedback)
                calls, feedback = calls + (not said), feedback + said
            self._pickled.clear()
            self._count_taken = 0
        return calls, feedback

    def fills_a_batch(self) -> bool:
        """Whether as much waits as is written together."""
        return len(self) >= _TOGETHER or self._bytes_in - self._bytes_out >= _TOGETHER_BYTES

    def batch(self) -> list[Pickled]:
        """The next to be written together: what one of many megabytes takes must not look as if the writer hung."""
        self.pickle()
        batch, count, size = list[Pickled](), 0, 0
        with self._lock:
            while self._pickled and count < _TOGETHER and size < _TOGETHER_BYTES:
                part = self._pickled.popleft()
                batch.append(part)
                count, size = count + part.length, size + part.size
            self._count_taken -= count
            self._bytes_out += size
        return batch

    def pickle(self) -> None:
        """Pickle all that waits as objects, in parts none of which is more than a batch."""
        with self._lock:
            left = len(self._new)
            while left > 0:
                items, size = list[RecordedCall | Feedback](), 0
                while len(items) < min(left, _TOGETHER) and size < _TOGETHER_BYTES:
                    self._count_taken += 1  # before it goes, so that it is not missed in between
                    item = self._new.popleft()
                    if isinstance(item, RecordedCall) and item.request is not None:
                        item = self._lean(item)
                        size += _size(item)
                    items.append(item)
                left -= len(items)
                self._add_pickled(items, size)

    def _add_pickled(self, items: list[RecordedCall | Feedback], size: int) -> None:
        try:
            plain = [tuple(one) if isinstance(one, RecordedCall) else one for one in items]
            pickled = pickle.dumps(plain, pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # one strange label must not take the calls beside it
            if len(items) > 1:
                for one in items:
                    self._add_pickled([one], _size(one) if isinstance(one, RecordedCall) else 0)
                return
            self._bytes_out += size
            self._count_taken -= 1
            self._drop(1, _kind(items[0]), f"what cannot be handed over is not written ({type(error).__name__})")
            return
        feedback = tuple(one for one in items if isinstance(one, Feedback))
        self._pickled.append(Pickled(pickled, len(items), size, feedback))

    def _lean(self, call: RecordedCall) -> RecordedCall:
        """Without a request that is only there to name its model, and without texts that are too long."""
        request = call.request or b""
        model = call.model or _model_in(request)
        too_long = max(len(request), len(call.response or b"")) > KEPT_BODY
        if call.texts and not too_long:
            return call._replace(model=model)
        self._bytes_out += _size(call)
        self._drop(int(call.texts), "texts", "")
        return call._replace(model=model, request=None, response=None, texts=False)


def give_memory_back() -> None:
    """Return what is free to the system, where the C library can be told to (glibc): it keeps what thousands of calls
    took while they waited, long after they are written."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _kind(item: RecordedCall | Feedback) -> str:
    return "call" if isinstance(item, RecordedCall) else "feedback"


def _size(call: RecordedCall) -> int:
    """Bytes of its texts."""
    return len(call.request or b"") + len(call.response or b"")


def _model_in(body: bytes) -> str:
    found = _MODEL.search(body, 0, _LOOKED_AT) or _MODEL.search(body, max(0, len(body) - _LOOKED_AT))
    return found[1].decode("utf-8", "replace") if found else ""
