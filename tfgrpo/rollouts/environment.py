"""Environments: what answers to a model's actions with observations; and where else an action would have led.

An environment is any object with `reset(task)` and `step(action)`; with `clone()` a state can be branched from, and
without it a branch is the same actions once more from the start, whose cost is told. No reward is needed; one that an
observation carries is that of the rollout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from ..errors import InputError
from ..records import Observation, Task
from ..text import shortened


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


def observed(shown: object) -> Observation:
    """What an environment has shown; raises InputError for what is no observation."""
    if not isinstance(shown, Observation) or not isinstance(shown.text, str):
        raise InputError(f"an environment gives a tfgrpo.records.Observation, not {shortened(repr(shown))}")
    return shown


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
        environment = make()
        return cls(make, task, [], observed(environment.reset(task)), environment)

    def step(self, action: str) -> Observation:
        """Go on by an action."""
        self.done.append(action)
        self.shown = observed(self.environment.step(action))
        return self.shown

    def after(self, action: str) -> Observation:
        """What would follow an action here; raises InputError where the same actions lead elsewhere."""
        if isinstance(self.environment, Cloneable):
            return observed(self.environment.clone().step(action))
        other = self.make()
        shown = observed(other.reset(self.task))
        for earlier in self.done:
            shown = observed(other.step(earlier))
        self.replayed += len(self.done)
        if shown.text != self.shown.text:
            raise InputError(
                f"{self.task.id}: the same {len(self.done)} actions led to {shortened(shown.text)}, and before to"
                f" {shortened(self.shown.text)}; an environment without clone() has to be deterministic"
            )
        return observed(other.step(action))
