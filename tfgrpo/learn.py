"""The loop: rollouts, rewards, advantage, experiences and token prior, step after step, into a new prior.

The prior changes only at the end of a step. Within a step nothing waits for a whole batch: a group is distilled as soon
as its last rollout lands. Every derivation goes in task order, never in order of completion, and every call is
journalled, so a run that was killed and is started again replays what it has and ends in the same prior.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from .advantage import group_kind
from .credit import estimate, to_keep, to_retire
from .distil import Distiller, can_teach, merge, propose
from .edits import Proposals
from .errors import ModelError, TfgrpoError
from .experiences import Library, apply, included, ordered
from .hashing import derive_seed
from .llm import Upstream
from .observer import Observer
from .prior import merge_bias
from .probe import probe
from .prompts import template
from .records import (
    JSON,
    Backend,
    Decision,
    Effect,
    Experience,
    Frame,
    Group,
    Prior,
    Rollout,
    Run,
    Snapshot,
    Task,
    TokenBias,
    Usage,
)
from .rewards import Reward, score
from .rollouts import SAMPLERS_OFF, ChatExecutor, gather, roll_group
from .settings import Settings
from .store import Store
from .tokens import Gradient, iterates, pieces, step_gradient, token_prior


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be learned, from what, and for which requests."""

    tasks: tuple[Task, ...]
    reward: Reward
    reward_name: str
    frame: Frame
    namespace: str = "default"
    settings: Settings = field(default_factory=Settings)
    distiller: str | None = None
    """Name of the model that proposes experiences; None: the model itself."""


@dataclass(frozen=True, slots=True)
class StepSummary:
    """One step in figures."""

    step: int
    mean_reward: float | None
    groups: Mapping[str, int]
    """How many were mixed, solved, hopeless, flat, unscored."""
    failed: int
    """Attempts without a reward."""
    proposed: int
    """Edits that the distiller proposed."""
    undistilled: tuple[str, ...]
    """Why groups that could teach proposed nothing usable."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What a run came to."""

    run: Run
    resumed: bool
    prior: Prior
    """What is live now; the prior that was live before when nothing new was learned."""
    changed: bool
    steps: tuple[StepSummary, ...]
    fates: Mapping[str, int]
    """How many experiences are kept, on trial, retired, refused."""
    usage: Usage
    notes: tuple[str, ...]
    """What a person should know about this run: what was dropped, left out, or failed."""

    def as_json(self) -> dict[str, JSON]:
        """The figures of the run."""
        return {
            "run": self.run.id,
            "resumed": self.resumed,
            "prior": self.prior.id,
            "changed": self.changed,
            "state": "ungated" if self.changed else None,
            "experiences": len(self.prior.experiences),
            "biases": len(self.prior.biases),
            "steps": [asdict(step) for step in self.steps],
            "fates": dict(self.fates),
            "usage": asdict(self.usage),
            "notes": list(self.notes),
        }


async def learn(plan: Plan, store: Store, upstream: Upstream, observer: Observer, *, fresh: bool = False) -> Learned:
    """Learn a prior and make it live, marked ungated; goes on with the same run where it was interrupted.

    `upstream` journals to `store`. Raises UpstreamError when no call can succeed, ModelError when a whole step failed,
    RewardError and InputError as the reward does; what was done is kept.
    """
    start = store.live(plan.namespace)
    store.add_tasks(plan.tasks)
    run, resumed = store.begin(_run_of(plan, start), fresh=fresh)
    if resumed:
        observer.note(f"going on with {run.id}: {store.spent(run.id).calls} calls are in the store already")
    try:
        backend = await probe(upstream, plan.frame.model, run=run.id)
        learner = _Learner(plan, run, store, upstream, backend, observer, start)
        learned = await learner.learn(resumed)
    except asyncio.CancelledError:
        store.end(run.id, "interrupted", upstream.usage, {})
        raise
    except TfgrpoError as error:
        store.end(run.id, "failed", upstream.usage, {"error": str(error)})
        raise
    store.end(run.id, "finished", learned.usage, learned.as_json())
    return learned


def _run_of(plan: Plan, start: Snapshot | None) -> Run:
    settings = {**plan.settings.as_json(), "distiller": plan.distiller}
    tasks = tuple(task.id for task in plan.tasks)
    parent = start.prior.id if start else None
    return Run("learn", plan.namespace, plan.frame, settings, tasks, plan.reward_name, parent)


class _Learner:
    """One run: what is known so far, and the steps that add to it."""

    def __init__(
        self,
        plan: Plan,
        run: Run,
        store: Store,
        upstream: Upstream,
        backend: Backend,
        observer: Observer,
        start: Snapshot | None,
    ) -> None:
        self.plan, self.run, self.store, self.upstream = plan, run, store, upstream
        self.settings, self.backend, self.observer = plan.settings, backend, observer
        self.start = start.prior if start else Prior()
        self.notes: list[str] = []
        self.library = self._remembered()
        self.groups: list[Group] = []
        self.effects: tuple[Effect, ...] = ()
        self.inherited = self._inherited()
        self.gradients: list[Gradient] = []
        self.working: dict[int, float] = {entry.token: entry.bias for entry in self.inherited}
        self.pieces: dict[int, bytes] = {entry.token: entry.piece for entry in self.inherited}
        self.learns_tokens = self._can_learn_tokens()
        request = SAMPLERS_OFF.get(backend.kind, {}) if plan.distiller in (None, plan.frame.model) else {}
        name = plan.distiller or plan.frame.model
        self.distiller = Distiller(upstream, name, run.id, plan.settings, request=request)

    async def learn(self, resumed: bool) -> Learned:
        """All steps, then the verdicts and the new prior."""
        settings = self.settings
        self.observer.stage("learn", settings.steps * settings.group_size * len(self.plan.tasks))
        steps = tuple([await self._step(number) for number in range(settings.steps)])
        self._keep()
        for name, why in sorted(self.upstream.dropped.items()):
            self._note(f"parameter {name} was left out: {why}")
        prior = self._final_prior()
        changed = prior.id != self.start.id and bool(prior.experiences or prior.biases)
        if changed:
            self.store.add_prior(prior)
            self.store.set_state(
                self.plan.namespace,
                prior.id,
                "ungated",
                frame=self.plan.frame,
                run=self.run.id,
                why="learned; no gate has tested it",
            )
        fates = Counter(self.library.verdicts.values())
        usage, notes = self.store.spent(self.run.id), tuple(self.notes)
        return Learned(self.run, resumed, prior if changed else self.start, changed, steps, fates, usage, notes)

    async def _step(self, step: int) -> StepSummary:
        prior = self._step_prior()
        self.store.add_prior(prior)
        results = await gather(self._group(task, prior, step) for task in self.plan.tasks)
        groups = [group for group, _ in results]
        if not any(group.scored for group in groups):
            first = groups[0].rollouts[0].error
            raise ModelError(f"every attempt of step {step + 1} failed; the first one: {first}")
        self.groups += groups
        if self.learns_tokens:
            self._learn_tokens(groups)
        failures = [found.failure for _, found in results if found.failure]
        edits = [edit for _, found in results for edit in found.edits]
        if edits:
            await self._learn_experiences(step, edits)
        self._measure(step)
        return self._summary(step, groups, len(edits), tuple(failures))

    async def _group(self, task: Task, prior: Prior, step: int) -> tuple[Group, Proposals]:
        """One task's attempts and what they propose; nothing else is waited for."""
        settings, library = self.settings, self.library
        top = settings.top_logprobs if self.learns_tokens else 0
        chat = ChatExecutor(
            self.upstream,
            self.plan.frame,
            self.backend,
            run=self.run.id,
            stage="rollout",
            seed=settings.seed,
            top_logprobs=top,
        )

        async def attempt(task: Task, partial: Prior, step: int, sample: int) -> Rollout:
            rollout = await score(self.plan.reward, await chat(task, partial, step, sample))
            self.observer.landed(rollout)
            return rollout

        def shown(sample: int) -> tuple[Experience, ...]:
            return included(library, settings, step=step, task=task.id, sample=sample)

        group = await roll_group(attempt, task, prior, step=step, size=settings.group_size, shown=shown)
        self.store.add_group(self.run.id, group)
        if not (settings.experiences and self._distils(task, step) and can_teach(group)):
            return group, Proposals()
        return group, await propose(self.distiller, group, library.current)
