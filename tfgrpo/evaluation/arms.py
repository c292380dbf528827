"""Arms on the same tasks under the same settings: how much better each is, with intervals over tasks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..hashing import canonical
from ..model.pace import asked_once
from ..observer import Observer
from ..records import JSON, Group, Prior, Rollout, Task
from ..rollouts.executor import Executor, with_failure, with_losses
from ..rollouts.group import concurrently
from ..rollouts.rewards.reward import Reward, score
from ..settings import FLAT
from ..text import counted
from .difference import Difference, paired_difference


@dataclass(frozen=True, slots=True)
class Earned:
    """What an arm earns at one task where all its answers are known."""

    mean: float
    """Its expected reward."""
    solved: float
    """The chance that one of its rollouts there earns the full reward."""


class MomentShares(NamedTuple):
    """Of an arm's turns, at which share a moment came that the measured prior waits for, and what waits was said."""

    turns: int
    came: float
    said: float


class MomentWorth(NamedTuple):
    """What it does for a rollout's reward that a text is said at one of its moments, with a 95% interval."""

    moments: int
    tasks: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Arms measured on held-out tasks; rewards and differences in reward units."""

    tasks: int
    repeats: int
    means: Mapping[str, float]
    """Mean reward of each arm."""
    pass_at_k: Mapping[str, float]
    """Share of tasks that earned the full reward in at least one of the k = `repeats` rollouts of each arm."""
    differences: Mapping[str, Difference]
    """Of every two arms, by name: `learned - frozen` first."""
    constant: str | None
    """The one answer that would score best on these tasks, where answers repeat."""
    constant_mean: float | None
    lost_tasks: int
    """Tasks left out of all arms: some arm's rollouts there were all lost to the upstream, or all arms' failed."""
    failed: int
    """Rollouts that ended in an error."""
    first_error: str | None
    failures: Mapping[str, int] = field(default_factory=dict)
    """Rollouts of each arm that failed by themselves or under it alone, and have a reward of 0 for it."""
    moments: Mapping[str, MomentShares] = field(default_factory=dict)
    """Of each arm, at which share of its turns moments came, where they are looked at."""
    moment_worth: MomentWorth | None = None
    """None where moments are not looked at, or at too few tasks."""
    listed: int = 0
    """Tasks at which all answers were listed under every arm, so that what they earn is known without sampling."""
    rollouts: Mapping[str, tuple[Rollout, ...]] = field(default_factory=dict, compare=False, repr=False)
    """Every rollout of each arm, in order of task and sample."""

    @property
    def difference(self) -> Difference:
        """The last arm less the first: learned less frozen."""
        return next(iter(self.differences.values()))

    @property
    def tokens(self) -> dict[str, float]:
        """Of a rollout of each arm, on average: prompts and answers of all its calls."""
        return {arm: sum(one.usage.tokens for one in made) / len(made) for arm, made in self.rollouts.items() if made}

    @property
    def what_failed(self) -> str:
        """How many rollouts failed, and what became of them; empty where none did."""
        if not self.failed:
            return ""
        own = ", ".join(f"{arm} {count}" for arm, count in self.failures.items() if count)
        zero = f" (a reward of 0 for what failed by itself: {own})" if own else ""
        return f"{counted(self.failed, 'rollout')} failed{zero}, {counted(self.lost_tasks, 'task')} left out"

    @property
    def _moments(self) -> dict[str, JSON]:
        shares = {arm: found._asdict() for arm, found in self.moments.items()}
        return {"moments": shares, "moment_worth": self.moment_worth._asdict() if self.moment_worth else None}

    def as_json(self) -> dict[str, JSON]:
        """All figures."""
        return {
            "tasks": self.tasks,
            "repeats": self.repeats,
            "means": dict(self.means),
            "tokens": dict(self.tokens),
            "pass_at_k": dict(self.pass_at_k),
            "difference": asdict(self.difference),
            "differences": {name: asdict(found) for name, found in self.differences.items()},
            "constant": self.constant,
            "constant_mean": self.constant_mean,
            "lost_tasks": self.lost_tasks,
            "failed": self.failed,
            "first_error": self.first_error,
            "failures": dict(self.failures),
            "listed": self.listed,
            **(self._moments if self.moments else {}),
        }


async def compare_arms(
    executors: Mapping[str, Executor],
    priors: Mapping[str, Prior],
    tasks: Sequence[Task],
    reward: Reward,
    *,
    repeats: int,
    observer: Observer,
    clip: bool = False,
    known: Mapping[tuple[str, str], Earned] | None = None,
) -> Evaluation:
    """Run each arm `repeats` times over each task; both mappings name the same arms, the baseline first.

    What fails by itself, or for the upstream's sake under one arm far more often than chance allows, has the reward 0,
    on tasks that some rollout of some arm could be scored on. What is `known` by arm and task once the rollouts are
    made is taken in place of their mean. Raises InputError when no task can be compared,
    RewardError as `score` does with `clip`.
    """
    observer.stage("evaluate", len(tasks) * repeats * len(priors))

    async def scored(arm: str, task: Task, sample: int) -> Rollout:
        rollout = with_failure(await score(reward, await executors[arm](task, priors[arm], 0, sample), clip=clip))
        observer.landed(rollout)
        return rollout

    with asked_once():
        rollouts = await concurrently(  # task by task: an outage meets all arms alike
            scored(arm, task, sample) for task in tasks for sample in range(repeats) for arm in priors
        )
    by_arm = {arm: tuple(rollouts[place :: len(priors)]) for place, arm in enumerate(priors)}
    by_arm = _with_losses(by_arm, tasks, repeats, known or {})
    rewards = _rewards(by_arm, len(tasks), repeats)
    shared = np.asarray(np.isfinite(rewards).any(axis=2).all(axis=0))
    if not shared.any():
        raise InputError(f"no task could be compared: {_first_error(rollouts) or 'no tasks'}")
    compared = [task for task, kept in zip(tasks, shared, strict=True) if kept]
    earned = [[(known or {}).get((arm, task.id)) for task in compared] for arm in priors]
    found = _evaluation(by_arm, rewards[:, shared], int((~shared).sum()), earned)
    constant = await best_constant(compared, reward, clip=clip)
    return replace(found, constant=constant[0], constant_mean=constant[1]) if constant else found


def _with_losses(
    by_arm: Mapping[str, Sequence[Rollout]],
    tasks: Sequence[Task],
    repeats: int,
    known: Mapping[tuple[str, str], Earned],
) -> dict[str, tuple[Rollout, ...]]:
    """The rollouts of each arm; at 0 where the upstream failed under that arm alone more often than chance allows.

    What is `known` made no call of its own that an outage could have hit, and is not compared with what did.
    """
    groups = [
        Group(
            task,
            0,
            tuple(
                replace(one, variant=arm)
                for arm, made in by_arm.items()
                if (arm, task.id) not in known
                for one in made[place * repeats : (place + 1) * repeats]
            ),
        )
        for place, task in enumerate(tasks)
    ]
    judged = [one for group in with_losses(groups, lambda one: [one.variant]) for one in group.rollouts]
    asked = {arm: iter([replace(one, variant="") for one in judged if one.variant == arm]) for arm in by_arm}
    return {
        arm: tuple(one if (arm, one.task.id) in known else next(asked[arm]) for one in made)
        for arm, made in by_arm.items()
    }


def _rewards(by_arm: Mapping[str, Sequence[Rollout]], tasks: int, repeats: int) -> NDArray[np.float64]:
    """The rewards of all arms, shape (arms, tasks, repeats), NaN for none; none at tasks where all arms failed."""
    rollouts = [rollout for of_arm in by_arm.values() for rollout in of_arm]
    rewards = [np.nan if rollout.reward is None else rollout.reward for rollout in rollouts]
    shape = len(by_arm), tasks, repeats
    filled = np.array(rewards, dtype=np.float64).reshape(shape)
    answered = np.array([rollout.error is None for rollout in rollouts], dtype=bool).reshape(shape)
    filled[:, ~answered.any(axis=(0, 2))] = np.nan
    return filled


def _evaluation(
    by_arm: Mapping[str, tuple[Rollout, ...]],
    rewards: NDArray[np.float64],
    lost_tasks: int,
    earned: Sequence[Sequence[Earned | None]],
) -> Evaluation:
    """The figures of arms from their rewards on the tasks that all of them have, shape (arms, tasks, repeats)."""
    known = np.array([[one is not None for one in of_arm] for of_arm in earned])
    by_task, solved = np.nanmean(rewards, axis=2), (np.nanmax(rewards, axis=2) > 1 - FLAT).astype(np.float64)
    by_task[known] = [one.mean for of_arm in earned for one in of_arm if one]
    solved[known] = [one.solved for of_arm in earned for one in of_arm if one]
    rollouts = [rollout for of_arm in by_arm.values() for rollout in of_arm]
    return Evaluation(
        tasks=rewards.shape[1],
        repeats=rewards.shape[2],
        means=dict(zip(by_arm, by_task.mean(axis=1).tolist(), strict=True)),
        pass_at_k=dict(zip(by_arm, solved.mean(axis=1).tolist(), strict=True)),
        differences=_differences(tuple(by_arm), by_task, rewards.shape[2]),
        constant=None,
        constant_mean=None,
        lost_tasks=lost_tasks,
        failed=sum(rollout.error is not None for rollout in rollouts),
        first_error=_first_error(rollouts),
        failures={
            arm: sum(one.error is not None and one.reward is not None for one in made) for arm, made in by_arm.items()
        },
        listed=int(known.all(axis=0).sum()),
        rollouts=by_arm,
    )


def _first_error(rollouts: Sequence[Rollout]) -> str | None:
    return next((rollout.error for rollout in rollouts if rollout.error), None)


def _differences(arms: Sequence[str], by_task: NDArray[np.float64], repeats: int) -> dict[str, Difference]:
    """Every later arm less every earlier one, the last less the first at the head; by_task has shape (arms, tasks)."""
    pairs = sorted(combinations(range(len(arms)), 2), key=lambda pair: (-pair[1], pair[0]))
    return {
        f"{arms[later]} - {arms[earlier]}": paired_difference(by_task[later] - by_task[earlier], rollouts=repeats)
        for earlier, later in pairs
    }


async def best_constant(tasks: Sequence[Task], reward: Reward, *, clip: bool = False) -> tuple[str, float] | None:
    """The answer that scores best when given to every task, and its mean reward; None where no answer repeats.

    Only answers that repeat are tried; numbers and booleans stand for their JSON text, as they do in rewards.
    """
    given = [task.answer for task in tasks if isinstance(task.answer, str | int | float)]
    counts = Counter(answer if isinstance(answer, str) else canonical(answer) for answer in given)
    scores: dict[str, float] = {}
    for text in sorted(text for text, count in counts.items() if count > 1):
        rollouts = [await score(reward, Rollout(task, 0, 0, "", text=text), clip=clip) for task in tasks]
        scores[text] = sum(rollout.reward or 0.0 for rollout in rollouts) / len(tasks)
    best = max(scores, key=lambda text: scores[text], default=None)
    return None if best is None else (best, scores[best])
