"""Executors: the one seam through which rollouts are made. Here it is a chat call; `agents` has the other."""

import re
from dataclasses import replace
from typing import Protocol

from ..errors import ModelError, UpstreamError
from ..hashing import derive_seed
from ..model.upstream import Model
from ..records import Backend, CallKey, Frame, Prior, Rollout, Task
from ..surfaces.chat import with_prior
from ..surfaces.surface import manner_of
from .request import request_body, telling

_STATUS = re.compile(r"^\S+ answered (\d{3})\b")
"""How an upstream's refusal is told (`model.failures`)."""
_BUSY = (408, 409, 425, 429)
"""Statuses below 500 that say nothing against the request."""
_LOST = re.compile(
    r"^(?:cannot reach "
    r"|the reward failed: (?:RewardError(?!: it took more than)|ModelError|UpstreamError|BudgetEnded"
    r"|TimeoutError|Connect\w*|Read\w*|RateLimitError|API\w*Error|InternalServerError|\w*Timeout|\w*ConnectionError)\b)"
)
"""How it is told that no connection was to be had, that a reward which asks elsewhere got no answer, or that one gave
what is no reward, which is its own fault. One that takes too long does so for the sake of the text."""


def is_own_failure(rollout: Rollout) -> bool:
    """Whether a rollout failed for its own request's sake, and not for the upstream's.

    Its own: refused (400, 413, 422, ...), crashed, out of time, without an answer, or a reward that raises on its text.
    The upstream's: 429, 5xx, no connection, also behind an agent or a reward. This is the one place that decides it.
    """
    if rollout.error is None:
        return False
    status = _STATUS.match(rollout.error)
    if status:
        return int(status[1]) < 500 and int(status[1]) not in _BUSY
    return _LOST.match(rollout.error) is None


def with_failure(rollout: Rollout) -> Rollout:
    """The rollout with a reward of 0 where it failed by itself: nothing compared is better for having no answer.

    What failed for the upstream's sake stays without a reward: it is missing, whatever it was compared with.
    """
    return replace(rollout, reward=0.0) if rollout.reward is None and is_own_failure(rollout) else rollout


class Executor(Protocol):
    """Makes one rollout: by a chat call here, by an agent or a fleet of them elsewhere."""

    async def __call__(self, task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        """One rollout of a task under a prior, maybe with an error; raises UpstreamError when none can succeed."""
        ...


class Executors(Protocol):
    """Makes the Executors of a run, one for each stage."""

    def __call__(
        self, frame: Frame, backend: Backend, /, *, run: str, stage: str, seed: int, top_logprobs: int = 0
    ) -> Executor:
        """As ChatExecutor is made."""
        ...


class ChatExecutor:
    """An Executor of one chat call a rollout.

    `top_logprobs` asks for that many alternatives a token (0: none). Seeds and keys are hashes of (seed, step, task,
    sample), whatever the order in which rollouts are made.
    """

    def __init__(
        self, model: Model, frame: Frame, backend: Backend, *, run: str, stage: str, seed: int, top_logprobs: int = 0
    ) -> None:
        self.model, self.frame, self.backend = model, frame, backend
        self.run, self.stage, self.seed, self.top_logprobs = run, stage, seed, top_logprobs

    async def __call__(self, task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        """One rollout; its trajectory is the request's messages and the answer."""
        seed = derive_seed(self.seed, self.stage, step, task.id, sample)
        plain = request_body(self.frame, self.backend, task, seed)
        if self.top_logprobs and self.backend.logprobs:
            plain = {**plain, **telling(self.backend, self.top_logprobs)}
        body = with_prior(plain, prior, manner_of(self.backend, task.id))
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
