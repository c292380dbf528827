"""The loop: rollouts, rewards, advantage, experiences and token prior, step after step, into a candidate for the gate.

Every call is journalled, so a run that was killed and is started again replays what it has and ends in the same prior.
"""

from collections import Counter
from collections.abc import Sequence

from ..errors import BudgetEnded
from ..experiences.distil import HOLD_TO_SCHEMA, Distiller, templates
from ..experiences.embedding import STAGE as EMBEDDING
from ..experiences.embedding import Embedder
from ..experiences.step_notes import StepNotes
from ..gate.promote import Candidacy, Promotion, promote
from ..model.budget import Budget
from ..model.upstream import Upstream
from ..observer import Observer
from ..probe.backend import probe
from ..probe.retokenise import fitted
from ..probe.usable import usable
from ..records import Prior, Run, TokenBias
from ..rollouts.agents import executors
from ..rollouts.executor import Executor
from ..rollouts.request import SAMPLERS_OFF
from ..store import SERVING, Store
from ..surfaces.chat import token_count
from ..text import counted
from .biases import TokenRun
from .context import Notes, RunContext, ending
from .cost import Cost, cost, lines
from .experiences import ExperienceLearning
from .plan import Plan, planned_run, refuse_seen, unfinished
from .result import LearningResult, StepSummary
from .steps import Steps


async def learn(
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
    upstream could be probed; what was done is kept.
    """
    refuse_seen(plan, store)
    run, start, resumed = _begun(plan, store, fresh=fresh)
    if resumed:
        observer.note(f"going on with {run.id}: {counted(store.spent(run.id).calls, 'call')} in the store already")
    estimate = _estimate(plan, run, store, budget)
    with ending(store, run):
        backend = await probe(upstream, plan.frame.model, run=run.id)
        store.add_probe(upstream.key, plan.frame.model, backend)
        embedder = await _embedder(plan, embedding or upstream, run, store)
        for line in lines(plan, estimate, _attempt(plan, run, store), budget.ceiling if budget else None):
            observer.note(line)
        inherited, moved = await fitted(start, upstream, backend, plan.frame.model, run=run.id)
        async with executors(plan.agent, upstream, plan.settings, store) as make:
            notes, proposing = Notes(observer), distiller or upstream
            sitting = RunContext(
                plan, run, store, upstream, proposing, backend, make, observer, notes, start, budget, embedder
            )
            learner = _Learner(sitting, inherited.biases)
            if moved:
                notes.note(moved)
            learned = await learner.learn(resumed)
    store.end(run.id, "out of budget" if learned.ended else "finished", learned.usage, learned.as_json())
    return learned


def _begun(plan: Plan, store: Store, *, fresh: bool) -> tuple[Run, Prior, bool]:
    """The run that carries out the plan, the prior that it starts from, and whether it was begun before."""
    wanted = None if fresh else unfinished(plan, store)
    live = store.live(plan.namespace)
    wanted = wanted or planned_run(plan, live.prior.id if live else None)
    start = store.prior(wanted.parent) if wanted.parent else Prior()
    store.add_tasks((*plan.tasks, *plan.validation, *plan.test))
    run, resumed = store.begin(wanted, fresh=fresh)
    for role, tasks in plan.held_out:
        store.hold_out(run.id, role, [task.id for task in tasks])
    return run, start, resumed


def _estimate(plan: Plan, run: Run, store: Store, budget: Budget | None) -> Cost:
    """What the plan costs; of the budget it counts what earlier sittings spent, and holds back the gate's share."""
    estimate = cost(plan, budget.prices if budget else None)
    if budget:
        budget.carry((_model_of(plan, stage), usage) for stage, usage in store.spent_by_stage(run.id).items())
        budget.hold_back(estimate.held_back)
    return estimate


def _attempt(plan: Plan, run: Run, store: Store) -> int:
    """The number of the run's attempt of the gate that is under way, or of the one that comes next."""
    under_way = [one.attempt for one in store.validations(run=run.id) if one.outcome is None]
    return under_way[-1] if under_way else store.next_attempt(plan.namespace, [task.id for task in plan.validation])


def _model_of(plan: Plan, stage: str) -> str:
    """The model that the calls of a stage went to."""
    if stage.startswith(EMBEDDING):
        return plan.embedding or plan.frame.model
    own = stage.startswith(("probe", "rollout", "gate"))
    return plan.frame.model if own or plan.distiller is None else plan.distiller


async def _embedder(plan: Plan, upstream: Upstream, run: Run, store: Store) -> Embedder | None:
    """What asks the plan's embedding model, which is known to answer; raises UpstreamError where it does not."""
    if plan.embedding is None or not plan.settings.experiences:
        return None
    embedder = Embedder(upstream, plan.embedding, plan.settings.embedding_near, run.id, StepNotes(store, run.id))
    await embedder.probe()
    return embedder


class _Learner:
    """From the steps of a run to its prior, and what the gate makes of that."""

    def __init__(self, sitting: RunContext, inherited: tuple[TokenBias, ...]) -> None:
        """`inherited` are the biases of the prior before, in the upstream's tokens."""
        plan, count = sitting.plan, token_count(sitting.upstream.tokenizer)
        self._sitting, self._tokens = sitting, TokenRun(sitting, inherited)
        self._experiences = ExperienceLearning(
            _proposer(sitting),
            sitting.store,
            sitting.run,
            plan.tasks,
            plan.settings,
            count_tokens=count,
            embedder=sitting.embedder,
        )
        self._steps = Steps(sitting, self._experiences, self._tokens)

    async def learn(self, resumed: bool) -> LearningResult:
        """All steps that the budget allows, then the verdicts, the new prior and the gate."""
        sitting = self._sitting
        steps, cut = await self._steps.make(resumed=resumed)
        if sitting.budget:
            sitting.budget.release()
        self._note_dropped()
        candidate = self._candidate(over=cut is None) if steps else None
        promotion = await self._promoted(candidate) if candidate else None
        changed = promotion is not None and promotion.state in SERVING
        return LearningResult(
            sitting.run,
            resumed,
            candidate if candidate and changed else self._live(),
            changed,
            steps,
            Counter[str](decision.verdict for decision in self._experiences.library.standing.values()),
            sitting.store.spent(sitting.run.id),
            tuple(sitting.notes.lines),
            candidate,
            promotion,
            _ended(sitting.plan, steps, cut, promotion),
            self._tokens.figures,
        )

    def _note_dropped(self) -> None:
        for upstream in dict.fromkeys((self._sitting.upstream, self._sitting.distiller)):
            for name, why in sorted(upstream.dropped.items()):
                self._sitting.notes.note(f"parameter {name} was left out: {why}")

    def _candidate(self, *, over: bool) -> Prior | None:
        """What was learned; None where that is nothing new. The verdicts of a run that is not over are for now only."""
        self._experiences.keep(over=over)
        for line in (self._experiences.together(), self._experiences.outlook()):
            if line:
                self._sitting.notes.note(line)
        prior = self._sitting.prior(self._experiences.kept, self._tokens.choose(self._experiences.worth))
        return prior if prior.id != self._sitting.start.id and (prior.experiences or prior.biases) else None

    async def _promoted(self, candidate: Prior) -> Promotion | None:
        """What the gate makes of it, or what is made of it without one."""
        sitting, plan = self._sitting, self._sitting.plan

        def usable_here(prior: Prior) -> Prior:
            return usable(prior, sitting.backend, sitting.upstream, sitting.observer)

        def make(stage: str, seed: int) -> Executor:
            return sitting.make_executor(plan.frame, sitting.backend, run=sitting.run.id, stage=stage, seed=seed)

        return await promote(
            _trial(sitting, candidate),
            sitting.store,
            make,
            sitting.observer,
            budget=sitting.budget,
            usable=usable_here,
            caveat=self._tokens.caveat if candidate.biases else "",
            origin=self._tokens.origin,
        )

    def _live(self) -> Prior:
        """What is live now, and was not made so by this run."""
        snapshot = self._sitting.store.live(self._sitting.run.namespace)
        return snapshot.prior if snapshot else self._sitting.start


def _trial(sitting: RunContext, candidate: Prior) -> Candidacy:
    """What the gate tests."""
    plan, settings = sitting.plan, sitting.plan.settings
    return Candidacy(
        sitting.run,
        candidate,
        plan.validation,
        plan.reward,
        plan.frame,
        settings.gate_alpha,
        settings.gate_passes,
        settings.seed,
        settings.clip_rewards,
    )


def _ended(
    plan: Plan, steps: Sequence[StepSummary], cut: BudgetEnded | None, promotion: Promotion | None
) -> str | None:
    """What a budget ended, and what was not done for it."""
    told = []
    if cut:
        told.append(f"{cut}: {len(steps)} of {plan.settings.steps} steps were done, and what they taught is kept")
    if promotion and promotion.undecided:
        told.append(f"the gate was not finished: {promotion.why}")
    return "; ".join(told) or None


def _proposer(sitting: RunContext) -> Distiller:
    """Where the model that proposes is the one probed: hidden samplers off, answers held to a schema."""
    plan, kind = sitting.plan, sitting.backend.kind
    probed = sitting.distiller is sitting.upstream and plan.distiller in (None, plan.frame.model)
    request = SAMPLERS_OFF.get(kind, {}) if probed else {}
    name, held = plan.distiller or plan.frame.model, probed and kind in HOLD_TO_SCHEMA
    return Distiller(sitting.distiller, name, sitting.run.id, plan.settings, templates(plan.prompts), request, held)
