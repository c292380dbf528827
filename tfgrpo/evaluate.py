"""Is it better, and by how much? Arms on the same tasks under the same settings, with an interval over tasks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .hashing import canonical
from .observer import Observer
from .records import JSON, Prior, Rollout, Task
from .rewards import Reward, score
from .rollouts import Executor, gather

BOOTSTRAP = 10_000
"""Resamples behind an interval."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean reward of one arm less that of another over the same tasks, with its 95% interval, tasks resampled."""

    mean: float
    low: float
    high: float
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Arms measured on held-out tasks; rewards and differences in reward units."""

    tasks: int
    repeats: int
    means: Mapping[str, float]
    """Mean reward of each arm."""
    difference: Difference
    """The last arm less the first."""
    constant: str | None
    """The one answer that would score best on these tasks, where answers repeat."""
    constant_mean: float | None
    lost_tasks: int
    """Tasks left out of all arms, since some arm has no scored attempt at them."""
    failed: int
    """Attempts without a reward."""
    first_error: str | None

    def as_json(self) -> dict[str, JSON]:
        """All figures."""
        return asdict(self)


async def evaluate(
    executors: Mapping[str, Executor],
    priors: Mapping[str, Prior],
    tasks: Sequence[Task],
    reward: Reward,
    *,
    repeats: int,
    seed: int,
    observer: Observer,
    keep: Callable[[str, Rollout], None] = lambda arm, rollout: None,
) -> Evaluation:
    """Run each arm `repeats` times over each task; both mappings name the same arms, the baseline first.

    `keep` is handed every rollout. Raises InputError when no task can be compared.
    """
    observer.stage("evaluate", len(tasks) * repeats * len(priors))

    async def attempt(arm: str, task: Task, sample: int) -> Rollout:
        rollout = await score(reward, await executors[arm](task, priors[arm], 0, sample))
        keep(arm, rollout)
        observer.landed(rollout)
        return rollout

    rollouts = await gather(attempt(arm, task, sample) for task in tasks for arm in priors for sample in range(repeats))
    rewards = np.array([np.nan if rollout.reward is None else rollout.reward for rollout in rollouts])
    rewards = rewards.reshape(len(tasks), len(priors), repeats)
    shared = np.isfinite(rewards).any(axis=2).all(axis=1)
    errors = [rollout.error for rollout in rollouts if rollout.error]
    if not shared.any():
        raise InputError(f"no task could be compared: {errors[0] if errors else 'no tasks'}")
    by_task = np.nanmean(rewards[shared], axis=2)
    constant = await best_constant(tasks, reward)
    return Evaluation(
        tasks=int(shared.sum()),
        repeats=repeats,
        means=dict(zip(priors, by_task.mean(axis=0).tolist(), strict=True)),
        difference=paired_difference(by_task[:, -1] - by_task[:, 0], seed),
        constant=constant[0] if constant else None,
        constant_mean=constant[1] if constant else None,
        lost_tasks=int((~shared).sum()),
        failed=sum(rollout.reward is None for rollout in rollouts),
        first_error=errors[0] if errors else None,
    )


def paired_difference(by_task: NDArray[np.float64], seed: int) -> Difference:
    """The mean of per-task differences, shape (tasks,), with a percentile bootstrap over tasks (Efron 1979)."""
    chosen = np.random.default_rng(seed).integers(len(by_task), size=(BOOTSTRAP, len(by_task)))
    low, high = np.percentile(by_task[chosen].mean(axis=1), [2.5, 97.5])
    wins, losses = int((by_task > 0).sum()), int((by_task < 0).sum())
    return Difference(float(by_task.mean()), float(low), float(high), wins, losses, len(by_task) - wins - losses)


async def best_constant(tasks: Sequence[Task], reward: Reward) -> tuple[str, float] | None:
    """The answer that scores best when given to every task, and its mean reward; None where no answer repeats."""
    answers = {canonical(task.answer): task.answer for task in tasks if isinstance(task.answer, str | int | float)}
    if not answers or len(answers) == len(tasks):
        return None
    scores: dict[str, float] = {}
    for answer in answers.values():
        attempts = [await score(reward, Rollout(task, 0, 0, "", text=str(answer))) for task in tasks]
        scores[str(answer)] = sum(attempt.reward or 0.0 for attempt in attempts) / len(tasks)
    best = max(sorted(scores), key=lambda answer: scores[answer])
    return best, scores[best]
