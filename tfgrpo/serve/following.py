"""One thread that has sources look again and again at the place that they are read from."""

import weakref
from contextlib import suppress
from threading import Event, RLock, Thread
from typing import Protocol

from .forks import renewed_in_children


class Followed(Protocol):
    """Something that is kept up to date."""

    def refresh(self) -> None:
        """Look now; raises nothing."""
        ...


class Paced(Protocol):
    """Something that is to be looked at again and again."""

    @property
    def seconds(self) -> float:
        """Until the next look; it may be another each time."""
        ...

    def listen(self) -> bool:
        """Wait as long, or until it is told that there is something new; False at once where nobody tells it."""
        ...


class Follower:
    """Has its sources look as often as their place says, one after the other, as long as somebody has one of them."""

    def __init__(self, place: Paced) -> None:
        self._place = place
        self.renew()
        renewed_in_children(self)

    def renew(self) -> None:
        """In a forked child: there is no thread, and nothing that it would follow yet."""
        self._lock = RLock()  # a source may be collected, and leave, in the middle of whatever holds it
        self._followed: weakref.WeakSet[Followed] = weakref.WeakSet()
        self._over: Event | None = None

    def follow(self, source: Followed) -> None:
        """Keep one more up to date."""
        with self._lock:
            self._followed.add(source)
            weakref.finalize(source, self._rest).atexit = False
            if self._over is None:
                self._over = Event()
                with suppress(RuntimeError):  # the interpreter is about to end
                    Thread(target=self._run, args=(self._over,), name="tfgrpo-prior", daemon=True).start()

    def leave(self, source: Followed) -> None:
        """Look for it no more."""
        with self._lock:
            self._followed.discard(source)
            self._rest()

    def _rest(self) -> None:
        with self._lock:
            if self._over and not any(True for _ in self._followed):
                self._over.set()
                self._over = None

    def _run(self, over: Event) -> None:
        while not (over.is_set() if self._place.listen() else over.wait(self._place.seconds)):
            self._look()

    def _look(self) -> None:
        """A function of its own: while the thread waits it must keep no source alive."""
        for source in list(self._followed):
            source.refresh()
