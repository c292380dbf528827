"""Is it better, and by how much? Arms on the same tasks under the same settings, with an interval over tasks."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .agents import Agent, executors
from .errors import InputError, TfgrpoError
from .hashing import canonical
from .llm import Upstream
from .observer import Observer
from .probe import probe
from .records import JSON, Backend, Frame, Prior, Rollout, Run, Task
from .rewards import Reward, score
from .rollouts import Executor, gather
from .settings import Settings
from .store import Store

BOOTSTRAP = 10_000
"""Resamples behind an interval."""
_BLOCK = 100
"""Resamples that are drawn at once, so that memory stays small with thousands of tasks."""


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


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is to be measured, and how."""

    tasks: tuple[Task, ...]
    reward: Reward
    reward_name: str
    frame: Frame
    prior: Prior
    namespace: str = "default"
    repeats: int = 4
    seed: int = 0
    agent: Agent | None = None
    """What makes the attempts; None: one chat call each."""
    settings: Settings = field(default_factory=Settings)
    """How many agents run at once, and for how long; the rest is not used."""


def held_out(tasks: Sequence[Task], store: Store, namespace: str) -> tuple[Task, ...]:
    """The tasks that no learning in the namespace has seen; InputError when none is left."""
    ids = {task for entry in store.runs(namespace) if entry.run.kind == "learn" for task in entry.run.tasks}
    learned = {canonical(task.input) for task in store.tasks(ids)}
    left = tuple(task for task in tasks if canonical(task.input) not in learned)
    if not left:
        raise InputError(f"all {len(tasks)} tasks were used for learning in namespace {namespace}; give others to eval")
    return left


async def measure(wanted: Measurement, store: Store, upstream: Upstream, observer: Observer) -> Evaluation:
    """Frozen against learned, under the settings of learning; goes on where the same evaluation was interrupted.

    `upstream` journals to `store`. Raises as `evaluate` does, and UpstreamError when no call can succeed.
    """
    store.add_tasks(wanted.tasks)
    store.add_prior(wanted.prior)
    settings: dict[str, JSON] = {"repeats": wanted.repeats, "seed": wanted.seed}
    settings |= {"agent": wanted.agent.name} if wanted.agent else {}
    ids = tuple(task.id for task in wanted.tasks)
    run, _ = store.begin(
        Run("eval", wanted.namespace, wanted.frame, settings, ids, wanted.reward_name, wanted.prior.id)
    )
    try:
        backend = await probe(upstream, wanted.frame.model, run=run.id)
        priors = {"frozen": Prior(), "learned": usable(wanted.prior, backend, upstream, observer)}
        async with executors(wanted.agent, upstream, wanted.settings, store) as make:
            arms = {
                arm: make(wanted.frame, backend, run=run.id, stage=f"eval {arm}", seed=wanted.seed) for arm in priors
            }
            result = await evaluate(
                arms,
                priors,
                wanted.tasks,
                wanted.reward,
                repeats=wanted.repeats,
                seed=wanted.seed,
                observer=observer,
            )
    except asyncio.CancelledError:
        store.end(run.id, "interrupted", store.spent(run.id), {})
        raise
    except TfgrpoError as error:
        store.end(run.id, "failed", store.spent(run.id), {"error": str(error)})
        raise
    for name, why in sorted(upstream.dropped.items()):
        observer.note(f"parameter {name} was left out: {why}")
    store.end(run.id, "finished", store.spent(run.id), result.as_json())
    return result


def usable(prior: Prior, backend: Backend, upstream: Upstream, observer: Observer) -> Prior:
    """The prior, less a token prior that means nothing to this upstream; says so."""
    if not prior.biases:
        return prior
    if backend.logit_bias == "unknown":
        why = f"; {backend.lacking}" if backend.lacking else ""
        observer.note(f"token prior left out: {upstream.name} could not be seen to honour logit_bias{why}")
    elif backend.logit_bias != "honoured":
        observer.note(f"token prior left out: {upstream.name} does not honour logit_bias ({backend.logit_bias})")
    elif prior.tokenizer != backend.tokenizer:
        observer.note(f"token prior left out: it belongs to another tokenizer than that of {upstream.name}")
    else:
        return prior
    return replace(prior, biases=(), tokenizer=None)


async def evaluate(
    executors: Mapping[str, Executor],
    priors: Mapping[str, Prior],
    tasks: Sequence[Task],
    reward: Reward,
    *,
    repeats: int,
    seed: int,
    observer: Observer,
) -> Evaluation:
    """Run each arm `repeats` times over each task; both mappings name the same arms, the baseline first.

    Raises InputError when no task can be compared.
    """
    observer.stage("evaluate", len(tasks) * repeats * len(priors))

    async def attempt(arm: str, task: Task, sample: int) -> Rollout:
        rollout = await score(reward, await executors[arm](task, priors[arm], 0, sample))
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
    constant = await best_constant([task for task, kept in zip(tasks, shared, strict=True) if kept], reward)
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
    rng, count = np.random.default_rng(seed), len(by_task)
    blocks = [by_task[rng.integers(count, size=(_BLOCK, count))].mean(axis=1) for _ in range(BOOTSTRAP // _BLOCK)]
    low, high = np.percentile(np.concatenate(blocks), [2.5, 97.5])
    wins, losses = int((by_task > 0).sum()), int((by_task < 0).sum())
    return Difference(float(by_task.mean()), float(low), float(high), wins, losses, len(by_task) - wins - losses)


async def best_constant(tasks: Sequence[Task], reward: Reward) -> tuple[str, float] | None:
    """The answer that scores best when given to every task, and its mean reward; None where no answer repeats.

    Only answers that repeat are tried; numbers and booleans stand for their JSON text, as they do in rewards.
    """
    given = [task.answer for task in tasks if isinstance(task.answer, str | int | float)]
    counts = Counter(answer if isinstance(answer, str) else canonical(answer) for answer in given)
    scores: dict[str, float] = {}
    for text in sorted(text for text, count in counts.items() if count > 1):
        attempts = [await score(reward, Rollout(task, 0, 0, "", text=text)) for task in tasks]
        scores[text] = sum(attempt.reward or 0.0 for attempt in attempts) / len(tasks)
    best = max(scores, key=lambda text: scores[text], default=None)
    return None if best is None else (best, scores[best])
