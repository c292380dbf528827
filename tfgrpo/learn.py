"""The loop: rollouts, rewards, advantage, experiences and token prior, step after step, into a new prior.

The prior changes only at the end of a step. Within a step nothing waits for a whole batch: a group is distilled as soon
as its last rollout lands. Every derivation goes in task order, never in order of completion, and every call is
journalled, so a run that was killed and is started again replays what it has and ends in the same prior.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import replace

from .advantage import group_kind
from .agents import Executors, executors
from .distil import Distiller
from .edits import Proposals
from .errors import ModelError, StoreError, TfgrpoError
from .experience_learning import ExperienceLearning
from .learned import Learned, StepSummary
from .llm import Upstream
from .observer import Observer
from .plan import Plan, run_of, unfinished
from .probe import probe
from .prompts import template
from .records import Backend, Experience, Group, Prior, Rollout, Run, Task, TokenBias
from .rewards import score
from .rollouts import SAMPLERS_OFF, Executor, gather, roll_group
from .store import Store
from .token_learning import WEAKER, TokenLearning, obstacle


async def learn(
    plan: Plan,
    store: Store,
    upstream: Upstream,
    observer: Observer,
    *,
    distiller: Upstream | None = None,
    fresh: bool = False,
) -> Learned:
    """Learn a prior and make it live, marked ungated; goes on with the same run where it was interrupted.

    `upstream` journals to `store`, and so does `distiller`, where experiences are proposed elsewhere. Raises
    UpstreamError when no call can succeed, ModelError when a whole step failed, RewardError and InputError as the
    reward does, PromptError for unusable templates; what was done is kept.
    """
    wanted = None if fresh else unfinished(plan, store)
    live = store.live(plan.namespace)
    wanted = wanted or run_of(plan, live.prior.id if live else None)
    start = store.prior(wanted.parent) if wanted.parent else Prior()
    store.add_tasks(plan.tasks)
    run, resumed = store.begin(wanted, fresh=fresh)
    if resumed:
        observer.note(f"going on with {run.id}: {store.spent(run.id).calls} calls are in the store already")
    try:
        backend = await probe(upstream, plan.frame.model, run=run.id)
        async with executors(plan.agent, upstream, plan.settings, store) as make_executor:
            learner = _Learner(
                plan,
                run,
                store=store,
                upstream=upstream,
                distiller=distiller or upstream,
                backend=backend,
                observer=observer,
                start=start,
                make_executor=make_executor,
            )
            learned = await learner.learn(resumed)
    except asyncio.CancelledError:
        store.end(run.id, "interrupted", store.spent(run.id), {})
        raise
    except Exception as error:
        with suppress(StoreError):  # of a store that failed once, the first failure is the one to tell
            told = str(error) if isinstance(error, TfgrpoError) else type(error).__name__  # others may quote anything
            store.end(run.id, "failed", store.spent(run.id), {"error": told})
        raise
    store.end(run.id, "finished", learned.usage, learned.as_json())
    return learned


class _Learner:
    """One run: its steps, and what they come to."""

    def __init__(
        self,
        plan: Plan,
        run: Run,
        *,
        store: Store,
        upstream: Upstream,
        distiller: Upstream,
        backend: Backend,
        observer: Observer,
        start: Prior,
        make_executor: Executors,
    ) -> None:
        self.plan, self.run, self.store, self.upstream = plan, run, store, upstream
        self.distiller, self.backend, self.observer, self.start = distiller, backend, observer, start
        self.notes: list[str] = []
        self.tokens = self._token_learning()
        self.experiences = ExperienceLearning(self._proposer(), store, run, plan.tasks, plan.settings)
        self.executor = self._executor(make_executor)

    async def learn(self, resumed: bool) -> Learned:
        """All steps, then the verdicts and the new prior."""
        settings = self.plan.settings
        tasks = len(self.plan.tasks)
        distilled = min(tasks, settings.distilled_groups or tasks) if settings.experiences else 0
        self.observer.stage("learn", settings.steps * settings.group_size * tasks, settings.steps * distilled)
        steps = tuple([await self._step(number) for number in range(settings.steps)])
        self.experiences.keep()
        for upstream in dict.fromkeys((self.upstream, self.distiller)):
            for name, why in sorted(upstream.dropped.items()):
                self._note(f"parameter {name} was left out: {why}")
        prior = self._prior(self.experiences.kept, self.tokens.result() if self.tokens else ())
        changed = prior.id != self.start.id and bool(prior.experiences or prior.biases)
        if changed:
            self._make_live(prior)
        fates = Counter[str](decision.verdict for decision in self.experiences.library.standing.values())
        usage, notes = self.store.spent(self.run.id), tuple(self.notes)
        return Learned(self.run, resumed, prior if changed else self.start, changed, steps, fates, usage, notes)

    def _proposer(self) -> Distiller:
        """Hidden samplers are switched off where the model that proposes is the one that was probed."""
        plan = self.plan
        probed = self.distiller is self.upstream and plan.distiller in (None, plan.frame.model)
        request = SAMPLERS_OFF.get(self.backend.kind, {}) if probed else {}
        name = plan.distiller or plan.frame.model
        return Distiller(self.distiller, name, self.run.id, plan.settings, plan.prompts, request)

    def _make_live(self, prior: Prior) -> None:
        frame, run, why = self.plan.frame, self.run, "learned; no gate has tested it"
        if prior.biases and self.tokens and self.tokens.estimator == "log-odds":
            why += f"; token prior {WEAKER}"
        self.store.add_prior(prior)
        self.store.set_state(run.namespace, prior.id, "ungated", frame=frame, run=run.id, why=why)

    async def _step(self, step: int) -> StepSummary:
        prior = self._prior(self.experiences.on_offer, self.tokens.working if self.tokens else ())
        self.store.add_prior(prior)
        results = await gather(self._group(task, prior, step) for task in self.plan.tasks)
        groups, proposals = [group for group, _ in results], [found for _, found in results]
        if not any(group.scored for group in groups):
            first = groups[0].rollouts[0].error
            raise ModelError(f"every attempt of step {step + 1} failed; the first one: {first}")
        self._learn_tokens(groups)
        if by_rule := await self.experiences.learn(step, groups, proposals):
            self._note(f"step {step + 1}: proposals were merged by rule: {by_rule}")
        return self._summary(step, groups, proposals)

    async def _group(self, task: Task, prior: Prior, step: int) -> tuple[Group, Proposals]:
        """One task's attempts and what they propose; nothing else is waited for."""

        def shown(sample: int) -> tuple[Experience, ...]:
            return self.experiences.shown(prior.experiences, task, step, sample)

        size = self.plan.settings.group_size
        group = await roll_group(self.executor, task, prior, step=step, size=size, shown=shown)
        self.store.add_group(self.run.id, group)
        if not self.experiences.distils(group):
            return group, Proposals()
        proposals = await self.experiences.propose(group)
        self.observer.distilled(group)
        return group, proposals

    def _executor(self, make: Executors) -> Executor:
        """Attempts that are scored as they land."""
        settings, frame = self.plan.settings, self.plan.frame
        if self.tokens and frame.top_p != 1:
            self._note(f"rollouts are sampled at top_p 1, not {frame.top_p}: the token prior's gradient needs it")
            frame = replace(frame, top_p=1.0)
        call = make(
            frame,
            self.backend,
            run=self.run.id,
            stage="rollout",
            seed=settings.seed,
            top_logprobs=settings.top_logprobs if self.tokens else 0,
        )

        async def attempt(task: Task, prior: Prior, step: int, sample: int) -> Rollout:
            rollout = await score(self.plan.reward, await call(task, prior, step, sample))
            self.observer.landed(rollout)
            return rollout

        return attempt

    def _token_learning(self) -> TokenLearning | None:
        """None where no token prior can be learned, or none is wanted."""
        if not self.plan.settings.token_prior:
            return None
        if self.plan.frame.temperature == 0:
            self._note("no token prior: at temperature 0 a group's answers are all alike, and teach nothing")
            return None
        if lacking := obstacle(self.backend, self.upstream.tokenizer):
            self._note(f"no token prior: {self.upstream.name} {lacking}")
            return None
        inherited = self.start.biases
        if inherited and self.start.tokenizer != self.backend.tokenizer:
            self._note("the token prior so far belongs to another tokenizer, and is left behind")
            inherited = ()
        tokenizer = self.upstream.tokenizer
        learning = TokenLearning(inherited, self.plan.frame, self.backend, self.plan.settings, tokenizer)
        if learning.estimator == "log-odds" and self.plan.agent:
            self._note(f"no token prior: for an agent it needs log-probabilities, and {self.upstream.name} gives none")
            return None
        if learning.estimator == "log-odds":
            self._note(f"{self.upstream.name} gives no log-probabilities: the token prior is {WEAKER}")
        return learning

    def _learn_tokens(self, groups: list[Group]) -> None:
        if self.tokens and "logit_bias" in self.upstream.dropped:
            self._note("the token prior ends here, and is dropped: the upstream no longer takes logit_bias")
            self.tokens = None
        if self.tokens:
            self.tokens.learn(groups, 1.0 if "temperature" in self.upstream.dropped else self.plan.frame.temperature)

    def _prior(self, experiences: tuple[Experience, ...], biases: tuple[TokenBias, ...]) -> Prior:
        tokenizer = self.backend.tokenizer if biases else None
        parent = None if self.start.id == Prior().id else self.start.id
        return Prior(experiences, biases, tokenizer, template("prior").version, parent)

    def _note(self, line: str) -> None:
        self.notes.append(line)
        self.observer.note(line)

    def _summary(self, step: int, groups: list[Group], proposals: list[Proposals]) -> StepSummary:
        rewards = [rollout.reward for group in groups for rollout in group.rollouts if rollout.reward is not None]
        failed = sum(len(group.rollouts) - len(group.scored) for group in groups)
        kinds = Counter[str](group_kind(group) for group in groups)
        proposed = sum(len(found.edits) for found in proposals)
        failures = tuple(found.failure for found in proposals if found.failure)
        summary = StepSummary(step, sum(rewards) / len(rewards), dict(kinds), failed, proposed, failures)
        shares = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        text = f"step {step + 1}/{self.plan.settings.steps}: mean reward {summary.mean_reward:.2f}; groups: {shares}"
        self.observer.note(text + (f"; {failed} attempts failed" if failed else ""))
        if failures:
            self._note(f"step {step + 1}: {len(failures)} groups could not be distilled: {failures[0]}")
        return summary
