"""What is run on the cluster: the mailbox, one rollout of an agent, one reward."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ...errors import AgentError, TfgrpoError
from ...model.connection import Relayed
from ...records import Rollout, Task
from ..agents import Agent, ModelAddress
from ..agents.agent import as_answer, out_of_time
from ..agents.endpoint import asked_of, listening, response_of
from ..rewards.reward import REWARD_SECONDS, Reward, told

if TYPE_CHECKING:
    from aiohttp import web

T = TypeVar("T")

_POLL_SECONDS = 10.0
"""For one look into an empty mailbox."""
_WAKE_SECONDS = 0.2
"""How often a worker looks whether it was cancelled: Ray's way to say so wakes up no event loop."""


class Posted(NamedTuple):
    """A request of an agent's, on its way to the learner."""

    number: int
    path: str
    """Of its rollout."""
    asked: Relayed


class Mailbox:
    """An actor between workers and learner: requests wait here to be fetched, and their senders for the answers."""

    def __init__(self) -> None:
        self._numbers = count()
        self._posted: asyncio.Queue[Posted] = asyncio.Queue()
        self._asked: dict[int, asyncio.Future[Relayed]] = {}

    async def ask(self, path: str, asked: Relayed) -> Relayed:
        """A worker's: the learner's answer."""
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        self._posted.put_nowait(Posted(number, path, asked))
        try:
            return await self._asked[number]
        finally:
            del self._asked[number]

    async def fetch(self) -> list[Posted]:
        """The learner's: what was posted, as soon as there is something, or nothing after a while."""
        try:
            found = [await asyncio.wait_for(self._posted.get(), _POLL_SECONDS)]
        except TimeoutError:
            return []
        while not self._posted.empty():
            found.append(self._posted.get_nowait())
        return found

    async def answer(self, number: int, answered: Relayed) -> None:
        """The learner's: what a request is answered with."""
        waiting = self._asked.get(number)
        if waiting and not waiting.done():
            waiting.set_result(answered)


class Failure(NamedTuple):
    """An exception, fit to travel."""

    kind: str
    said: str
    ours: TfgrpoError | None = None
    """The exception itself, where it is one of ours."""


class Ordered(NamedTuple):
    """One rollout that a worker is to make."""

    task: Task
    path: str
    """By which the learner knows it."""
    model: str
    seconds: float
    """For all of it."""


def roll(agent: Agent, ordered: Ordered, mailbox: Any) -> tuple[str, str | None]:
    """One rollout by an agent: its answer, or what went wrong. `mailbox` is the handle of the actor."""
    return asyncio.run(_awake(_rolled(agent, ordered, mailbox)))


async def _rolled(agent: Agent, ordered: Ordered, mailbox: Any) -> tuple[str, str | None]:
    lost: list[Exception] = []
    try:
        async with _relay(ordered.path, mailbox, lost) as base_url, asyncio.timeout(ordered.seconds):
            return as_answer(await agent(ordered.task, ModelAddress(base_url, ordered.model))), None
    except TimeoutError:
        return "", str(out_of_time(ordered.seconds))
    except AgentError as error:
        if lost:  # it failed for want of an answer: the rollout is lost, and the agent not to blame
            raise lost[0] from error
        return "", str(error)


@asynccontextmanager
async def _relay(path: str, mailbox: Any, lost: list[Exception]) -> AsyncIterator[str]:
    """A base URL on this node, whose requests the learner answers; a mailbox that is gone is told to `lost`."""

    async def passed_on(request: "web.Request") -> "web.StreamResponse":
        asked = await asked_of(request)
        try:
            answered: Relayed = await mailbox.ask.remote(path, asked)
        except Exception as error:
            lost.append(error)
            raise
        return response_of(answered)

    async with listening(f"/{path}/v1/{{route:.*}}", passed_on) as address:
        yield f"{address}/{path}/v1"


def score_on_worker(reward: Reward, rollout: Rollout) -> tuple[Any, Failure | None]:
    """What a reward gives for a rollout, or how it failed."""
    try:
        return asyncio.run(_awake(_scored(reward, rollout))), None
    except TimeoutError:
        return None, Failure("RewardError", f"it took more than {REWARD_SECONDS:g} s on one rollout")
    except TfgrpoError as error:
        return None, Failure(type(error).__name__, str(error), error)
    except Exception as error:  # the user's code may raise anything
        return None, Failure(type(error).__name__, told(error))


async def _scored(reward: Reward, rollout: Rollout) -> object:
    async with asyncio.timeout(REWARD_SECONDS):
        value = await asyncio.to_thread(reward, rollout)
        return await value if inspect.isawaitable(value) else value


async def _awake(work: Coroutine[Any, Any, T]) -> T:
    """What comes of it; the event loop looks up now and then."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait((task,), timeout=_WAKE_SECONDS)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return task.result()
