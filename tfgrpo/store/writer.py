"""The one writer of a process: writes that wait together share a transaction."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from .database import Database

T = TypeVar("T")

WRITES_TOGETHER = 256
"""Writes in one transaction, at most: other processes wait for it."""


@dataclass(frozen=True, slots=True)
class Work(Generic[T]):
    """What is to be done in a transaction."""

    do: Callable[[Database], T]
    appends: bool = False
    """It adds rows that no other write reads before it writes: it need not keep others from writing meanwhile."""


AnyWork: TypeAlias = Work[Any]


class Ledger(Protocol):
    """Where a writer writes; used by its thread alone."""

    common: tuple[type[Exception], ...]
    """Errors that each of several writes would meet alone, too: of the lock, the disk, the connection."""

    def commit(self, works: Sequence[AnyWork]) -> list[Any]:
        """Do all in one transaction; what they came to, once it is committed."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True, slots=True)
class _Job(Generic[T]):
    work: Work[T]
    done: Future[T]

    def succeed(self, result: T) -> None:
        if self.done.set_running_or_notify_cancel():
            self.done.set_result(result)

    def fail(self, error: Exception) -> None:
        if self.done.set_running_or_notify_cancel():
            self.done.set_exception(error)


class Writer:
    """A thread that owns the writing connection.

    A job that was submitted is carried out even when its caller is cancelled: a call that was paid for is kept.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name="tfgrpo-store", daemon=True)
        self._thread.start()

    def submit(self, work: Work[T]) -> Future[T]:
        """Queue what is to be done; the future is done once its transaction is committed."""
        done: Future[T] = Future()
        self._jobs.put(_Job(work, done))
        return done

    def close(self) -> None:
        """Commit what is queued, then stop."""
        self._jobs.put(None)
        self._thread.join()
        self._ledger.close()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, last = self._waiting(job)
            self._commit(batch)
            if last:
                return

    def _waiting(self, first: _Job[Any]) -> tuple[list[_Job[Any]], bool]:
        batch = [first]
        while len(batch) < WRITES_TOGETHER:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _commit(self, batch: Sequence[_Job[Any]]) -> None:
        try:
            results = self._ledger.commit([job.work for job in batch])
        except self._ledger.common as error:
            for job in batch:
                job.fail(error)
        except Exception as error:  # handed to the caller, as concurrent.futures does
            if len(batch) == 1:
                batch[0].fail(error)
            else:
                self._one_by_one(batch)
        else:
            for job, result in zip(batch, results, strict=True):
                job.succeed(result)

    def _one_by_one(self, batch: Sequence[_Job[Any]]) -> None:
        """One bad write must not take those that shared its transaction with it."""
        for job in batch:
            self._commit([job])
