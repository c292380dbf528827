"""What tasks of an environment earn with all that an exploration keeps, and without: told, and deciding nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..evaluation.difference import Difference, paired_difference
from ..records import JSON, Prior, Rollout, Task
from ..rollouts.acting import EnvironmentExecutor
from ..rollouts.group import concurrently

ACTED = 3
"""Rollouts of a task, with all that is kept and without, that say what it earns."""


@dataclass(frozen=True, slots=True)
class Acting:
    """What tasks that taught and measured nothing earn, with all that is kept and without."""

    without: float
    """Mean reward."""
    gain: Difference

    def as_json(self) -> JSON:
        """The figures."""
        return {
            "frozen": self.without,
            "kept": self.without + self.gain.mean,
            "gain": [self.gain.mean, self.gain.low, self.gain.high],
        }

    def lines(self) -> Iterator[str]:
        """The same for people."""
        both = f"{self.without:.1%} without what is kept, {self.without + self.gain.mean:.1%} with it"
        yield f"reward of tasks that taught nothing: {both}: {100 * self.gain.mean:+.1f} points ({self.gain.around})"


async def reward_gained(executor: EnvironmentExecutor, tasks: Sequence[Task], prior: Prior) -> Acting | None:
    """What these tasks earn by rollouts with a prior, and by such without any; None where all of them failed."""
    made = await concurrently(
        executor(task, shown, step, sample)
        for task in tasks
        for sample in range(ACTED)
        for step, shown in enumerate((Prior(), prior))
    )
    means = np.array(
        [[_mean(made[2 * ACTED * at + step : 2 * ACTED * (at + 1) : 2]) for step in (0, 1)] for at in range(len(tasks))]
    )
    held = means[np.isfinite(means).all(axis=1)]
    return Acting(float(held[:, 0].mean()), paired_difference(held[:, 1] - held[:, 0])) if len(held) else None


def _mean(rollouts: Sequence[Rollout]) -> float:
    rewards = [one.reward for one in rollouts if one.reward is not None]
    return sum(rewards) / len(rewards) if rewards else float("nan")
