"""Agents and rewards as they are given, made to run on a cluster."""

import asyncio
import inspect
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ...errors import AgentError
from ...model.connection import Relayed
from ...records import JSON, Rollout, Task
from ..agents import Agent, AgentElsewhere, ModelAddress, RecordingEndpoint
from ..agents.agent import LOST_PAUSES, WorkerLost
from ..rewards.reward import BuiltInReward, Reward, RewardElsewhere, Score
from .cluster import RayCluster, RayWorkers, check_executor, landed
from .worker import Failure, Ordered, Posted, roll, score_on_worker

HEAVY = ("code", "math")
"""Built-in rewards that take processor time."""
_AGAIN_SECONDS = 0.5


def on_executor(named: str, agent: Agent | None, reward: Reward) -> tuple[Agent | None, Reward, tuple[str, ...]]:
    """Both as they run by an executor that is `ray` or an address, and what is to be said of it.

    Raises InputError for another.
    """
    workers = RayWorkers(check_executor(named), [*_modules_of(getattr(agent, "function", None)), *_modules_of(reward)])
    scored = reward_on_ray(reward, workers)
    if agent is None:
        alone = "" if scored is not reward else ", so nothing of this run is for Ray"
        return None, scored, (f"--executor {named}: a rollout is one call, which is made from here{alone}",)
    return AgentOnRay(agent, workers), scored, ()


@dataclass(frozen=True, slots=True)
class _Open:
    """What there is while an agent's endpoint is open."""

    cluster: RayCluster
    mailbox: Any
    seconds: float


class AgentOnRay(AgentElsewhere):
    """An agent on the workers of a cluster. The run remembers it by the name that it has here too."""

    def __init__(self, agent: Agent, workers: RayWorkers) -> None:
        self._agent, self._workers, self.name = agent, workers, agent.name
        self._open: _Open | None = None
        self._asked: dict[str, set[asyncio.Task[None]]] = defaultdict(set)
        """What is being answered, by the path of the rollout that asked."""

    @asynccontextmanager
    async def endpoint(self, seconds: float) -> AsyncIterator[RecordingEndpoint]:
        """As the base says; the mailbox is looked into as long as it is open."""
        cluster = self._workers.cluster
        self._open = _Open(cluster, cluster.mailbox(), seconds)
        endpoint = RecordingEndpoint()
        answering = asyncio.create_task(self._answering(endpoint, self._open.mailbox))
        try:
            yield endpoint
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            cluster.end(self._open.mailbox)
            self._open = None

    async def __call__(self, task: Task, place: ModelAddress) -> JSON:
        """As the base says."""
        assert self._open, "its endpoint is not open"
        path, at = place.base_url.split("/")[-2], self._open
        try:
            ordered = Ordered(task, path, place.model, at.seconds)
            text, error = await at.cluster.run(roll, self._agent, ordered, at.mailbox)
        finally:
            for asked in self._asked.pop(path, ()):
                asked.cancel()
        if error is not None:
            raise AgentError(error)
        return text

    async def _answering(self, endpoint: RecordingEndpoint, mailbox: Any) -> None:
        """Answer what is posted, again and again; a mailbox that is lost is a new one a moment later."""
        while True:
            try:
                found: list[Posted] = await landed(mailbox.fetch.remote())
            except Exception:  # Ray's, of whatever kind: whether the cluster is gone its tasks will tell
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            for posted in found:
                asked = asyncio.create_task(self._answer(endpoint, mailbox, posted))
                self._asked[posted.path].add(asked)
                asked.add_done_callback(self._asked[posted.path].discard)

    async def _answer(self, endpoint: RecordingEndpoint, mailbox: Any, posted: Posted) -> None:
        try:
            answered = await endpoint.answered(posted.path, posted.asked)
        except Exception:  # the session has it, and ends the run by it
            answered = Relayed((), b"", status=500)
        mailbox.answer.remote(posted.number, answered)


def reward_on_ray(reward: Reward, workers: RayWorkers) -> Reward:
    """The reward on the workers, where it takes processor time: a function of the user's, and some of ours."""
    if isinstance(reward, BuiltInReward):
        return _BuiltInOnRay(reward, workers) if reward.name in HEAVY else reward
    called = getattr(reward, "__call__", None)  # noqa: B004 - of an object that can be called
    waits = inspect.iscoroutinefunction(reward) or inspect.iscoroutinefunction(called)
    return reward if waits else _FunctionOnRay(reward, workers)


async def _scored(reward: Reward, rollout: Rollout, workers: RayWorkers) -> Score:
    """What a reward gives on a worker; raises as it does."""
    for pause in (*LOST_PAUSES, None):
        try:
            value, failure = await workers.cluster.run(score_on_worker, reward, rollout)
        except WorkerLost:
            if pause is None:
                raise
            await asyncio.sleep(pause)
        else:
            if failure is not None:
                raise _raised(failure)
            return value  # pyrefly: ignore[no-any-return-explicit]  # whatever a user's function gives is looked at later
    raise AssertionError("no reward is asked no times")


def _raised(failure: Failure) -> Exception:
    """The exception that it was, or one of its name, which is what is told of it."""
    return failure.ours or type(failure.kind, (Exception,), {})(failure.said)


class _FunctionOnRay(RewardElsewhere):
    def __init__(self, reward: Reward, workers: RayWorkers) -> None:
        self._reward, self._workers = reward, workers

    async def __call__(self, rollout: Rollout, /) -> Score:
        return await _scored(self._reward, rollout, self._workers)


class _BuiltInOnRay(BuiltInReward):
    def __init__(self, reward: BuiltInReward, workers: RayWorkers) -> None:
        self._reward, self._workers, self.name = reward, workers, reward.name

    async def __call__(self, rollout: Rollout, /) -> Score:
        return await _scored(self._reward, rollout, self._workers)

    def check(self, task: Task) -> None:
        self._reward.check(task)


def _modules_of(function: object) -> tuple[str, ...]:
    module = getattr(function, "__module__", None) or ""
    return (module,) if module else ()
