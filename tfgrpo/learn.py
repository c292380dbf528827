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
from .distil import Distiller, merge, propose
from .edits import Proposals
from .errors import ModelError, TfgrpoError
from .experiences import Library, affordable, apply, included, judged
from .hashing import derive_seed
from .llm import Upstream
from .observer import Observer
from .prior import merge_bias, token_estimate
from .probe import probe
from .prompts import template
from .records import (
    BIAS_DECIMALS,
    JSON,
    Backend,
    Edit,
    Effect,
    Experience,
    Frame,
    Group,
    Prior,
    Rollout,
    Run,
    Task,
    TokenBias,
    Usage,
)
from .rewards import Reward, score
from .rollouts import SAMPLERS_OFF, ChatExecutor, Executor, gather, roll_group
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
    mean_reward: float
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
    wanted = None if fresh else _unfinished(plan, store)
    live = store.live(plan.namespace)
    wanted = wanted or _run_of(plan, live.prior.id if live else None)
    start = store.prior(wanted.parent) if wanted.parent else Prior()
    store.add_tasks(plan.tasks)
    run, resumed = store.begin(wanted, fresh=fresh)
    if resumed:
        observer.note(f"going on with {run.id}: {store.spent(run.id).calls} calls are in the store already")
    try:
        backend = await probe(upstream, plan.frame.model, run=run.id)
        learner = _Learner(plan, run, store=store, upstream=upstream, backend=backend, observer=observer, start=start)
        learned = await learner.learn(resumed)
    except asyncio.CancelledError:
        store.end(run.id, "interrupted", store.spent(run.id), {})
        raise
    except TfgrpoError as error:
        store.end(run.id, "failed", store.spent(run.id), {"error": str(error)})
        raise
    store.end(run.id, "finished", learned.usage, learned.as_json())
    return learned


def _run_of(plan: Plan, parent: str | None) -> Run:
    settings = {**plan.settings.as_json(), "distiller": plan.distiller}
    tasks = tuple(task.id for task in plan.tasks)
    return Run("learn", plan.namespace, plan.frame, settings, tasks, plan.reward_name, parent)


def _unfinished(plan: Plan, store: Store) -> Run | None:
    """The plan's run that never finished, whatever is live by now: its own prior, if it was killed at the very end."""
    for entry in reversed(store.runs(plan.namespace)):
        same = replace(_run_of(plan, entry.run.parent), attempt=entry.run.attempt)
        if same.id == entry.run.id:
            return None if entry.run.status == "finished" else replace(same, attempt=0)
    return None


class _Learner:
    """One run: what is known so far, and the steps that add to it."""

    def __init__(
        self,
        plan: Plan,
        run: Run,
        *,
        store: Store,
        upstream: Upstream,
        backend: Backend,
        observer: Observer,
        start: Prior,
    ) -> None:
        self.plan, self.run, self.store, self.upstream = plan, run, store, upstream
        self.settings, self.backend, self.observer = plan.settings, backend, observer
        self.start = start
        self.notes: list[str] = []
        self.library = self._remembered()
        self.groups: list[Group] = []
        self.effects: tuple[Effect, ...] = ()
        self.inherited = self._inherited()
        self.gradients: list[Gradient] = []
        self.working: dict[int, float] = {entry.token: entry.bias for entry in self.inherited}
        self.pieces: dict[int, bytes] = {entry.token: entry.piece for entry in self.inherited}
        self.learns_tokens = self._can_learn_tokens()
        self.frame = self._rollout_frame()
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
        fates = Counter[str](decision.verdict for decision in self.library.standing.values())
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
        settings, library, executor = self.settings, self.library, self._executor()
        kept = {experience.id for experience in library.having("kept")}

        def shown(sample: int) -> tuple[Experience, ...]:
            return included(prior.experiences, kept, settings, task=task.id, step=step, sample=sample)

        group = await roll_group(executor, task, prior, step=step, size=settings.group_size, shown=shown)
        self.store.add_group(self.run.id, group)
        if not (settings.experiences and self._distils(task, step)):
            return group, Proposals()
        return group, await propose(self.distiller, group, library.current)

    def _executor(self) -> Executor:
        """One chat call an attempt, scored as it lands."""
        settings = self.settings
        top = settings.top_logprobs if self.learns_tokens else 0
        call = ChatExecutor(
            self.upstream,
            self.frame,
            self.backend,
            run=self.run.id,
            stage="rollout",
            seed=settings.seed,
            top_logprobs=top,
        )

        async def attempt(task: Task, prior: Prior, step: int, sample: int) -> Rollout:
            rollout = await score(self.plan.reward, await call(task, prior, step, sample))
            self.observer.landed(rollout)
            return rollout

        return attempt

    def _distils(self, task: Task, step: int) -> bool:
        """Whether this task is among those of the step whose groups are distilled: drawn by hash, known beforehand."""
        if self.settings.distilled_groups is None:
            return True
        drawn = sorted(self.plan.tasks, key=lambda each: derive_seed(self.settings.seed, "distil", step, each.id))
        return task.id in {each.id for each in drawn[: self.settings.distilled_groups]}

    def _learn_tokens(self, groups: list[Group]) -> None:
        if "logit_bias" in self.upstream.dropped:
            self._note(
                "the token prior ends here: the upstream no longer takes logit_bias; what was learned is dropped"
            )
            self.learns_tokens, self.gradients, self.inherited, self.working = False, [], (), {}
            return
        temperature = self.plan.frame.temperature if "temperature" not in self.upstream.dropped else 1.0
        in_force = {int(token): bias for token, bias in self._in_force().items()}
        self.gradients.append(step_gradient(groups, in_force, temperature, self.backend, self.settings))
        self.pieces |= pieces(groups)
        before = {entry.token: entry.bias for entry in self.inherited}
        self.working = strongest(iterates(before, self.gradients, self.settings)[-1], self.settings.bias_entries)

    def _in_force(self) -> dict[str, float]:
        """The biases that the step's requests carried, the request frame's own included."""
        own = self.plan.frame.request.get("logit_bias")
        return merge_bias(own, {str(token): bias for token, bias in self.working.items()})

    async def _learn_experiences(self, step: int, edits: list[Edit]) -> None:
        merged = await merge(self.distiller, step, edits, self.library.current)
        if merged.failure:
            self._note(f"step {step + 1}: proposals were merged by rule: {merged.failure}")
        applied = apply(self.library, merged.edits, self.plan.tasks, self.settings, run=self.run.id, step=step)
        self._adopt(applied)

    def _adopt(self, library: Library) -> None:
        """Take over a library and write down what is new in it."""
        known = {experience.id for experience in self.library.experiences}
        new = [experience for experience in library.experiences if experience.id not in known]
        self.store.add_experiences(self.plan.namespace, new)
        self.store.add_decisions(self.plan.namespace, library.decisions[len(self.library.decisions) :])
        self.library = library

    def _measure(self, step: int) -> None:
        """Estimate every current experience anew, and retire what hurts."""
        if self.settings.recipe == "paper" or not self.library.current:
            return
        run, settings = self.run.id, self.settings
        harmful = to_retire(self.groups, self.library.current, settings, run=run, step=step)
        self._adopt(judged(self.library, harmful, "retired"))
        self.effects = estimate(self.groups, self.library.current, settings, run=run, step=step)
        self.store.add_effects(self.plan.namespace, self.effects)

    def _keep(self) -> None:
        """The verdicts that only the end of a run may give."""
        on_trial = {experience.id for experience in self.library.having("on trial")}
        good = to_keep([effect for effect in self.effects if effect.experience in on_trial], self.settings)
        self._adopt(judged(self.library, good, "kept"))

    def _step_prior(self) -> Prior:
        """What the step's rollouts draw from: all current experiences that can be afforded, and the working biases."""
        shown = affordable(self.library, self.effects, self.settings, token_estimate)
        biases = tuple(TokenBias(token, self.pieces[token], bias, 0.0, 0) for token, bias in self.working.items())
        return self._prior(shown, biases)

    def _final_prior(self) -> Prior:
        kept = replace(self.library, experiences=self.library.having("kept"))
        biases = token_prior(self.inherited, self.gradients, self.pieces, self.settings)
        return self._prior(affordable(kept, self.effects, self.settings, token_estimate), biases)

    def _prior(self, experiences: tuple[Experience, ...], biases: tuple[TokenBias, ...]) -> Prior:
        tokenizer = self.backend.tokenizer if biases else None
        parent = None if self.start.id == Prior().id else self.start.id
        return Prior(experiences, biases, tokenizer, template("prior").version, parent)

    def _remembered(self) -> Library:
        """The experiences of the namespace, with the decision that holds for each."""
        known = self.store.experiences(self.plan.namespace)
        decisions = tuple(status.decision for status in known if status.decision)
        return Library(tuple(status.experience for status in known), decisions)

    def _inherited(self) -> tuple[TokenBias, ...]:
        """The biases to go on from; those of another tokenizer are left behind."""
        if self.start.biases and self.start.tokenizer != self.backend.tokenizer:
            self._note("the token prior so far belongs to another tokenizer, and is left behind")
            return ()
        return self.start.biases

    def _can_learn_tokens(self) -> bool:
        if not self.settings.token_prior:
            return False
        lacking = []
        if not self.backend.logprobs:
            lacking.append("gives no log-probabilities with token ids")
        if self.backend.logit_bias != "honoured":
            lacking.append(f"does not honour logit_bias ({self.backend.logit_bias})")
        if lacking:
            self._note(f"no token prior: {self.upstream.name} {' and '.join(lacking)}")
        return not lacking

    def _rollout_frame(self) -> Frame:
        """The frame of rollouts: the gradient of the token prior is that of the whole policy, so top_p is 1."""
        if not self.learns_tokens or self.plan.frame.top_p == 1:
            return self.plan.frame
        self._note(f"rollouts are sampled at top_p 1, not {self.plan.frame.top_p}: the token prior's gradient needs it")
        return replace(self.plan.frame, top_p=1.0)

    def _note(self, line: str) -> None:
        self.notes.append(line)
        self.observer.note(line)

    def _summary(self, step: int, groups: list[Group], proposed: int, failures: tuple[str, ...]) -> StepSummary:
        rewards = [rollout.reward for group in groups for rollout in group.rollouts if rollout.reward is not None]
        failed = sum(len(group.rollouts) - len(group.scored) for group in groups)
        kinds = Counter[str](group_kind(group) for group in groups)
        summary = StepSummary(step, sum(rewards) / len(rewards), dict(kinds), failed, proposed, failures)
        shares = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        text = f"step {step + 1}/{self.settings.steps}: mean reward {summary.mean_reward:.2f}; groups: {shares}"
        self.observer.note(text + (f"; {failed} attempts failed" if failed else ""))
        for reason in failures[:1]:
            self._note(f"step {step + 1}: {len(failures)} groups could not be distilled: {reason}")
        return summary


def strongest(biases: Mapping[int, float], count: int) -> dict[int, float]:
    """The entries farthest from zero, rounded as they are sent."""
    rounded = {token: round(bias, BIAS_DECIMALS) for token, bias in biases.items()}
    ranked = sorted((token for token in rounded if rounded[token]), key=lambda token: (-abs(rounded[token]), token))
    return {token: rounded[token] for token in ranked[:count]}
