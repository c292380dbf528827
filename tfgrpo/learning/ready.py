"""Rollouts that production has made already: the further rollouts of calls that became tasks (`--shadow-groups`).

Where an arm has the prior that they were made under, and the frame is production's, they are samples of what would be
asked for: the first rollouts that such an arm is dealt at a task are taken from them, and cost nothing. What the caller
itself was answered is none of them, since it may be what decided which answer is right.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias

from ..errors import ModelError
from ..hashing import content_id
from ..model.replies import parse_reply
from ..model.upstream import Journal, Upstream
from ..records import Backend, CallKey, Frame, Prior, Reply, Rollout, Task, Usage
from ..rollouts.executor import SAMPLERS_OFF, Executor, Executors, manner_for, request_body
from ..surfaces.chat import with_prior

_STAGE = "ready"


@dataclass(frozen=True, slots=True)
class ReadyRollout:
    """One of them, as it was recorded."""

    prior: str
    """Id of the prior that it was made under; empty: none."""
    response: str
    """The chat completion, as JSON."""


Ready: TypeAlias = Mapping[str, Sequence[ReadyRollout]]
"""By id of the task, oldest first."""


async def ready_at_start(ready: Ready, run: str, journal: Journal) -> Ready:
    """Those that there were when the run began, whatever was recorded or forgotten since; its first start writes them
    down."""
    key, request = CallKey(run, _STAGE), content_id(_STAGE)
    known = await journal.reply(key, request)
    if known is None:
        known = json.dumps({task: [[one.prior, one.response] for one in each] for task, each in ready.items()})
        await journal.record(key, request, known, Usage())
    return {task: [ReadyRollout(*one) for one in each] for task, each in json.loads(known).items()}


def ready_executors(
    make: Executors, upstream: Upstream, backend: Backend, ready: Ready, frame: Frame, *, note: Callable[[str], object]
) -> Executors:
    """Executors that take from what is ready; not, which is noted, where a server sampled it with hidden defaults."""
    off = SAMPLERS_OFF.get(backend.kind, {})
    if not ready or all(frame.request.get(name) == value for name, value in off.items()):
        return ReadyExecutors(make, upstream, ready, frame)
    stated = ", ".join(f"{name} {value}" for name, value in off.items())
    note(f"rollouts made already are not taken: {backend.kind} had defaults of its own where no call states {stated}")
    return make


class ReadyExecutors:
    """Executors whose rollouts of a step are taken from those that are ready, as long as there are such; the others are
    made."""

    def __init__(self, make: Executors, upstream: Upstream, ready: Ready, frame: Frame) -> None:
        """`frame` is the one that they were made under."""
        self._make, self._upstream, self._frame = make, upstream, replace(frame, labels=())
        self._left: dict[tuple[str, str], deque[ReadyRollout]] = {}
        for task, each in ready.items():
            for one in each:
                self._left.setdefault((task, one.prior), deque()).append(one)

    def __call__(
        self, frame: Frame, backend: Backend, /, *, run: str, stage: str, seed: int, top_logprobs: int = 0
    ) -> Executor:
        """As those that it is made of; only what a step teaches from may be taken."""
        make = self._make(frame, backend, run=run, stage=stage, seed=seed, top_logprobs=top_logprobs)
        if stage != "rollout" or replace(frame, labels=()) != self._frame:
            return make

        async def taken(task: Task, prior: Prior, step: int, sample: int) -> Rollout:
            if not (left := self._left.get((task.id, prior.id if prior.has_text or prior.biases else ""))):
                return await make(task, prior, step, sample)
            asked = request_body(frame, backend, task, seed)
            key = CallKey(run, stage, step, task.id, sample)
            manner = await manner_for(self._upstream, backend, prior, asked["messages"], key)
            body = with_prior(asked, prior, manner)
            served = with_prior(asked, prior, manner._replace(exclude=""))  # production shows a task its own example
            reply = self._next(left) if served["messages"] == body["messages"] else None
            if reply is None:
                return await make(task, prior, step, sample)
            return Rollout(
                task,
                step,
                sample,
                prior.id,
                tuple(experience.id for experience in prior.experiences),
                (*body["messages"], reply.message),
                reply.text,
                finish_reason=reply.finish_reason,
                usage=replace(reply.usage, calls=0),
                trace=reply.trace,
            )

        return taken

    def _next(self, left: deque[ReadyRollout]) -> Reply | None:
        """The next of them that can be read."""
        tokenizer = self._upstream.tokenizer
        while left:
            with suppress(ModelError):
                return parse_reply(left.popleft().response, tokenizer.id_of if tokenizer else None)
        return None
