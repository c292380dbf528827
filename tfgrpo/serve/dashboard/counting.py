"""What takes long to count is counted in a thread, and kept for a while; whoever asks never waits long."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST = 100
"""Results that are kept."""
_OLD = 60.0
"""Seconds after which a result is of another time, where each is counted anew."""
_DUTY = 20
"""At most one part in so many of the time goes into counting the same again."""


@dataclass(frozen=True, slots=True)
class _Count(Generic[T]):
    value: Future[T]
    begun: float
    taken: list[float]
    """Seconds that it took, and when that was, once it is done."""

    def is_of_now(self) -> bool:
        """Whether it came to something a short while ago."""
        return time.monotonic() - self.taken[1] < _OLD and self.value.exception() is None


class Counting(Generic[T]):
    """Results of a function by name, each as fresh as it can be had without counting all the time."""

    def __init__(self, count: Callable[[str], T], fresh: float) -> None:
        """A result is good for `fresh` seconds; with 0 it is counted anew whenever somebody asks."""
        self._count = count
        self._fresh = fresh
        self._lock = Lock()
        self._done: dict[str, _Count[T]] = {}
        self._going: dict[str, _Count[T]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tfgrpo-counting")

    def of(self, name: str, patience: float) -> T | None:
        """The latest result, which may be of a moment ago; None where the first takes longer than `patience` seconds,
        or where each is counted anew, and the last is old.

        Raises what the function raised.
        """
        with self._lock:
            done = self._done.get(name)
            good = max(self._fresh, _DUTY * done.taken[0]) if done and self._fresh else 0.0
            stale = done is None or time.monotonic() - done.begun > good
            if stale and name not in self._going:
                self._going[name] = self._start(name)
            going = self._going.get(name)
        if going and (done is None or self._fresh == 0):
            try:
                return going.value.result(patience)
            except TimeoutError:
                return done.value.result() if done and done.is_of_now() else None
        return done.value.result() if done else None

    def known(self, name: str) -> T | None:
        """What was counted last, if it was; nothing is begun."""
        done = self._done.get(name)
        return done.value.result() if done else None

    def close(self) -> None:
        """Begin no more; what is being counted is left to itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _start(self, name: str) -> _Count[T]:
        taken: list[float] = []

        def work() -> T:
            began = time.monotonic()
            try:
                return self._count(name)
            finally:
                taken[:] = (ended := time.monotonic()) - began, ended
                self._finish(name)

        return _Count(self._thread.submit(work), time.monotonic(), taken)

    def _finish(self, name: str) -> None:
        with self._lock:
            if name in self._going:
                if len(self._done) >= _MOST:
                    self._done.clear()
                self._done[name] = self._going.pop(name)
