"""How many calls are in flight at once: as many as were asked for, fewer while the upstream says that it is busy.

Additive increase, multiplicative decrease, as TCP does it, with one difference: a few refusals among many answers are
how some services thin out their traffic, and say nothing of ours. So the limit is halved when a quarter of the latest
answers were refusals, not for each of them, and grows by one for every few answers that were none. Refusals come at
once and answers do not: a call in flight counts as one that was let in, or the first few refusals of a run, which are
all that was answered by then, would halve it. A call that has to wait before it is tried again gives its place to
others meanwhile.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from itertools import count, zip_longest
from statistics import median
from typing import Any, Generic, TypeVar

from ..errors import UpstreamError

T = TypeVar("T")

LAST = 2
"""The rank of what takes a place that nobody else wants."""

_BUSY_SHARE = 0.25
"""Of the latest answers, as many as can be in flight: from here on the upstream is taken to be busy."""
_GROWS_AFTER = 4
"""Answers in a row without a refusal for one more call in flight."""
_FEWEST = 4
"""Answers, of which the share of refusals says something."""


class Pace:
    """The places for calls in flight. Those with the lower rank come first, of equals who came first."""

    def __init__(self, most: int) -> None:
        self._most, self.limit = most, most
        self.flying = 0
        """Places that are taken."""
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = count()
        self._latest: deque[bool] = deque(maxlen=most)
        """Of the latest answers: was it a refusal?"""
        self._calm = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        """Where its calls are made, from the first on."""
        self._open_at = 0.0
        self._opening: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def place(self, rank: int = 0) -> "AsyncIterator[Place]":
        """A place, waited for; it is given back at the end."""
        place = Place(self, rank)
        await place.take()
        try:
            yield place
        finally:
            if place.held:
                self.give_back()

    async def take(self, rank: int) -> None:
        """Wait for a place."""
        loop = asyncio.get_running_loop()
        if (self._loop or loop) is not loop:  # its connections and its queue are the other loop's
            raise UpstreamError("an Upstream serves one event loop; make another one for this one")
        self._loop, turn = loop, loop.create_future()
        heapq.heappush(self._waiting, (rank, next(self._arrivals), turn))
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was let in, and will not come
                self.give_back()
            raise

    @property
    def spare(self) -> bool:
        """Whether a place stands empty that nobody waits for."""
        now = asyncio.get_running_loop().time()
        return self.flying < self.limit and not self._waiting and now >= self._open_at

    def give_back(self) -> None:
        """One place less is taken."""
        self.flying -= 1
        self._let_in()

    def answered(self) -> None:
        """A call was answered, and not for being one too many."""
        self._latest.append(False)
        self._calm += 1
        if self._calm >= _GROWS_AFTER and self.limit < self._most:
            self._calm, self.limit = 0, self.limit + 1
            self._let_in()

    def refused(self, seconds: float) -> None:
        """A call was refused for being one too many (429, 503), and may be made again after so many seconds."""
        self._latest.append(True)
        self._calm = 0
        seen = max(len(self._latest), self.flying - 1)
        if seen >= min(_FEWEST, self._most) and sum(self._latest) >= _BUSY_SHARE * seen:
            self.limit = max(1, self.limit // 2)
            self._latest.clear()
            self._open_at = max(self._open_at, asyncio.get_running_loop().time() + seconds)

    def _let_in(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self.flying < self.limit:
            if loop.time() < self._open_at:
                if self._opening is None or self._opening.when() < self._open_at:
                    self._opening = loop.call_at(self._open_at, self._let_in)
                return
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self.flying += 1
                turn.set_result(None)


async def hedged(
    first: Coroutine[Any, Any, T], again: Callable[[], Coroutine[Any, Any, T]], left: Callable[[], float]
) -> T:
    """The first result of two of the same: `again` is begun once nothing is `left` to wait for `first`, in seconds.

    One that fails is no result as long as the other may have one; where both fail, the first one's error is raised.
    """
    second = _Second(again, left)
    try:
        return await first
    except asyncio.CancelledError:
        if second.interrupted and second.is_alone:
            return second.result
        raise
    except Exception:
        if await second.came():
            return second.result
        raise
    finally:
        await second.end()


class _Second(Generic[T]):
    """What is begun beside what the current task waits for, once that takes long; it interrupts it by its result.

    A task is made for it alone, and only then: one for each call took a third of what a call takes.
    """

    def __init__(self, again: Callable[[], Coroutine[Any, Any, T]], left: Callable[[], float]) -> None:
        self._again, self._left, self._loop = again, left, asyncio.get_running_loop()
        self._waits = asyncio.current_task(self._loop)
        self._cancelled = self._waits.cancelling() if self._waits else 0
        self._task: asyncio.Task[T] | None = None
        self._over = self.interrupted = False
        self._timer = self._loop.call_later(left(), self._look)

    @property
    def is_alone(self) -> bool:
        """Whether nobody else has cancelled the task that waits."""
        return self._waits is not None and self._waits.cancelling() - 1 <= self._cancelled

    @property
    def result(self) -> T:
        """Its result, once there is one."""
        assert self._task
        return self._task.result()

    def _look(self) -> None:
        if (waits := self._left()) > 0:
            self._timer = self._loop.call_later(waits, self._look)
            return
        self._task = self._loop.create_task(self._again())
        self._task.add_done_callback(self._interrupt)

    def _interrupt(self, task: asyncio.Task[T]) -> None:
        if self._waits and not (self._over or task.cancelled() or task.exception()):
            self.interrupted = self._waits.cancel()

    async def came(self) -> bool:
        """Whether it has a result, waited for where it was begun."""
        self._timer.cancel()
        self._over = True  # a task that has just ended calls back all the same, in the next turn of the loop
        if self._task is None:
            return False
        await asyncio.wait([self._task])
        return not self._task.cancelled() and not self._task.exception()

    async def end(self) -> None:
        """End it, and take back the interruption."""
        self._timer.cancel()
        self._over = True
        if self.interrupted and self._waits:
            self._waits.uncancel()
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


_ONCE: ContextVar[bool] = ContextVar("tfgrpo_asked_once", default=False)


@contextmanager
def asked_once(once: bool = True) -> Iterator[None]:
    """No call that is asked for within is made twice, whoever asks: rollouts, agents, a judge.

    Who takes the sooner of two answers takes the shorter one, which may be the better one; so where answers are
    compared, the verdict would be on answers that nobody gets.
    """
    token = _ONCE.set(once)
    try:
        yield
    finally:
        _ONCE.reset(token)


def is_asked_once() -> bool:
    """Whether it is within `asked_once`."""
    return _ONCE.get()


LOOKS = 1.0
"""Seconds after which a call that cannot be made once more yet is looked at again."""
_STALLED, _SURELY, _KNOWN, MADE_TWICE = 5.0, 1.0, 20, 0.03
"""A call is stalled that takes so many medians of its kind, and so many seconds; so many of its kind were answered
before; and of all calls such a share at most is made once more."""


class Stalls:
    """Which calls take so long that they are made once more: few, for each counts as a call."""

    def __init__(self) -> None:
        self._took: dict[str, deque[float]] = {}
        self._answered = self._repeated = 0

    def took(self, kind: str, seconds: float) -> None:
        """A call of a kind was answered after so long."""
        self._answered += 1
        self._took.setdefault(kind, deque(maxlen=200)).append(seconds)

    def left(self, kind: str, waited: float) -> float:
        """Seconds until a call of a kind, waited for so long, is looked at again; none where it is stalled."""
        known = self._took.get(kind, ())
        if waited < _SURELY or len(known) < _KNOWN or not self.may_repeat:
            return _SURELY
        return max(_STALLED * median(known) - waited, 0.0)

    @property
    def may_repeat(self) -> bool:
        """Whether not too many were made once more already."""
        return self._repeated + 1 <= MADE_TWICE * self._answered

    def repeated(self) -> None:
        """One was."""
        self._repeated += 1


class Alike(Generic[T]):
    """Calls that ask for the same, gathered while the first of them, which asks for all, waits for its place."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Future[T | None]]] = {}

    def joined(self, name: str) -> asyncio.Future[T | None] | None:
        """What one gets that is asked for by another, None of it where it has to ask itself; None: it is the first."""
        if name not in self._waiting:
            self._waiting[name] = []
            return None
        turn: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        self._waiting[name].append(turn)
        return turn

    def taken(self, name: str) -> "list[asyncio.Future[T | None]]":
        """Those that wait for the first one; who comes now begins anew."""
        return [turn for turn in self._waiting.pop(name, []) if not turn.done()]


def handed(turns: "Iterable[asyncio.Future[T | None]]", given: Iterable[T]) -> None:
    """Give each what was asked for it; those for whom there is none ask themselves."""
    for turn, one in zip_longest([turn for turn in turns if not turn.done()], given):
        if turn is not None:
            turn.set_result(one)


class Place:
    """One call's place."""

    def __init__(self, pace: Pace, rank: int) -> None:
        self._pace, self.rank, self.held, self._since = pace, rank, False, 0.0

    async def take(self) -> None:
        """Wait for it."""
        await self._pace.take(self.rank)
        self.held, self._since = True, asyncio.get_running_loop().time()

    @property
    def seconds(self) -> float:
        """How long it has been held since it was taken last: to wait for a busy upstream is no time of an answer."""
        return asyncio.get_running_loop().time() - self._since if self.held else 0.0

    async def pause(self, seconds: float, *, busy: bool) -> None:
        """Wait before the call is tried again, while others have its place; `busy`: it was one too many."""
        if busy:
            self._pace.refused(seconds)
        self.held = False
        self._pace.give_back()
        await asyncio.sleep(seconds)
        await self.take()
