"""Training tasks that a candidate seems to have lost, tried again under both priors before it goes live. Pure.

Where few tasks lose much and the others gain a little, the validation tasks may hold none of those that lose, and then
look like a gain everywhere. Learning has seen more tasks, each under what was live and under what came of it. Its
rollouts are few, at its own temperature, and from before the last biases, so they decide nothing: they name what looks
lost. That is tried again as the gate tries its own tasks, and the claim has to hold for all tasks together.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

import numpy as np

from ..evaluation.difference import student_quantile
from ..records import JSON, Group, Rollout, Task
from ..text import counted, shortened
from .bets import skewed_t, weighed
from .e_process import Gate, GateState
from .labels import WAIVED, Objection
from .verdict import gains_by_task, is_one_look

TRIES, MOST_TRIED = 4, 8
"""Rollouts under each prior of a task that looks lost, and such tasks, at most."""
_LOOKS_LOST, _LOST = 0.5, 0.75
"""How much less a task has to earn, in learning's rollouts and when it is tried again."""
_NAMED = 3
"""Lost tasks that a verdict names."""


def look_lost(groups: Iterable[Group], candidate: str, live: Set[str]) -> tuple[Task, ...]:
    """Tasks of which the last rollouts marked as the candidate's are worse than those of the live in the first step."""
    before, now = dict[str, float](), dict[str, tuple[Task, float]]()
    for group in groups:
        first = [one for one in group.rollouts if group.step == 0 and one.variant in live]
        if (mean := _mean(first)) is not None:
            before[group.task.id] = mean
        if (mean := _mean([one for one in group.rollouts if one.variant == candidate])) is not None:
            now[group.task.id] = group.task, mean
    losses = [(before[name] - mean, task) for name, (task, mean) in now.items() if name in before]
    worst = sorted((one for one in losses if one[0] >= _LOOKS_LOST), key=lambda one: -one[0])
    return tuple(task for _, task in worst[:MOST_TRIED])


@dataclass(frozen=True, slots=True)
class Tried:
    """A training task that looked lost, tried again: mean rewards of both priors."""

    task: Task
    candidate: float
    live: float

    @classmethod
    def of(cls, task: Task, candidate: Sequence[Rollout], live: Sequence[Rollout]) -> "Tried | None":
        """None where an arm has no reward at all."""
        mean, other = _mean(candidate), _mean(live)
        return None if mean is None or other is None else cls(task, mean, other)


@dataclass(frozen=True, slots=True)
class Together:
    """The claim over training and validation tasks together."""

    estimate: float
    """Mean effect over all of them, in reward units."""
    shown: bool
    """Whether it is above zero, as surely as over the validation tasks alone."""
    tasks: int
    """Training tasks."""
    tried: tuple[Tried, ...]

    @property
    def objection(self) -> Objection | None:
        """That tasks are lost indeed, for which the claim does not hold; None where it does, or none is."""
        lost = self._lost
        if self.shown or not lost:
            return None
        named = [f"{shortened(one.task.prompt, 40)!r} {one.candidate:.0%} for {one.live:.0%}" for one in lost[:_NAMED]]
        told = ", ".join(named) + (", ..." if len(lost) > _NAMED else "")
        of = f"{len(lost)} of {counted(self.tasks, 'training task')} that the live prior gets right are lost ({told})"
        estimate = f"estimate {100 * self.estimate:+.1f} points"
        return Objection(f"{of}, and with them no effect over tasks like these is shown ({estimate}; {WAIVED})", False)

    @property
    def _lost(self) -> list[Tried]:
        return [one for one in self.tried if one.live - one.candidate >= _LOST]

    def __str__(self) -> str:
        """One line for people."""
        of = counted(self.tasks, "training task")
        return f"{len(self.tried)} of {of} looked lost in learning; tried again, {len(self._lost)} of them were"

    def as_json(self) -> dict[str, JSON]:
        """For the store and for programs."""
        tried: list[JSON] = [{"task": one.task.id, "candidate": one.candidate, "live": one.live} for one in self.tried]
        found = {"tasks": self.tasks, "lost": len(self._lost), "estimate": self.estimate, "shown": self.shown}
        return {**found, "tried": tried}


def claim_together(gate: Gate, state: GateState, tried: Sequence[Tried], tasks: int) -> Together:
    """The claim over n validation tasks and so many training tasks N, of which k were tried again.

    Each of those k stands for itself. The other N - k are taken to be like the validation tasks, which stand for them:
    each of these weighs (n + N - k) / n.
    """
    own, fresh = gains_by_task(state), [one.candidate - one.live for one in tried]
    weights = np.array([(len(own) + tasks - len(fresh)) / len(own)] * len(own) + [1.0] * len(fresh))
    gains = np.append(own, fresh)
    mean, error, _ = weighed(gains, weights)
    needed = student_quantile(0.5 + gate.confidence / 2, len(own) - 1)
    single = is_one_look(gate, state) and gate.statistic != "exact"
    shown = mean > needed * error and (single or skewed_t(gains, weights) > needed)
    return Together(mean, shown, tasks, tuple(tried))


def _mean(rollouts: Sequence[Rollout]) -> float | None:
    """The mean reward of those that have one; None where none has."""
    rewards = [one.reward for one in rollouts if one.reward is not None]
    return sum(rewards) / len(rewards) if rewards else None
