"""A run is begun, or taken up again where it was interrupted; what its steps need is made ready once, and handed on."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from ..errors import InputError
from ..experiences.embedding import STAGE as EMBEDDING
from ..experiences.embedding import Embedder
from ..experiences.step_notes import StepNotes
from ..hashing import canonical
from ..model.budget import Budget
from ..model.upstream import Upstream
from ..observer import Observer
from ..probe.backend import fitted, probe, sees_several
from ..records import Prior, Run, Task
from ..rollouts.executor import Executors
from ..rollouts.group import executors
from ..rollouts.rewards.reward import asking
from ..store import Store
from ..text import counted, shortened
from .cost import Cost, cost, lines
from .plan import Notes, Plan, RunContext, planned_run, unfinished


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that is in the store, and has made no call yet in this start of it."""

    plan: Plan
    run: Run
    start: Prior
    """The prior that it begins with."""
    resumed: bool
    estimate: Cost


def begin(plan: Plan, store: Store, budget: Budget | None, *, fresh: bool) -> Begun:
    """Write down the run that carries out a plan, or find the one that was interrupted (but not with `fresh`).

    The budget is told what earlier starts of the run have spent. Raises InputError where the namespace has learned from
    a validation task.
    """
    refuse_seen(plan.validation, plan.namespace, store)
    wanted = None if fresh else unfinished(plan, store)
    live = store.live(plan.namespace)
    wanted = wanted or planned_run(plan, live.prior.id if live else None)
    start = store.prior(wanted.parent) if wanted.parent else Prior()
    store.add_tasks((*plan.tasks, *plan.validation, *plan.test))
    run, resumed = store.begin(wanted, fresh=fresh)
    for role, tasks in plan.held_out:
        store.hold_out(run.id, role, [task.id for task in tasks])
    estimate = cost(plan, budget.prices if budget else None)
    if budget:
        budget.carry((_model_of(plan, stage), usage) for stage, usage in store.spent_by_stage(run.id).items())
        budget.hold_back(estimate.held_back)
    return Begun(plan, run, start, resumed, estimate)


def told_whom_to_ask(begun: Begun, proposer: Upstream) -> Begun:
    """The same, its reward told which model it may ask: the one that proposes."""
    plan = begun.plan
    reward = asking(plan.reward, proposer, plan.distiller or plan.frame.model, begun.run.id)
    return replace(begun, plan=replace(plan, reward=reward))


@asynccontextmanager
async def made_ready(
    begun: Begun,
    store: Store,
    upstream: Upstream,
    observer: Observer,
    *,
    distiller: Upstream | None,
    embedding: Upstream | None,
    budget: Budget | None,
) -> AsyncIterator[RunContext]:
    """What the steps of a run share: the upstream is probed, and people are told what the run will cost."""
    plan, run, notes = begun.plan, begun.run, Notes(observer)
    backend = await probe(upstream, plan.frame.model, run=run.id)
    store.add_probe(upstream.key, plan.frame.model, backend)
    if upstream.wants_several and not await sees_several(upstream, plan.frame, backend, run=run.id):
        notes.note("several answers in one request (`n`) do not come as samples of their own; each is asked for alone")
    embedder = await _embedder(plan, embedding or upstream, run, store)
    for line in lines(plan, begun.estimate, _trial_number(plan, run, store), budget.ceiling if budget else None):
        observer.note(line)
    for line in _learned_elsewhere(plan, store):
        notes.note(line)
    start, moved = await fitted(begun.start, upstream, backend, plan.frame.model, run=run.id)
    async with executors(plan.agent, upstream, plan.settings, store) as all_made:
        make: Executors = all_made
        if plan.ready is not None:
            from .ready import ready_at_start, ready_executors

            ready = await ready_at_start(plan.ready, run.id, store)
            make = ready_executors(all_made, upstream, backend, ready, plan.frame, note=notes.note)
        if moved:
            notes.note(moved)
        if plan.frame.system and backend.system_role == "rejected":
            notes.note("this model has no system role: what --system says begins the first turn of the user")
        yield RunContext(
            plan=plan,
            run=run,
            store=store,
            upstream=upstream,
            distiller=distiller or upstream,
            backend=backend,
            make_executor=make,
            observer=observer,
            notes=notes,
            start=begun.start,
            inherited=start.biases,
            budget=budget,
            embedder=embedder,
        )


def tell_resumed(begun: Begun, store: Store, observer: Observer) -> None:
    """Say that a run goes on, and how much of it there is already."""
    if begun.resumed:
        made = counted(store.spent(begun.run.id).calls, "call")
        observer.note(f"going on with {begun.run.id}: {made} in the store already")


def refuse_seen(validation: Sequence[Task], namespace: str, store: Store) -> None:
    """Raise InputError where the namespace has learned from a validation task: its priors know the answer."""
    learned = {canonical(task.input) for task in store.tasks(store.learned_from(namespace))}
    seen = [task for task in validation if canonical(task.input) in learned]
    if seen:
        wrong = f"{len(seen)} of {len(validation)} validation tasks were learned from in namespace {namespace}"
        ways = "name other tasks with --validation FILE, use another --namespace, or learn without a gate (--gate none)"
        raise InputError(f"{wrong} ({shortened(seen[0].prompt)}), so they cannot judge its priors; {ways}")


def _learned_elsewhere(plan: Plan, store: Store) -> Iterator[str]:
    """That another namespace has learned from validation tasks: what is made of its prior would know the answer."""
    asked = {canonical(task.input) for task in plan.validation}
    for entry in store.namespaces() if asked else ():
        if entry.name != plan.namespace:
            learned = {canonical(task.input) for task in store.tasks(store.learned_from(entry.name))}
            if shared := len(asked & learned):
                whose = f"{shared} of {len(asked)} validation tasks were learned from in namespace {entry.name}"
                yield f"{whose}: a prior of its cannot be judged by them here"


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


async def _embedder(plan: Plan, upstream: Upstream, run: Run, store: Store) -> Embedder | None:
    """What asks the plan's embedding model, which is known to answer; raises UpstreamError where it does not."""
    if plan.embedding is None or not plan.settings.experiences:
        return None
    embedder = Embedder(upstream, plan.embedding, plan.settings.embedding_near, run.id, StepNotes(store, run.id))
    await embedder.probe()
    return embedder
