"""Rollouts that are made in an environment: an action a call, each a turn of the same chat."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from ..errors import InputError, ModelError, UpstreamError
from ..hashing import derive_seed
from ..records import CallKey, ChatBody, Message, Observation, Prior, Rollout, Task
from ..surfaces.chat import with_prior
from .environment import STEP_SECONDS, MakeEnvironment, Walk
from .executor import ChatExecutor, manner_for, request_body

T = TypeVar("T")


def action_in(text: str) -> str:
    """The action that a model's text is: its first line that is not empty."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


class EnvironmentExecutor:
    """An Executor whose rollouts are made in an environment: an action a call, each a turn of the same chat."""

    def __init__(
        self,
        plain: ChatExecutor,
        make: MakeEnvironment,
        turns: int = 12,
        seconds: float = STEP_SECONDS,
        *,
        at_once: int = 16,
        landed: Callable[[Rollout], None] = lambda rollout: None,
    ) -> None:
        """Calls as those of `plain`; a rollout ends when its environment says so, or after so many turns.

        Each answer of the environment may take so many seconds. So many rollouts are under way at once: of as many
        a server has to remember the beginning until the next turn. `landed` is told of each rollout.
        """
        self.plain, self.make, self.turns, self.seconds = plain, make, turns, seconds
        self._under_way, self._landed = asyncio.Semaphore(at_once), landed

    async def __call__(self, task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        """One rollout, once fewer are under way; its reward is what the last observation carries, else 0."""
        return await self.in_turn(partial(self.rollout, task, prior, step, sample))

    async def in_turn(self, work: Callable[[], Awaitable[T]]) -> T:
        """What comes of work on one task, once fewer are under way."""
        async with self._under_way:
            return await work()

    async def rollout(self, task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        """One rollout, at once."""
        included = tuple(experience.id for experience in prior.experiences)
        made = Rollout(task, step, sample, prior.id, included)
        try:
            async with Walk.begun(self.make, task, self.seconds) as walk:
                made = await self._walked(walk, made, prior)
        except InputError as error:
            made = replace(made, error=str(error))
        self._landed(made)
        return made

    async def _walked(self, walk: Walk, made: Rollout, prior: Prior) -> Rollout:
        """The rollout, turn by turn."""
        task, messages = made.task, [*opening(self.plain, made.task, walk.shown)]
        for turn in range(self.turns):
            if walk.shown.over:
                break
            key = CallKey(self.plain.run, self.plain.stage, made.step, task.id, made.sample, turn)
            try:
                reply = await self.plain.model(await self.asked(messages, prior, key), key)
                action = action_in(reply.text)
                shown = await walk.step(action)
            except UpstreamError:
                raise
            except (ModelError, InputError) as error:
                return replace(made, messages=tuple(messages), error=str(error))
            made = replace(made, text=action, usage=made.usage + reply.usage, finish_reason=reply.finish_reason)
            messages += [{"role": "assistant", "content": action}, {"role": "user", "content": shown.text}]
        return replace(made, messages=tuple(messages), reward=walk.shown.reward or 0.0)

    async def asked(self, messages: Sequence[Message], prior: Prior, key: CallKey) -> ChatBody:
        """The request for the next action."""
        of = self.plain
        seed = derive_seed(of.seed, key.stage, key.step, key.task, key.sample, key.retry)
        body = {**request_body(of.frame, of.backend, Task(""), seed), "messages": list(messages)}
        return with_prior(body, prior, await manner_for(of.model, of.backend, prior, messages, key))


def opening(plain: ChatExecutor, task: Task, first: Observation) -> Sequence[Message]:
    """The chat of a rollout before its first action: the frame's system prompt, the task, the first observation."""
    *before, last = request_body(plain.frame, plain.backend, task, 0)["messages"]
    return [*before, {**last, "content": f"{last['content']}\n\n{first.text}"}]


def actions_of(rollout: Rollout) -> list[str]:
    """The actions of a rollout that was made in an environment, in order."""
    return [str(message["content"]) for message in rollout.messages if message.get("role") == "assistant"]
