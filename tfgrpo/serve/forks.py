"""What a forked process must not share with its parent: locks, connections, threads. Each is made anew in the child.

A fork copies one thread only. A lock that another one held stays locked in the child for ever, a connection to a
server or a database would be used by two processes at once, and a thread that kept something up to date is gone.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """Something that a child makes anew."""

    def renew(self) -> None:
        """Let go of what belongs to the parent, without closing it, and start afresh."""
        ...


_kept: WeakSet[Forked] = WeakSet()
_unforked = RLock()


def renewed_in_children(thing: Forked) -> None:
    """From now on, while it lives, every child that is forked renews it first."""
    _kept.add(thing)


@contextmanager
def no_fork() -> Iterator[None]:
    """Forks of this process wait until this is left: SQLite must not be halfway through something."""
    with _unforked:
        yield


def _hold() -> None:
    _unforked.acquire()


def _let_go() -> None:
    _unforked.release()


def _renew() -> None:
    global _unforked  # noqa: PLW0603 - the parent's may be held by a thread that is not here
    _unforked = RLock()
    for thing in list(_kept):
        thing.renew()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_renew)
