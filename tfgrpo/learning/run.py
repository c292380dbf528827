"""The loop: rollouts, rewards, advantage, experiences and token prior, step after step, into a candidate for the gate.

Every call is journalled, so a run that was killed and is started again replays what it has and ends in the same prior.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..errors import BudgetEnded
from ..experiences.distil import Distiller, templates
from ..experiences.embedding import STAGE as EMBEDDING
from ..experiences.variants import variant_of
from ..gate.promote import Promotion, promote, untested
from ..gate.trial import Candidacy
from ..model.budget import Budget
from ..model.upstream import Upstream
from ..observer import Observer, StepSummary
from ..probe.backend import usable
from ..records import Experience, Prior, Run, Task
from ..rollouts.executor import SAMPLERS_OFF, Executor
from ..store import SERVING, Store
from ..surfaces.chat import mean_tokens, token_count
from ..text import counted
from .cost import cost, lines
from .experiences import ExperienceLearning
from .plan import Begun, Plan, RunContext, begin, ending, made_ready, tell_resumed, told_whom_to_ask
from .race import Race, open_race
from .result import LearningResult
from .steps import Steps
from .token_prior import TokenRun


async def carry_out(
    plan: Plan,
    store: Store,
    upstream: Upstream,
    observer: Observer,
    *,
    distiller: Upstream | None = None,
    embedding: Upstream | None = None,
    fresh: bool = False,
    budget: Budget | None = None,
) -> LearningResult:
    """Learn a prior, and make it live if the gate says so; goes on with the same run where it was interrupted.

    `upstream` journals to `store` under `budget`, and so do `distiller`, where experiences are proposed elsewhere, and
    `embedding`, where the plan's embedding model is elsewhere.
    What a budget ends is no error: what the completed steps taught is kept, and goes through the gate if what was held
    back for that is enough. Raises UpstreamError when no call can succeed, ModelError when a whole step or pass failed,
    RewardError and InputError as the reward does, PromptError for unusable templates, BudgetEnded when not even the
    upstream could be probed, NoRewardError when no rollout of the first step earned anything; what was done is kept.
    """
    with store.only_learner(plan.namespace):
        begun = begin(plan, store, fresh=fresh)
        costs = _costs(begun, store, budget)
        begun = told_whom_to_ask(begun, distiller or upstream)
        tell_resumed(begun, store, observer)
        with ending(store, begun.run):
            async with made_ready(
                begun,
                store,
                upstream,
                observer,
                costs=costs,
                distiller=distiller,
                embedding=embedding,
                budget=budget,
            ) as context:
                proposer = _proposer(context)
                learned = await _Learning(context, proposer, await open_race(context, proposer)).result(begun.resumed)
        store.end(begun.run.id, "out of budget" if learned.ended else "finished", learned.usage, learned.as_json())
        return learned


def _costs(begun: Begun, store: Store, budget: Budget | None) -> Sequence[str]:
    """What a run may cost, for people; a budget is told what earlier starts have spent, and what is held back."""
    plan, run = begun.plan, begun.run
    estimate = cost(plan, budget.prices if budget else None)
    if budget:
        budget.carry((_model_of(plan, stage), usage) for stage, usage in store.spent_by_stage(run.id).items())
        budget.hold_back(estimate.held_back)
    return list(lines(plan, estimate, _trial_number(plan, run, store), budget.ceiling if budget else None))


def _trial_number(plan: Plan, run: Run, store: Store) -> int:
    """The number of the run's trial of the gate that is under way, or of the one that comes next; 0 without a gate."""
    if not plan.validation:
        return 0
    under_way = [one.number for one in store.trials(run=run.id) if one.outcome is None]
    return under_way[-1] if under_way else store.next_trial(plan.namespace, plan.validation)


def _model_of(plan: Plan, stage: str) -> str:
    """The model that the calls of a stage went to."""
    if stage.startswith(EMBEDDING):
        return plan.embedding or plan.frame.model
    own = stage.startswith(("probe", "rollout", "gate"))
    return plan.frame.model if own or plan.distiller is None else plan.distiller


UNFINISHED = "the gate was not finished"
"""What is told of a gate that a budget ended."""


class _Learning:
    """From the steps of a run to its prior, and what the gate makes of that."""

    def __init__(self, context: RunContext, proposer: Distiller, race: Race) -> None:
        self._context, self._race = context, race
        self._tokens = TokenRun(context)
        race.calibrate(self._tokens)
        self._experiences = ExperienceLearning(context, proposer)
        self._steps = Steps(context, self._experiences, self._tokens, race)

    async def result(self, resumed: bool) -> LearningResult:
        """All steps that the budget allows, then the verdicts, the new prior and the gate."""
        context = self._context
        steps, cut = await self._steps.make(resumed=resumed)
        if context.budget:
            context.budget.release()
        self._note_dropped()
        candidate = self._candidate(over=cut is None) if steps else None
        promotion = await self._promoted(candidate) if candidate else None
        changed = promotion is not None and promotion.state in SERVING
        prior = candidate if candidate and changed else self._live()
        return LearningResult(
            context.run,
            resumed,
            prior,
            changed,
            steps,
            Counter[str](decision.verdict for decision in self._experiences.library.standing.values()),
            context.store.spent(context.run.id),
            tuple(context.notes.lines),
            candidate,
            promotion,
            _ended(context.plan, steps, cut, promotion),
            self._tokens.figures,
            tuple(self._race.as_json()),
            mean_tokens(candidate or prior, context.plan.tasks, token_count(context.upstream.tokenizer)),
        )

    def _note_dropped(self) -> None:
        for upstream in dict.fromkeys((self._context.upstream, self._context.distiller)):
            for note in upstream.adapted.notes:
                self._context.notes.note(note)

    def _candidate(self, *, over: bool) -> Prior | None:
        """What was learned; None where that is nothing new. The verdicts of a run that is not over are for now only."""
        self._experiences.keep(over=over, produced=self._tokens.as_produced())
        for line in (*self._experiences.told(), self._race.told()):
            if line:
                self._context.notes.note(line)
        biases = self._tokens.choose(self._experiences.worth, self._race.racing, self._race.own_fit)
        plain = self._context.prior(self._affordable(), biases)
        prior, start = self._race.won(plain), self._context.start.id
        as_it_was = prior.id == start == self._live().id  # somebody may have replaced it meanwhile
        return prior if not as_it_was and (prior.has_text or prior.biases) else None

    def _affordable(self) -> tuple[Experience, ...]:
        """The kept experiences that there is room for beside the way to prompt that won; others are told."""
        kept, most = self._experiences.kept(beside=self._race.tokens), self._context.plan.settings.prior_tokens
        if left := len(self._experiences.kept()) - len(kept):
            why = f"with what won the race the prior would take more than {most:,} tokens (--prior-tokens)"
            self._context.notes.note(f"{counted(left, 'kept experience')} left out: {why}")
        return kept

    async def _promoted(self, candidate: Prior) -> Promotion | None:
        """What the gate makes of it, or what is made of it without one."""
        context, plan = self._context, self._context.plan
        caveat, origin = self._tokens.caveat if candidate.biases else "", self._race.origin + self._tokens.origin
        if not plan.validation:
            frame = plan.production
            return untested(context.run, candidate, frame, context.store, caveat + origin, deploys=plan.deploys)

        def usable_here(prior: Prior) -> Prior:
            return usable(prior, context.backend, context.upstream, context.observer, plan.frame.labels)

        def make(stage: str, seed: int, top_logprobs: int) -> Executor:
            return context.make_executor(
                plan.production, context.backend, run=context.run.id, stage=stage, seed=seed, top_logprobs=top_logprobs
            )

        async def changed() -> str:
            from ..probe.unchanged import what_changed

            return await what_changed(context.upstream, context.backend, plan.frame.model, context.run.id)

        told = self._tokens.produced_at == plan.production.temperature  # an upstream that takes none samples at 1
        return await promote(
            replace(
                _candidacy(context, candidate, probabilities=told and self._tokens.whole_answers and not plan.agent),
                listing=self._steps.exact.listing if self._steps.exact and told else None,
                what_changed=changed,
                look_lost=self._lost,
            ),
            context.store,
            make,
            context.observer,
            budget=context.budget,
            usable=usable_here,
            caveat=caveat,
            origin=origin,
        )

    def _lost(self) -> tuple[Task, ...]:
        """The tasks that look lost under the candidate."""
        from ..gate.training import look_lost

        began = variant_of(self._context.start, "live").id
        return look_lost(self._steps.groups, self._race.mark, {began, ""})

    def _live(self) -> Prior:
        """What is live now, and was not made so by this run."""
        snapshot = self._context.store.live(self._context.run.namespace)
        return snapshot.prior if snapshot else Prior()


def _candidacy(context: RunContext, candidate: Prior, *, probabilities: bool) -> Candidacy:
    """What the gate tests; whether it may count on the probabilities of answers."""
    plan, settings = context.plan, context.plan.settings
    known = context.backend if probabilities else None
    candidacy = Candidacy.under(
        settings,
        context.run,
        candidate,
        tasks=plan.validation,
        reward=plan.reward,
        frame=plan.production,
        backend=known,
    )
    return replace(candidacy, deploys=plan.deploys)


def _ended(
    plan: Plan, steps: Sequence[StepSummary], cut: BudgetEnded | None, promotion: Promotion | None
) -> str | None:
    """What a budget ended, and what was not done for it."""
    told = []
    if cut:
        told.append(f"{cut}: {len(steps)} of {plan.settings.steps} steps were done, and what they taught is kept")
    if promotion and promotion.undecided:
        told.append(f"{UNFINISHED}: {promotion.why}")
    return "; ".join(told) or None


def _proposer(context: RunContext) -> Distiller:
    """Where the model that proposes is the one probed, its hidden samplers are off."""
    plan, backend = context.plan, context.backend
    probed = context.distiller is context.upstream and plan.distiller in (None, plan.frame.model)
    return Distiller(
        context.distiller,
        plan.distiller or plan.frame.model,
        context.run.id,
        plan.settings,
        templates(plan.prompts),
        SAMPLERS_OFF.get(backend.kind, {}) if probed else {},
        not (probed and backend.system_role == "rejected"),
    )
