"""Executors: the one seam through which rollouts are made. Here it is a chat call; `agents` has the other."""

import re
from dataclasses import replace
from typing import Protocol

from ..errors import ModelError, UpstreamError
from ..hashing import derive_seed
from ..model.upstream import Model
from ..records import Backend, CallKey, Frame, Prior, Rollout, Task
from ..surfaces.chat import with_prior
from .request import request_body

_REFUSED = re.compile(r" answered (?:400|413|422)\b")
"""How an upstream's refusal of the request itself is told (`model.failures`)."""


def is_refused(rollout: Rollout) -> bool:
    """Whether a rollout failed for its own request's sake: too long, or with something that the upstream refuses."""
    return rollout.error is not None and _REFUSED.search(rollout.error) is not None


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
            plain = {**plain, "logprobs": True, "top_logprobs": self.top_logprobs}
        body = with_prior(plain, prior, biased=self.backend.logit_bias == "honoured", exclude=task.id)
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
