"""Environments: what answers to a model's actions with observations; and where else an action would have led.

An environment is any object with `reset(task)` and `step(action)`; with `clone()` a state can be branched from, and
without it a branch is the same actions once more from the start, whose cost is told. No reward is needed; one that an
observation carries is that of the rollout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

from ..errors import InputError
from ..plugins import is_named, load_function
from ..records import Observation, Task
from ..text import shortened

_T = TypeVar("_T")


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
    return found


def _theirs(what: str, does: Callable[[], _T]) -> _T:
    """What a user's code gives; raises InputError where it fails."""
    try:
        return does()
    except (Exception, SystemExit) as error:  # it may raise anything
        raise InputError(
            f"the environment failed at {what}: {type(error).__name__}: {shortened(error, 200)}"
        ) from error


@dataclass(slots=True)
class Walk:
    """One task's environment, walked along a rollout's actions, and branched from where it stands."""

    make: MakeEnvironment
    task: Task
    done: list[str]
    """The actions so far."""
    shown: Observation
    environment: Environment
    replayed: int = 0
    """Steps that were made once more, for want of `clone`."""

    @classmethod
    def begun(cls, make: MakeEnvironment, task: Task) -> "Walk":
        """At the beginning of a task."""
        environment = _theirs("its making", make)
        return cls(make, task, [], observed("reset()", lambda: environment.reset(task)), environment)

    def step(self, action: str) -> Observation:
        """Go on by an action."""
        self.shown = observed(_named(action), lambda: self.environment.step(action))
        self.done.append(action)
        return self.shown

    def after(self, action: str) -> Observation:
        """What would follow an action here; raises InputError where the same actions lead elsewhere."""
        if isinstance(self.environment, Cloneable):
            branch = _theirs("clone()", self.environment.clone)
            return observed(_named(action), lambda: branch.step(action))
        other = _theirs("its making", self.make)
        shown = observed("reset()", lambda: other.reset(self.task))
        for earlier in self.done:
            shown = observed(_named(earlier), partial(other.step, earlier))
        self.replayed += len(self.done)
        if shown.text != self.shown.text:
            raise InputError(
                f"{self.task.id}: the same {len(self.done)} actions led to {shortened(shown.text)}, and before to"
                f" {shortened(self.shown.text)}; an environment without clone() has to be deterministic"
            )
        return observed(_named(action), lambda: other.step(action))


def _named(action: str) -> str:
    """An action in an error."""
    return f"step({shortened(repr(action))})"
