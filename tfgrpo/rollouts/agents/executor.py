"""The Executor whose rollouts an agent makes."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, replace

from ...errors import AgentError, StoreError
from ...hashing import content_id
from ...model.upstream import Journal, Upstream
from ...records import JSON, Backend, CallKey, Frame, Message, Prior, Reply, Rollout, Task, Usage
from ...settings import Settings
from ...surfaces.routes import SURFACES
from ...surfaces.surface import SurfaceName, manner_of
from ..executor import Executor, Executors
from .agent import LOST_PAUSES, Agent, ModelAddress, WorkerLost, as_answer, out_of_time
from .endpoint import RecordingEndpoint, recording
from .session import Session, Terms, recorded_route
from .trajectory import joined, trajectory

_GRACE = 5.0
"""Seconds that a cancelled agent has to clean up."""


@dataclass(frozen=True, slots=True)
class AgentResult:
    """How an agent ended a rollout: with an answer, or with an error."""

    text: str
    error: str | None
    messages: tuple[Message, ...]
    calls: tuple[tuple[int, str, SurfaceName], ...]
    """The ends of the names of its calls in the journal, last part of the key and hash of the request; the surface."""

    @classmethod
    def read(cls, text: str) -> "AgentResult":
        """As it was written, in JSON."""
        fields = json.loads(text)
        calls: tuple[tuple[int, str, SurfaceName], ...]
        calls = tuple(
            (retry, request, surface[0] if surface else "chat") for retry, request, *surface in fields["calls"]
        )
        return cls(fields["text"], fields["error"], tuple(fields["messages"]), calls)


class AgentElsewhere(ABC):
    """An Agent that runs on other machines: it brings the endpoint that it calls, and keeps the time itself."""

    name: str

    @abstractmethod
    async def __call__(self, task: Task, place: ModelAddress) -> JSON:
        """As an Agent's, while its endpoint is open; raises WorkerLost besides."""

    @abstractmethod
    def endpoint(self, seconds: float) -> AbstractAsyncContextManager[RecordingEndpoint]:
        """The endpoint, open; a rollout may take so many seconds once it has begun."""


class AgentExecutor:
    """An Executor whose rollouts an agent makes.

    Whatever an agent does wrong is a rollout with an error. One that gave an answer is journalled as a whole, so that a
    resumed run never makes it again, not even with an agent that does not repeat itself.
    """

    def __init__(
        self,
        agent: Agent,
        endpoint: RecordingEndpoint,
        terms: Terms,
        *,
        run: str,
        stage: str,
        seconds: float | None,
        slots: asyncio.Semaphore,
        journal: Journal | None = None,
    ) -> None:
        """A rollout may take so many `seconds` once it has one of the `slots`; None: the agent sees to it."""
        self._agent, self._endpoint, self._terms = agent, endpoint, terms
        self._run, self._stage, self._seconds, self._slots = run, stage, seconds, slots
        self._journal = journal

    async def __call__(self, task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        """One rollout; its trajectory is every message of its calls."""
        key = CallKey(self._run, self._stage, step, task.id, sample)
        included = tuple(experience.id for experience in prior.experiences)
        blank = Rollout(task, step, sample, prior.id, included)
        under = content_id("attempt", self._agent.name, prior.id)
        ending = replace(key, stage=f"{self._stage} outcome")
        known = await self._journal.reply(ending, under) if self._journal else None
        if known is not None:
            return await self._replayed(blank, key, AgentResult.read(known))
        async with self._slots:
            session, text, error = await self._made(key, prior, task)
        calls = session.calls
        messages = trajectory(calls, prior, None if error else text, manner_of(self._terms.backend, task.id))
        made = tuple((call.retry, call.request, call.surface.name) for call in calls)
        outcome = AgentResult(text, error, messages, made)
        if self._journal and not error:
            await self._journal.record(ending, under, json.dumps(asdict(outcome)), Usage())
        return _rollout(blank, outcome, [call.reply for call in calls])

    async def _made(self, key: CallKey, prior: Prior, task: Task) -> tuple[Session, str, str | None]:
        """The calls of a rollout and what `_answered` gives; made again, with the same keys, where its worker is lost.

        So what it had asked its model before is found in the journal.
        """
        for pause in (*LOST_PAUSES, None):
            session = Session(self._terms, prior, key)
            try:
                return session, *await self._answered(session, task)
            except WorkerLost as lost:
                if pause is None:
                    return session, "", f"{lost}, {len(LOST_PAUSES) + 1} times"
                await asyncio.sleep(pause)
        raise AssertionError("no rollout is made no times")

    async def _answered(self, session: Session, task: Task) -> tuple[str, str | None]:
        """The agent's answer, or what went wrong; raises what the session was stopped by."""
        with self._endpoint.opened(session) as url:
            work = asyncio.ensure_future(self._agent(task, ModelAddress(url, session.model)))
            try:
                await asyncio.wait((work, session.stopped), timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
                if session.stopped.done():
                    session.stopped.result()
                if not work.done():
                    raise out_of_time(self._seconds or 0)
                return _answer(work.result(), session), None
            except WorkerLost:
                raise
            except AgentError as error:
                return "", f"{session.failed}; {error}" if session.failed else str(error)
            finally:
                session.close()
                await _cancelled(work)

    async def _replayed(self, blank: Rollout, key: CallKey, outcome: AgentResult) -> Rollout:
        """A finished rollout from the journal, without the agent."""
        calls = []
        for retry, request, name in outcome.calls:
            surface = next(surface for surface in SURFACES if surface.name == name)
            found = await self._terms.upstream.replay(replace(key, retry=retry), request, recorded_route(surface))
            if found is None:
                raise StoreError(f"run {key.run} lacks a call of a rollout that it has; start it anew with --fresh")
            calls.append(found[1])
        return _rollout(blank, outcome, calls)


async def _cancelled(work: asyncio.Future[JSON]) -> None:
    """Cancel, wait for the agent to clean up, and ask for what it ended with, which nobody else will."""
    work.cancel()
    await asyncio.wait((work,), timeout=_GRACE)
    if work.done() and not work.cancelled():
        work.exception()


def _answer(given: JSON, session: Session) -> str:
    """The answer as a text; raises AgentError for what is none, and for one that no call of ours is behind."""
    if not session.calls:
        raise AgentError(
            "the agent made no model call at its base URL (OPENAI_BASE_URL, or the client that it is given)"
        )
    return as_answer(given)


def _rollout(blank: Rollout, outcome: AgentResult, replies: Sequence[Reply]) -> Rollout:
    return replace(
        blank,
        messages=outcome.messages,
        text=outcome.text,
        error=outcome.error,
        finish_reason=replies[-1].finish_reason if replies else "",
        usage=sum((reply.usage for reply in replies), Usage()),
        trace=joined([reply.trace for reply in replies]),
    )


@asynccontextmanager
async def agent_executors(
    agent: Agent, upstream: Upstream, settings: Settings, journal: Journal
) -> AsyncIterator[Executors]:
    """Executors of an agent's rollouts, of which `settings.concurrency` run at once."""
    slots = asyncio.Semaphore(settings.concurrency)
    given = settings.agent_timeout
    elsewhere = agent.endpoint(given) if isinstance(agent, AgentElsewhere) else None
    async with elsewhere or recording() as endpoint:

        def make(
            frame: Frame, backend: Backend, /, *, run: str, stage: str, seed: int, top_logprobs: int = 0
        ) -> Executor:
            terms = Terms(upstream, frame, backend, seed, top_logprobs)
            seconds = None if elsewhere else given
            return AgentExecutor(
                agent, endpoint, terms, run=run, stage=stage, seconds=seconds, slots=slots, journal=journal
            )

        yield make
