"""Environments: what answers to a model's actions with observations, and rollouts that are made in one, turn by turn.

An environment is any object with `reset(task)` and `step(action)`; with `clone()` a state can be branched from, and
without it a branch is the same actions once more from the start, whose cost is told. No reward is needed; one that an
observation carries is that of the rollout.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, runtime_checkable

from ..errors import InputError, ModelError, UpstreamError
from ..hashing import derive_seed
from ..records import CallKey, ChatBody, Message, Observation, Prior, Rollout, Task
from ..surfaces.chat import with_prior
from ..surfaces.surface import manner_of
from ..text import shortened
from .executor import ChatExecutor, request_body


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


def action_in(text: str) -> str:
    """The action that a model's text is: its first line that is not empty."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


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


class EnvironmentExecutor:
    """An Executor whose rollouts are made in an environment: an action a call, each a turn of the same chat."""

    def __init__(self, plain: ChatExecutor, make: MakeEnvironment, turns: int = 12) -> None:
        """Calls as those of `plain`; a rollout ends when its environment says so, or after so many turns."""
        self.plain, self.make, self.turns = plain, make, turns

    async def __call__(self, task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        """One rollout; its reward is what the environment's last observation carries, else 0."""
        included = tuple(experience.id for experience in prior.experiences)
        made = Rollout(task, step, sample, prior.id, included)
        walk = Walk.begun(self.make, task)
        messages = [*opening(self.plain, task, walk.shown)]
        for turn in range(self.turns):
            if walk.shown.over:
                break
            key = CallKey(self.plain.run, self.plain.stage, step, task.id, sample, turn)
            try:
                reply = await self.plain.model(self.asked(messages, prior, key), key)
            except UpstreamError:
                raise
            except ModelError as error:
                return replace(made, messages=tuple(messages), error=str(error))
            action = action_in(reply.text)
            shown = walk.step(action)
            made = replace(made, text=action, usage=made.usage + reply.usage, finish_reason=reply.finish_reason)
            messages += [{"role": "assistant", "content": action}, {"role": "user", "content": shown.text}]
        return replace(made, messages=tuple(messages), reward=walk.shown.reward or 0.0)

    def asked(self, messages: Sequence[Message], prior: Prior, key: CallKey) -> ChatBody:
        """The request for the next action."""
        of = self.plain
        seed = derive_seed(of.seed, key.stage, key.step, key.task, key.sample, key.retry)
        body = {**request_body(of.frame, of.backend, Task(""), seed), "messages": list(messages)}
        return with_prior(body, prior, manner_of(of.backend, key.task))


def opening(plain: ChatExecutor, task: Task, first: Observation) -> Sequence[Message]:
    """The chat of a rollout before its first action: the frame's system prompt, the task, the first observation."""
    *before, last = request_body(plain.frame, plain.backend, task, 0)["messages"]
    return [*before, {**last, "content": f"{last['content']}\n\n{first.text}"}]


def actions_of(rollout: Rollout) -> list[str]:
    """The actions of a rollout that was made in an environment, in order."""
    return [str(message["content"]) for message in rollout.messages if message.get("role") == "assistant"]
