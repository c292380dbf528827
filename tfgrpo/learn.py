"""The loop: rollouts, rewards, advantage, experiences and token prior, step after step, into a candidate for the gate.

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
from .budget import Budget
from .cost import cost, lines
from .distil import HOLD_TO_SCHEMA, Distiller, can_teach
from .edits import Proposals
from .errors import BudgetEnded, ModelError, StoreError, TfgrpoError
from .experience_learning import ExperienceLearning
from .learned import Learned, StepSummary
from .llm import Upstream
from .measure import usable
from .observer import Observer
from .plan import Plan, refuse_seen, run_of, unfinished
from .prior import token_count
from .probe import probe
from .promotion import Promotion, Trial, promote
from .prompts import template
from .records import JSON, Backend, Experience, Group, Prior, Rollout, Run, RunStatus, Task, TokenBias
from .retokenise import fitted
from .rewards import score
from .rollouts import SAMPLERS_OFF, Executor, gather, roll_group
from .shaping import shaped
from .store import SERVING, Store
from .token_choice import Choice
from .token_learning import WEAKER, TokenLearning, obstacle
from .tokens import LOOSE_TAIL
from .visits import visited


async def learn(
    plan: Plan,
    store: Store,
    upstream: Upstream,
    observer: Observer,
    *,
    distiller: Upstream | None = None,
    fresh: bool = False,
    budget: Budget | None = None,
) -> Learned:
    """Learn a prior, and make it live if the gate says so; goes on with the same run where it was interrupted.

    `upstream` journals to `store` under `budget`, and so does `distiller`, where experiences are proposed elsewhere.
    What a budget ends is no error: what the completed steps taught is kept, and goes through the gate if what was held
    back for that is enough. Raises UpstreamError when no call can succeed, ModelError when a whole step or pass failed,
    RewardError and InputError as the reward does, PromptError for unusable templates, BudgetEnded when not even the
    upstream could be probed; what was done is kept.
    """
    refuse_seen(plan, store)
    wanted = None if fresh else unfinished(plan, store)
    live = store.live(plan.namespace)
    wanted = wanted or run_of(plan, live.prior.id if live else None)
    start = store.prior(wanted.parent) if wanted.parent else Prior()
    store.add_tasks((*plan.tasks, *plan.validation, *plan.test))
    run, resumed = store.begin(wanted, fresh=fresh)
    for role, tasks in plan.held_out:
        store.hold_out(run.id, role, [task.id for task in tasks])
    if resumed:
        observer.note(f"going on with {run.id}: {store.spent(run.id).calls} calls are in the store already")
    estimate = cost(plan, budget.prices if budget else None)
    if budget:
        budget.carry((_model_of(plan, stage), usage) for stage, usage in store.spent_by_stage(run.id).items())
        budget.hold_back(estimate.held_back)
    try:
        backend = await probe(upstream, plan.frame.model, run=run.id)
        store.add_probe(upstream.key, plan.frame.model, backend)
        for line in lines(plan, estimate, _attempt(plan, run, store), budget.ceiling if budget else None):
            observer.note(line)
        inherited, moved = await fitted(start, upstream, backend, plan.frame.model, run=run.id)
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
                inherited=inherited.biases,
                budget=budget,
                make_executor=make_executor,
            )
            if moved:
                learner.note(moved)
            learned = await learner.learn(resumed)
    except asyncio.CancelledError:
        store.end(run.id, "interrupted", store.spent(run.id), {})
        raise
    except Exception as error:
        with suppress(StoreError):  # of a store that failed once, the first failure is the one to tell
            told = str(error) if isinstance(error, TfgrpoError) else type(error).__name__  # others may quote anything
            status: RunStatus = "out of budget" if isinstance(error, BudgetEnded) else "failed"
            store.end(run.id, status, store.spent(run.id), {"error": told})
        raise
    store.end(run.id, "out of budget" if learned.ended else "finished", learned.usage, learned.as_json())
    return learned


def _attempt(plan: Plan, run: Run, store: Store) -> int:
    """The number of the run's attempt of the gate that is under way, or of the one that comes next."""
    under_way = [one.attempt for one in store.validations(run=run.id) if one.outcome is None]
    return under_way[-1] if under_way else store.next_attempt(plan.namespace, [task.id for task in plan.validation])


def _model_of(plan: Plan, stage: str) -> str:
    """The model that the calls of a stage went to."""
    own = stage.startswith(("probe", "rollout", "gate"))
    return plan.frame.model if own or plan.distiller is None else plan.distiller


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
        inherited: tuple[TokenBias, ...],
        budget: Budget | None,
        make_executor: Executors,
    ) -> None:
        self.plan, self.run, self.store, self.upstream = plan, run, store, upstream
        self.distiller, self.backend, self.observer, self.start = distiller, backend, observer, start
        self.budget, self.inherited = budget, inherited
        self.notes: list[str] = []
        self.groups: list[Group] = []
        self.choice: Choice | None = None
        self.token_figures: dict[str, JSON] | None = None
        self.temperature = plan.frame.temperature
        self.tokens = self._token_learning()
        count = token_count(upstream.tokenizer)
        self.experiences = ExperienceLearning(
            self._proposer(), store, run, plan.tasks, plan.settings, count_tokens=count
        )
        self.failed: dict[tuple[int, str, int], Rollout] = {}
        self.make_executor = make_executor
        self.executor = self._executor(self.temperature)

    async def learn(self, resumed: bool) -> Learned:
        """All steps that the budget allows, then the verdicts, the new prior and the gate."""
        self.failed = await self._failures() if resumed else {}
        steps, cut = await self._steps()
        if self.budget:
            self.budget.release()
        for upstream in dict.fromkeys((self.upstream, self.distiller)):
            for name, why in sorted(upstream.dropped.items()):
                self.note(f"parameter {name} was left out: {why}")
        candidate = self._candidate(over=cut is None) if steps else None
        promotion = await self._promoted(candidate) if candidate else None
        changed = promotion is not None and promotion.state in SERVING
        prior = candidate if candidate and changed else self._live()
        fates = Counter[str](decision.verdict for decision in self.experiences.library.standing.values())
        usage, notes = self.store.spent(self.run.id), tuple(self.notes)
        ended = self._ended(len(steps), cut, promotion)
        return Learned(
            self.run,
            resumed,
            prior,
            changed,
            steps,
            fates,
            usage,
            notes,
            candidate,
            promotion,
            ended,
            self.token_figures,
        )

    async def _steps(self) -> tuple[tuple[StepSummary, ...], BudgetEnded | None]:
        """The steps that were completed, and what ended them early; calls in flight then have landed."""
        settings, tasks = self.plan.settings, len(self.plan.tasks)
        distilled = min(tasks, settings.distilled_groups or tasks) if settings.experiences else 0
        self.observer.stage("learn", settings.steps * settings.group_size * tasks, settings.steps * distilled)
        steps: list[StepSummary] = []
        try:
            for number in range(settings.steps):
                steps.append(await self._step(number))
        except BudgetEnded as cut:
            return tuple(steps), cut
        return tuple(steps), None

    def _candidate(self, *, over: bool) -> Prior | None:
        """What was learned; None where that is nothing new. The verdicts of a run that is not over are for now only."""
        self.experiences.keep(over=over)
        if outlook := self.experiences.outlook():
            self.note(outlook)
        prior = self._prior(self.experiences.kept, self._chosen_tokens())
        return prior if prior.id != self.start.id and (prior.experiences or prior.biases) else None

    async def _promoted(self, candidate: Prior) -> Promotion | None:
        """What the gate makes of it, or what is made of it without one."""
        plan, settings = self.plan, self.plan.settings
        trial = Trial(
            self.run,
            candidate,
            plan.validation,
            plan.reward,
            plan.frame,
            settings.gate_alpha,
            settings.gate_passes,
            settings.seed,
            settings.clip_rewards,
        )

        def usable_here(prior: Prior) -> Prior:
            return usable(prior, self.backend, self.upstream, self.observer)

        def make(stage: str, seed: int) -> Executor:
            return self.make_executor(plan.frame, self.backend, run=self.run.id, stage=stage, seed=seed)

        log_odds = candidate.biases and self.tokens and self.tokens.estimator == "log-odds"
        caveat = f"; token prior {WEAKER}" if log_odds else ""
        origin = f"; token prior chosen on the training tasks: {self.choice.why}" if self.choice else ""
        return await promote(
            trial, self.store, make, self.observer, budget=self.budget, usable=usable_here, caveat=caveat, origin=origin
        )

    def _live(self) -> Prior:
        """What is live now, and was not made so by this run."""
        snapshot = self.store.live(self.run.namespace)
        return snapshot.prior if snapshot else self.start

    def _ended(self, steps: int, cut: BudgetEnded | None, promotion: Promotion | None) -> str | None:
        """What a budget ended, and what was not done for it."""
        told = []
        if cut:
            told.append(f"{cut}: {steps} of {self.plan.settings.steps} steps were done, and what they taught is kept")
        if promotion and promotion.undecided:
            told.append(f"the gate was not finished: {promotion.why}")
        return "; ".join(told) or None

    def _proposer(self) -> Distiller:
        """Where the model that proposes is the one probed: hidden samplers off, answers held to a schema."""
        plan = self.plan
        probed = self.distiller is self.upstream and plan.distiller in (None, plan.frame.model)
        request = SAMPLERS_OFF.get(self.backend.kind, {}) if probed else {}
        name = plan.distiller or plan.frame.model
        held = probed and self.backend.kind in HOLD_TO_SCHEMA
        return Distiller(self.distiller, name, self.run.id, plan.settings, plan.prompts, request, held)

    async def _step(self, step: int) -> StepSummary:
        prior = self._prior(self.experiences.on_offer, self.tokens.working if self.tokens else ())
        self.store.add_prior(prior)
        tasks = visited(self.plan.tasks, self.groups, step, self.plan.settings)
        results = await gather(self._group(task, prior, step) for task in tasks)
        groups, proposals = [group for group, _ in results], [found for _, found in results]
        if not any(group.scored for group in groups):
            first = groups[0].rollouts[0].error
            raise ModelError(f"every attempt of step {step + 1} failed; the first one: {first}")
        taken = await self.experiences.learn(step, groups, proposals)  # first: a budget may end it
        self.groups += groups
        self._learn_tokens(groups)
        if taken.by_rule:
            self.note(f"step {step + 1}: proposals were merged by rule: {taken.by_rule}")
        if taken.again:
            failed = sum(found.failure is not None for found in taken.again)
            self.note(f"step {step + 1}: {len(taken.again)} groups of earlier steps distilled again, {failed} failed")
        return self._summary(step, groups, proposals)

    async def _failures(self) -> dict[tuple[int, str, int], Rollout]:
        """Failed attempts, by step, task and sample, that something was derived from before the run was resumed.

        They stay failed: with a reward they would change what followed. All others are made again.
        """
        found: dict[tuple[int, str, int], Rollout] = {}
        for group in self.store.groups(self.run.id):
            seen = can_teach(group, ground_truth=self.plan.settings.ground_truth)
            if seen or await self.experiences.log.taken_in(group.step):
                failed = (rollout for rollout in group.rollouts if rollout.error)
                found |= {(group.step, group.task.id, rollout.sample): rollout for rollout in failed}
        return found

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

    def _executor(self, temperature: float) -> Executor:
        """Attempts that are scored as they land."""
        settings, frame = self.plan.settings, replace(self.plan.frame, temperature=temperature)
        if self.tokens and frame.top_p != 1:
            self.note(f"rollouts are sampled at top_p 1, not {frame.top_p}: the token prior's gradient needs it")
            frame = replace(frame, top_p=1.0)
        call = self.make_executor(
            frame,
            self.backend,
            run=self.run.id,
            stage="rollout",
            seed=settings.seed,
            top_logprobs=settings.top_logprobs if self.tokens else 0,
        )

        async def attempt(task: Task, prior: Prior, step: int, sample: int) -> Rollout:
            if known := self.failed.get((step, task.id, sample)):
                self.observer.landed(known)
                return known
            made = await call(task, prior, step, sample)
            rollout = shaped(await score(self.plan.reward, made, clip=settings.clip_rewards), settings)
            self.observer.landed(rollout)
            return rollout

        return attempt

    def _token_learning(self) -> TokenLearning | None:
        """None where no token prior can be learned, or none is wanted."""
        if not self.plan.settings.token_prior:
            return None
        if self.plan.frame.temperature == 0:
            self.note("no token prior: at temperature 0 a group's answers are all alike, and teach nothing")
            return None
        if lacking := obstacle(self.backend, self.upstream.tokenizer):
            self.note(f"no token prior: {self.upstream.name} {lacking}")
            return None
        tokenizer = self.upstream.tokenizer
        learning = TokenLearning(self.inherited, self.plan.frame, self.backend, self.plan.settings, tokenizer)
        if learning.estimator == "log-odds" and self.plan.agent:
            self.note(f"no token prior: for an agent it needs log-probabilities, and {self.upstream.name} gives none")
            return None
        if learning.estimator == "log-odds":
            self.note(f"{self.upstream.name} gives no log-probabilities: the token prior is {WEAKER}")
        return learning

    def _learn_tokens(self, groups: list[Group]) -> None:
        if self.tokens and "logit_bias" in self.upstream.dropped:
            self.note("the token prior ends here, and is dropped: the upstream no longer takes logit_bias")
            refusing = replace(self.backend, logit_bias="rejected")
            self.store.add_probe(self.upstream.key, self.plan.frame.model, refusing)
            self.tokens = None
        if self.tokens:
            self.tokens.learn(groups, 1.0 if "temperature" in self.upstream.dropped else self.temperature)
            if self.tokens.tail > LOOSE_TAIL and self.temperature != 1:
                self.note(
                    f"at temperature {self.temperature} probabilities are only known to {self.tokens.tail:.0%}, as"
                    f" {self.plan.settings.top_logprobs} alternatives a token tell too little: rollouts go on at 1"
                )
                self.temperature, self.executor = 1.0, self._executor(1.0)

    def _chosen_tokens(self) -> tuple[TokenBias, ...]:
        """The biases to keep."""
        if not self.tokens:
            return ()
        biases, self.choice = self.tokens.choose(self.experiences.worth)
        self.token_figures = self.tokens.as_json(self.choice)
        self.note(f"token prior, chosen on the training tasks: {self.choice.scope}; {self.choice.why}")
        return biases

    def _prior(self, experiences: tuple[Experience, ...], biases: tuple[TokenBias, ...]) -> Prior:
        tokenizer = self.backend.tokenizer if biases else None
        parent = None if self.start.id == Prior().id else self.start.id
        return Prior(experiences, biases, tokenizer, template("prior").version, parent)

    def note(self, line: str) -> None:
        self.notes.append(line)
        self.observer.note(line)

    def _summary(self, step: int, groups: list[Group], proposals: list[Proposals]) -> StepSummary:
        rewards = [rollout.reward for group in groups for rollout in group.rollouts if rollout.reward is not None]
        failed = sum(len(group.rollouts) - len(group.scored) for group in groups)
        kinds = Counter[str](group_kind(group) for group in groups)
        proposed = sum(len(found.edits) for found in proposals)
        failures = tuple(found.failure for found in proposals if found.failure)
        rested = len(self.plan.tasks) - len(groups)
        summary = StepSummary(step, sum(rewards) / len(rewards), dict(kinds), failed, proposed, failures, rested)
        shares = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        text = f"step {step + 1}/{self.plan.settings.steps}: mean reward {summary.mean_reward:.2f}; groups: {shares}"
        text += f"; {rested} tasks rested (all right or all wrong twice)" if rested else ""
        self.observer.note(text + (f"; {failed} attempts failed" if failed else ""))
        if failures:
            self.note(f"step {step + 1}: {len(failures)} groups could not be distilled: {failures[0]}")
        return summary
