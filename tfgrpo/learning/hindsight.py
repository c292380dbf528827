"""What an exploration saw, shown as examples of acting: the task that an action would have done, and the action.

A model that says better what follows need not act by it, as what it is shown there answers another question. What
examples of acting are worth is measured without any reward too, at actions that they were not made from: told in
hindsight as they are, how often does the model do what led there, with the examples and without?
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ModelError, UpstreamError
from ..evaluation.difference import Difference, paired_difference
from ..experiences.distil import Distiller
from ..experiences.told_in_hindsight import as_tasks, balanced
from ..experiences.transitions import Transition
from ..hashing import derive_seed
from ..observer import Observer
from ..records import JSON, CallKey, Demonstration, Observation, Prior, Rollout, Task, Variant
from ..rollouts.acting import EnvironmentExecutor, action_in, opening
from ..rollouts.group import concurrently
from ..text import counted

EXAMPLES = 12
"""Shown to a request at most."""
_HELD = 24
"""Actions at which they are measured at most, each done so often with them and without."""
_DONE = 3


@dataclass(frozen=True, slots=True)
class Hindsight:
    """Examples of acting, and what they are worth."""

    examples: tuple[Demonstration, ...]
    gain: Difference | None
    """Share of actions that are those that led there, with the examples less without, over the tasks they come from;
    None where none was told in hindsight to measure at."""

    @property
    def kept(self) -> bool:
        """Whether they help: the interval is above zero."""
        return self.gain is not None and not self.gain.few and self.gain.low > 0

    @property
    def variant(self) -> Variant:
        """The way to prompt that shows them."""
        return Variant(None, self.examples, 0, f"{counted(len(self.examples), 'action')} seen, told in hindsight")

    def as_json(self) -> dict[str, JSON]:
        """The figures."""
        gain = [self.gain.mean, self.gain.low, self.gain.high] if self.gain else None
        return {"examples": len(self.examples), "gain": gain, "kept": self.kept}

    def line(self) -> str:
        """The same for people."""
        told = f"{counted(len(self.examples), 'action')} told in hindsight, as examples of acting"
        if self.gain is None:
            return f"not kept: {told}: nothing else to measure them at"
        verdict = "kept" if self.kept else "not kept"
        return f"{100 * self.gain.mean:+.1f} ({self.gain.around})  {verdict}: {told}"


async def in_hindsight(
    executor: EnvironmentExecutor,
    distiller: Distiller,
    teach: Sequence[Transition],
    measure: Sequence[Transition],
    watching: Observer,
) -> Hindsight | None:
    """Examples from the transitions that teach, measured at others; None where there are none. Raises UpstreamError."""
    tasks = [*{one.task.id: one.task for one in teach}.values()]
    examples = [
        Demonstration(request(executor, task, one.before), one.action, one.task.id)
        for one, task in await as_tasks(distiller, tasks, balanced(teach, EXAMPLES))
    ]
    if not examples:
        return None
    shown = Prior(demonstrations=tuple(examples))
    held = await as_tasks(distiller, tasks, balanced(measure, _HELD))
    watching.stage("hindsight", 2 * _DONE * len(held))
    done = await concurrently(_agreement(executor, one, task, shown, watching) for one, task in held)
    by_task: dict[str, list[float]] = {}
    for (one, _), gain in zip(held, done, strict=True):
        if gain is not None:
            by_task.setdefault(one.task.id, []).append(gain)
    means = np.array([float(np.mean(gains)) for gains in by_task.values()])
    return Hindsight(tuple(examples), paired_difference(means) if len(means) else None)


def request(executor: EnvironmentExecutor, task: Task, before: str) -> str:
    """What a rollout of a task that begins in a state is asked first."""
    *_, last = opening(executor.plain, task, Observation(before))
    return str(last["content"])


async def _agreement(
    executor: EnvironmentExecutor, one: Transition, task: Task, shown: Prior, watching: Observer
) -> float | None:
    """How much more often what led there is done with examples than without; None where no call was answered."""
    messages, of = opening(executor.plain, task, Observation(one.before)), executor.plain

    async def done(prior: Prior, step: int, sample: int) -> float | None:
        key = CallKey(of.run, "hindsight act", step, one.task.id, sample, derive_seed(one.before, one.action) % 2**31)
        try:
            reply = await of.model(await executor.asked(messages, prior, key), key)
        except UpstreamError:
            raise
        except ModelError:
            return None
        hit = float(action_in(reply.text) == one.action)
        watching.landed(Rollout(task, step, sample, prior.id, text=reply.text, reward=hit, usage=reply.usage))
        return hit

    made = await concurrently(
        done(prior, step, sample) for step, prior in enumerate((Prior(), shown)) for sample in range(_DONE)
    )
    without, with_them = ([hit for hit in part if hit is not None] for part in (made[:_DONE], made[_DONE:]))
    return float(np.mean(with_them) - np.mean(without)) if with_them and without else None
