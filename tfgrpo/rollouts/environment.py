"""Environments: what answers to a model's actions with observations; and where else an action would have led.

An environment is any object with `reset(task)` and `step(action)`; with `clone()` a state can be branched from, and
without it a branch is the same actions once more from the start, whose cost is told. No reward is needed; one that an
observation carries is that of the rollout.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

from ..errors import InputError
from ..plugins import is_named, load_function
from ..records import Observation, Task
from ..text import shortened

_T = TypeVar("_T")

STEP_SECONDS = 60.0
"""That an environment may take for a step, a reset or a clone."""


class Environment(Protocol):
    """What a model acts in. It should be deterministic: the same actions from a reset, the same observations."""

    def reset(self, task: Task, /) -> Observation:
        """The beginning of a task."""
        ...

    def step(self, action: str, /) -> Observation:
        """What follows an action."""
        ...


@runtime_checkable
class Cloneable(Protocol):
    """An environment whose state can be branched from."""

    def clone(self) -> Environment:
        """Another one in the same state; what is done in it changes nothing here."""
        ...


MakeEnvironment: TypeAlias = Callable[[], Environment]
"""What a user names: a function, or a class, that makes an environment."""


def load_environment(name: str) -> MakeEnvironment:
    """What makes environments, named as `module:function`; raises InputError for what makes none."""
    if not is_named(name):
        raise InputError(f"--environment {shortened(name)}: it must be module:function, or module:class")
    make = load_function(name, "--environment")
    try:
        made = make()
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise InputError(f"--environment {name} failed: {type(error).__name__}: {shortened(error, 200)}") from error
    for method in ("reset", "step"):
        if not callable(getattr(made, method, None)):
            raise InputError(f"--environment {name} makes {shortened(type(made).__name__)}, which has no {method}()")
    return make


def observed(what: str, shown: Callable[[], object]) -> Observation:
    """What an environment shows; raises InputError for what is no observation, and where it fails."""
    found = _theirs(what, shown)
    if not isinstance(found, Observation) or not isinstance(found.text, str):
        wanted = "an environment gives a tfgrpo.records.Observation with a text"
        raise InputError(f"{wanted}, not {shortened(repr(found))} ({what})")
    given = found.reward
    if given is not None and not (isinstance(given, int | float) and 0 <= given <= 1):
        raise InputError(
            f"an observation's reward is None, or a number from 0 to 1, not {shortened(repr(given))} ({what})"
        )
    return found


def _theirs(what: str, does: Callable[[], _T]) -> _T:
    """What a user's code gives; raises InputError where it fails."""
    try:
        return does()
    except (Exception, SystemExit) as error:  # it may raise anything
        raise InputError(
            f"the environment failed at {what}: {type(error).__name__}: {shortened(error, 200)}"
        ) from error


class _OwnThread:
    """A daemon thread in which one environment lives: some belong to the thread that made them, and one that never
    answers must keep neither the others nor the end of the process waiting."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._stuck = seconds, ""
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        Thread(target=self._serve, name="tfgrpo-environment", daemon=True).start()

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def close(self) -> None:
        """Let it end, once what it does is done."""
        self._work.put(None)

    async def __call__(self, what: str, does: Callable[[], _T]) -> _T:
        """What it gives; raises as it does, and InputError where that, or what was asked before, takes too long."""
        if self._stuck:
            raise InputError(self._stuck)
        done: Future[_T] = Future()

        def work() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(does())
                except BaseException as error:  # handed over, as concurrent.futures does
                    done.set_exception(error)

        self._work.put(work)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(done), self._seconds)
        except TimeoutError:
            self._stuck = f"the environment gave no answer to {what} within {self._seconds:g} s (--step-timeout)"
            raise InputError(self._stuck) from None


@dataclass(slots=True)
class Walk:
    """One task's environment, walked along a rollout's actions, and branched from where it stands."""

    make: MakeEnvironment
    task: Task
    done: list[str]
    """The actions so far."""
    shown: Observation
    environment: Environment
    thread: _OwnThread
    """Where all of its environments live."""
    replayed: int = 0
    """Steps that were made once more, for want of `clone`."""
    rewarded: bool = False
    """Whether an observation carried a reward."""

    @classmethod
    @asynccontextmanager
    async def begun(cls, make: MakeEnvironment, task: Task, seconds: float = STEP_SECONDS) -> "AsyncIterator[Walk]":
        """At the beginning of a task; each answer of the environment may take so many seconds."""
        thread = _OwnThread(seconds)
        try:
            environment = await thread("its making", lambda: _theirs("its making", make))
            shown = await thread("reset()", lambda: observed("reset()", lambda: environment.reset(task)))
            yield cls(make, task, [], shown, environment, thread)
        finally:
            thread.close()

    async def step(self, action: str) -> Observation:
        """Go on by an action."""
        what = _named(action)
        self.shown = await self.thread(what, lambda: observed(what, lambda: self.environment.step(action)))
        self.done.append(action)
        self.rewarded |= self.shown.reward is not None
        return self.shown

    async def after(self, action: str) -> Observation:
        """What would follow an action here; raises InputError where the same actions lead elsewhere."""
        cloned = isinstance(self.environment, Cloneable)
        found = await self.thread(_named(action), partial(self._cloned if cloned else self._again, action))
        self.rewarded |= found.reward is not None
        return found

    def _cloned(self, action: str) -> Observation:
        assert isinstance(self.environment, Cloneable)
        branch = _theirs("clone()", self.environment.clone)
        if branch is self.environment or not callable(getattr(branch, "step", None)):
            given = "itself" if branch is self.environment else f"{shortened(type(branch).__name__)}, without step()"
            raise InputError(f"the environment's clone() gives {given}; it must give another one in the same state")
        return observed(_named(action), lambda: branch.step(action))

    def _again(self, action: str) -> Observation:
        """By the same actions once more."""
        other = _theirs("its making", self.make)
        shown = observed("reset()", lambda: other.reset(self.task))
        for earlier in self.done:
            shown = observed(_named(earlier), partial(other.step, earlier))
        self.replayed += len(self.done)
        if shown.text != self.shown.text:
            now, before = _where_they_part(shown.text, self.shown.text)
            raise InputError(
                f"{self.task.id}: the same {len(self.done)} actions led to {now!r}, and before to {before!r}; an"
                " environment without clone() has to be deterministic"
            )
        return observed(_named(action), lambda: other.step(action))


def _where_they_part(one: str, other: str) -> tuple[str, str]:
    """Two different texts for an error, from a little before the place where they differ."""
    parted = (at for at, (mine, theirs) in enumerate(zip(one, other, strict=False)) if mine != theirs)
    start = max(0, next(parted, min(len(one), len(other))) - 20)
    return shortened(one[start:]), shortened(other[start:])


def _named(action: str) -> str:
    """An action in an error."""
    return f"step({shortened(repr(action))})"
