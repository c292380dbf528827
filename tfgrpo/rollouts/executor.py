"""Rollouts: tasks in, attempts out. A call that fails is an attempt with an error."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from ..errors import BudgetEnded, ModelError, UpstreamError
from ..hashing import derive_seed
from ..model.upstream import Model
from ..records import JSON, Backend, CallKey, ChatBody, Experience, Frame, Group, Prior, Rollout, Task
from ..surfaces.chat import with_prior

_LLAMA_CPP_OFF: Mapping[str, JSON] = {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}
_VLLM_OFF: Mapping[str, JSON] = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
SAMPLERS_OFF = {"llama.cpp": _LLAMA_CPP_OFF, "vllm": _VLLM_OFF}
"""Servers' hidden sampling defaults, switched off: else the policy sampled is not the one that is measured."""

T = TypeVar("T")


async def concurrently(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in the order given; the first error cancels the rest and is raised as it is.

    A budget that ends cancels nothing: calls in flight are paid for, so they land first, and are committed.
    """
    made: list[Coroutine[Any, Any, T]] = []
    tasks: list[asyncio.Task[T | BudgetEnded]] = []
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                made.append(one)
                tasks.append(group.create_task(_unless_ended(one)))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        for one in made:
            one.close()  # one that was cancelled before it began would be complained of
    results = [task.result() for task in tasks]
    for result in results:
        if isinstance(result, BudgetEnded):
            raise result
    return [result for result in results if not isinstance(result, BudgetEnded)]


async def _unless_ended(one: Coroutine[Any, Any, T]) -> T | BudgetEnded:
    try:
        return await one
    except BudgetEnded as ended:
        return ended


class Executor(Protocol):
    """The one seam through which attempts are made: a chat call here, an agent or a fleet of them elsewhere."""

    async def __call__(self, task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        """One attempt at a task under a prior; raises UpstreamError when no attempt can succeed."""
        ...


def sampling(frame: Frame, backend: Backend, seed: int) -> dict[str, JSON]:
    """Every sampling setting, stated."""
    off = SAMPLERS_OFF.get(backend.kind, {})
    return {"temperature": frame.temperature, "top_p": frame.top_p, "seed": seed, **off}


def request_body(frame: Frame, backend: Backend, task: Task, seed: int) -> ChatBody:
    """The request for one attempt, before the prior."""
    system = [{"role": "system", "content": frame.system}] if frame.system else []
    messages = [*system, *task.messages]
    return {"model": frame.model, "messages": messages, **frame.request, **sampling(frame, backend, seed)}


class ChatExecutor:
    """An Executor of one chat call an attempt.

    `top_logprobs` asks for that many alternatives a token (0: none). Seeds and keys are hashes of (seed, step, task,
    sample), whatever the order in which attempts are made.
    """

    def __init__(
        self, model: Model, frame: Frame, backend: Backend, *, run: str, stage: str, seed: int, top_logprobs: int = 0
    ) -> None:
        self.model, self.frame, self.backend = model, frame, backend
        self.run, self.stage, self.seed, self.top_logprobs = run, stage, seed, top_logprobs

    async def __call__(self, task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        """One attempt; its trajectory is the request's messages and the answer."""
        seed = derive_seed(self.seed, self.stage, step, task.id, sample)
        plain = request_body(self.frame, self.backend, task, seed)
        if self.top_logprobs and self.backend.logprobs:
            plain = {**plain, "logprobs": True, "top_logprobs": self.top_logprobs}
        body = with_prior(plain, prior, biased=self.backend.logit_bias == "honoured")
        included = tuple(experience.id for experience in prior.experiences)
        blank = Rollout(task, step, sample, prior.id, included, tuple(body["messages"]))
        try:
            reply = await self.model(body, CallKey(self.run, self.stage, step, task.id, sample))
        except UpstreamError:
            raise
        except ModelError as error:
            return replace(blank, error=str(error))
        return replace(
            blank,
            messages=(*blank.messages, reply.message),
            text=reply.text,
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            trace=reply.trace,
        )


async def rollout_once(
    model: Model, frame: Frame, task: Task, prior: Prior, *, backend: Backend, seed: int = 0
) -> Rollout:
    """One call outside of any run; raises ModelError when it fails."""
    rollout = await ChatExecutor(model, frame, backend, run="", stage="chat", seed=seed)(task, prior, 0, 0)
    if rollout.error:
        raise ModelError(rollout.error)
    return rollout


async def roll_group(
    executor: Executor,
    task: Task,
    prior: Prior,
    *,
    step: int,
    size: int,
    shown: Callable[[int], tuple[Experience, ...]],
) -> Group:
    """All attempts of one task in one step, in order of sample; `shown` picks the prior's experiences for a sample.

    The size is fixed before the first attempt: stopping on outcomes would bias the group's mean.
    """

    async def attempt(sample: int) -> Rollout:
        partial = replace(prior, experiences=shown(sample))
        return replace(await executor(task, partial, step, sample), prior=prior.id)

    return Group(task, step, tuple(await concurrently(attempt(sample) for sample in range(size))))
