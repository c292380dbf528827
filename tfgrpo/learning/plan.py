"""What is to be learned, and the run that learns it: begun, or taken up again where it was interrupted.

What the steps of the run need is made ready once, and handed on.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BudgetEnded, InputError, StoreError, TfgrpoError
from ..experiences.distil import templates_version
from ..experiences.embedding import Embedder
from ..experiences.step_notes import StepNotes
from ..hashing import canonical
from ..model.budget import Budget
from ..model.upstream import Upstream
from ..observer import Observer
from ..probe.backend import fitted, probe, sees_several
from ..prompts import template
from ..records import JSON, Backend, Experience, Frame, Prior, Run, RunStatus, Task, TokenBias
from ..rollouts.executor import Executors
from ..rollouts.group import executors, told_of_chunks
from ..rollouts.rewards.reward import Reward, asking
from ..settings import Settings
from ..store import Store
from ..text import counted, shortened
from ..trials import Role, task_set_id

if TYPE_CHECKING:
    from ..rollouts.agents import Agent
    from .ready import Ready
    from .transfer import Ported


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
    prompts: Path | None = None
    """A folder with the user's own templates for the distiller."""
    agent: "Agent | None" = None
    """What makes the rollouts; None: one chat call each."""
    validation: tuple[Task, ...] = ()
    """What the gate decides by, and nothing else reads; none: what is learned goes live `ungated`."""
    test: tuple[Task, ...] = ()
    """What learning leaves to `eval`."""
    embedding: str | None = None
    """Name of the embedding model that tells the same advice in other words, and which examples are nearest to a
    request; None: wording alone decides."""
    deploys: bool = True
    """What passes the gate goes live; else it stays a candidate, for a canary to try. No part of what the run is."""
    ready: "Ready | None" = None
    """Rollouts that production has made already, where its calls are learned from. No part of what the run is."""
    ported: "Ported | None" = None
    """The prior of another model, which races too; the steps then are short, each over a portion of the tasks."""

    @property
    def embeds_examples(self) -> bool:
        """Whether the embedding model chooses among examples, too."""
        return bool(self.embedding) and self.settings.race and self.settings.demonstrations and not self.ported

    @property
    def visits(self) -> int:
        """How often a task is visited, at most."""
        return 1 if self.ported else self.settings.steps

    @property
    def production(self) -> Frame:
        """The request frame of the gate, of `eval` and of what is served: that of learning, but for the temperature."""
        temperature = self.settings.production_temperature
        return self.frame if temperature is None else replace(self.frame, temperature=temperature)

    @property
    def gate_passes(self) -> int:
        """Passes of the gate at most: a second one at temperature 0 would say the same again."""
        return 1 if self.production.temperature == 0 else self.settings.gate_passes

    @property
    def held_out(self) -> tuple[tuple[Role, tuple[Task, ...]], ...]:
        """The sides that learning does not see, by what they are for; empty ones left out."""
        sides: tuple[tuple[Role, tuple[Task, ...]], ...] = (("validation", self.validation), ("test", self.test))
        return tuple((role, tasks) for role, tasks in sides if tasks)


def planned_run(plan: Plan, parent: str | None) -> Run:
    """The run that carries out a plan, from the prior with that id; the sides of its tasks are part of it."""
    proposing = {"distiller": plan.distiller, "prompts": templates_version(plan.prompts)}
    comparing = {"embedding": plan.embedding} if plan.embedding else {}
    attempting = {"agent": plan.agent.name} if plan.agent else {}
    held: dict[str, JSON] = {role: task_set_id(task.id for task in side) for role, side in plan.held_out}
    porting = plan.ported.as_json() if plan.ported else {}
    settings = {**plan.settings.as_json(), **proposing, **comparing, **attempting, **held, **porting}
    tasks = tuple(task.id for task in plan.tasks)
    return Run("learn", plan.namespace, plan.frame, settings, tasks, plan.reward_name, parent)


def unfinished(plan: Plan, store: Store) -> Run | None:
    """The plan's run that never finished, whatever is live by now: its own prior, if it was killed at the very end."""
    for entry in reversed(store.runs(plan.namespace)):
        same = replace(planned_run(plan, entry.run.parent), attempt=entry.run.attempt)
        if same.id == entry.run.id:
            return None if entry.run.status == "finished" else replace(same, attempt=0)
    return None


@contextmanager
def ending(store: Store, run: Run) -> Iterator[None]:
    """What ends the run in here is written down, with what was spent, and raised again."""
    try:
        yield
    except asyncio.CancelledError:
        store.end(run.id, "interrupted", store.spent(run.id), {})
        raise
    except Exception as error:
        with suppress(StoreError):  # of a store that failed once, the first failure is the one to tell
            told = str(error) if isinstance(error, TfgrpoError) else type(error).__name__  # others may quote anything
            status: RunStatus = "out of budget" if isinstance(error, BudgetEnded) else "failed"
            store.end(run.id, status, store.spent(run.id), {"error": told})
        raise


class Notes:
    """What people are told while the run goes, and find again in its results."""

    def __init__(self, observer: Observer) -> None:
        self._observer, self.lines = observer, list[str]()

    def note(self, line: str) -> None:
        """Tell it now, and keep it."""
        self.lines.append(line)
        self._observer.note(line)


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the parts of a run share."""

    plan: Plan
    run: Run
    store: Store
    upstream: Upstream
    distiller: Upstream
    """What proposes experiences; it may be the upstream itself."""
    backend: Backend
    """What was seen of the upstream."""
    make_executor: Executors
    observer: Observer
    notes: Notes
    start: Prior
    """The prior that the run began with."""
    inherited: tuple[TokenBias, ...] = ()
    """Its biases, in the upstream's tokens."""
    budget: Budget | None = None
    embedder: Embedder | None = None

    def prior(self, experiences: tuple[Experience, ...], biases: tuple[TokenBias, ...]) -> Prior:
        """A successor of the prior that the run began with, as yet without a way to prompt."""
        tokenizer = self.backend.tokenizer if biases else None
        parent = None if self.start.id == Prior().id else self.start.id
        questions = self.start.questions
        return Prior(experiences, biases, tokenizer, template("prior").version, parent, questions=questions)


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that is in the store, and has made no call yet in this start of it."""

    plan: Plan
    run: Run
    start: Prior
    """The prior that it begins with."""
    resumed: bool


def begin(plan: Plan, store: Store, *, fresh: bool) -> Begun:
    """Write down the run that carries out a plan, or find the one that was interrupted (but not with `fresh`).

    Raises InputError where the namespace has learned from a validation task.
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
    return Begun(plan, run, start, resumed)


def told_whom_to_ask(begun: Begun, proposer: Upstream) -> Begun:
    """The same, its reward told which model it may ask: the one that proposes."""
    plan = begun.plan
    reward = asking(plan.reward, proposer, plan.distiller or plan.frame.model, begun.run.id)
    return replace(begun, plan=replace(plan, reward=reward))


async def _probed(upstream: Upstream, plan: Plan, run: Run) -> Backend:
    """What serves the model, with how it goes on with an answer where answers are written in chunks."""
    backend = await probe(upstream, plan.frame.model, run=run.id)
    if plan.settings.bounded is None:
        return backend
    from ..probe.goes_on import with_way_on

    return await with_way_on(upstream, backend, plan.frame, run=run.id)


@asynccontextmanager
async def made_ready(
    begun: Begun,
    store: Store,
    upstream: Upstream,
    observer: Observer,
    *,
    costs: Iterable[str],
    distiller: Upstream | None,
    embedding: Upstream | None,
    budget: Budget | None,
) -> AsyncIterator[RunContext]:
    """What the steps of a run share: the upstream is probed, and people are told, by `costs`, what the run may cost."""
    plan, run, notes = begun.plan, begun.run, Notes(observer)
    backend = await _probed(upstream, plan, run)
    store.add_probe(upstream.key, plan.frame.model, backend)
    if upstream.wants_several and not await sees_several(upstream, plan.frame, backend, run=run.id):
        notes.note("several answers in one request (`n`) do not come as samples of their own; each is asked for alone")
    embedder = await _embedder(plan, embedding or upstream, run, store)
    for line in costs:
        observer.note(line)
    for line in filter(None, (*_learned_elsewhere(plan, store), told_of_chunks(plan.settings, backend, upstream.name))):
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


async def _embedder(plan: Plan, upstream: Upstream, run: Run, store: Store) -> Embedder | None:
    """What asks the plan's embedding model, which is known to answer; raises UpstreamError where it does not."""
    if plan.embedding is None or not (plan.settings.experiences or plan.embeds_examples):
        return None
    embedder = Embedder(upstream, plan.embedding, plan.settings.embedding_near, run.id, StepNotes(store, run.id))
    await embedder.probe()
    return embedder
