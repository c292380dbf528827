"""What an exploration saw, shown as examples of acting: the task that an action would have done, and the action.

A model that says better what follows need not act by it, as what it is shown there answers another question. What
examples of acting are worth is measured without any reward too, at actions that they were not made from: told in
hindsight as they are, how often does the model do what led there, with the examples and without? Sets of one example
of each action, a set of several, and the nearest ones to each request are measured beside each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, UpstreamError
from ..evaluation.difference import Difference, paired_difference
from ..experiences.distil import Distiller
from ..experiences.told_in_hindsight import as_tasks, balanced
from ..experiences.transitions import Transition
from ..experiences.variants import as_prior
from ..hashing import derive_seed
from ..observer import Observer
from ..records import JSON, CallKey, Demonstration, Observation, Prior, Rollout, Task, Variant
from ..rollouts.acting import EnvironmentExecutor, action_in, opening
from ..rollouts.group import concurrently
from ..text import counted

EXAMPLES = 12
"""Shown to a request at most."""
_NEAREST = 4
"""Shown to a request where those that are nearest to it are chosen."""
_TOLD, _EACH, _SETS = 48, 4, 2
"""Actions that are told in hindsight at most, each by so many tasks, and sets of one of each action made of them."""
_HELD = 48
"""Actions at which they are measured at most, each done so often with them and without."""
_DONE = 2
_MISTAKEN = 0.05
"""How often examples that change nothing may seem to, one way or the other."""


class Seen(NamedTuple):
    """A part of what was explored."""

    tasks: Sequence[Task]
    """All of the part: what was seen at several is a transition of one of them."""
    transitions: Sequence[Transition]


@dataclass(frozen=True, slots=True)
class Hindsight:
    """A way to show examples of acting, and what it is worth."""

    variant: Variant
    gain: Difference | None = None
    """Share of actions that are those that led there, with the examples less without, over the tasks they come from;
    None where none was told in hindsight to measure at."""
    kept: bool = False
    """Whether they help: an interval as much wider as there are more sets is above zero (Bonferroni)."""

    def as_json(self) -> dict[str, JSON]:
        """The figures."""
        gain = [self.gain.mean, self.gain.low, self.gain.high] if self.gain else None
        return {"shown": self.variant.source, "gain": gain, "kept": self.kept}

    def line(self) -> str:
        """The same for people."""
        if self.gain is None:
            return f"not kept: {self.variant.source}: nothing else to measure them at"
        verdict = "kept" if self.kept else "not kept"
        return f"{100 * self.gain.mean:+.1f} ({self.gain.around})  {verdict}: {self.variant.source}"


async def in_hindsight(
    executor: EnvironmentExecutor,
    distiller: Distiller,
    teach: Seen,
    measure: Seen,
    watching: Observer,
) -> tuple[Hindsight, ...]:
    """Ways to show examples from the transitions that teach, measured at others, the best first; none without examples.

    Raises UpstreamError."""
    told = await as_tasks(distiller, teach.tasks, balanced(teach.transitions, _TOLD), _EACH)
    ways = _ways([Demonstration(request(executor, task, one.before), one.action, task.id) for one, task in told])
    if not ways:
        return ()
    held = await as_tasks(distiller, measure.tasks, balanced(measure.transitions, _HELD))
    shown = [Prior(), *(as_prior(way) for way in ways)]
    watching.stage("hindsight", _DONE * len(shown) * len(held))
    done = await concurrently(_agreement(executor, one, task, shown, watching) for one, task in held)
    by_task: dict[str, list[list[float]]] = {}
    for (one, _), gains in zip(held, done, strict=True):
        if gains:
            by_task.setdefault(one.task.id, []).append(gains)
    if not by_task:
        return tuple(map(Hindsight, ways))
    means = np.array([np.mean(gains, axis=0) for gains in by_task.values()])
    found = [_worth(way, column, len(ways)) for way, column in zip(ways, means.T, strict=True)]
    return tuple(sorted(found, key=lambda one: -one.gain.mean if one.gain else 0.0))


def _ways(examples: Sequence[Demonstration]) -> list[Variant]:
    """Sets of one example of each action that share none, a set of several, the nearest of all; each once."""
    by_action: dict[str, list[Demonstration]] = {}
    for example in examples:
        by_action.setdefault(str(example.answer), []).append(example)
    ones = [*zip(*by_action.values(), strict=False)][:_SETS]
    several = tuple(example for one in zip_longest(*by_action.values()) for example in one if example)
    sets = [*dict.fromkeys(one[:EXAMPLES] for one in (*ones, several) if one)]
    ways = [
        Variant(None, one, 0, f"{counted(len(one), 'action')} told in hindsight, draw {draw}")
        for draw, one in enumerate(sets, 1)
    ]
    if len(examples) > max(map(len, sets), default=0):
        told = f"{_NEAREST} nearest of {counted(len(examples), 'example')} told in hindsight"
        ways.append(Variant(None, tuple(examples), _NEAREST, told))
    return ways


def _worth(way: Variant, gains: NDArray[np.float64], looks: int) -> Hindsight:
    wide = paired_difference(gains, 1 - _MISTAKEN / looks)
    return Hindsight(way, paired_difference(gains), kept=not wide.few and wide.low > 0)


def request(executor: EnvironmentExecutor, task: Task, before: str) -> str:
    """What a rollout of a task that begins in a state is asked first."""
    *_, last = opening(executor.plain, task, Observation(before))
    return str(last["content"])


async def _agreement(
    executor: EnvironmentExecutor, one: Transition, task: Task, shown: Sequence[Prior], watching: Observer
) -> list[float] | None:
    """How much more often what led there is done with each of the priors than with the first; None where one of them
    got no answer."""
    messages, of = opening(executor.plain, task, Observation(one.before)), executor.plain

    async def done(prior: Prior, step: int, sample: int) -> float | None:
        key = CallKey(of.run, "hindsight act", step, one.task.id, sample, derive_seed(one.before, one.action) % 2**31)
        made = Rollout(task, step, sample, prior.id)
        try:
            reply = await of.model(await executor.asked(messages, prior, key), key)
        except UpstreamError:
            raise
        except ModelError as error:
            watching.landed(replace(made, error=str(error)))
            return None
        hit = float(action_in(reply.text) == one.action)
        watching.landed(replace(made, text=reply.text, reward=hit, usage=reply.usage))
        return hit

    made = await concurrently(done(prior, step, sample) for step, prior in enumerate(shown) for sample in range(_DONE))
    hits = [[hit for hit in made[at : at + _DONE] if hit is not None] for at in range(0, len(made), _DONE)]
    if not all(hits):
        return None
    without, *with_them = (float(np.mean(hit)) for hit in hits)
    return [mean - without for mean in with_them]
