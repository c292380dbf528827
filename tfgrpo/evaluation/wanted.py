"""What a user wants measured, in whichever way it was said: read, checked, its models started, and measured."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import InputError
from ..model.endpoints import Endpoints
from ..observer import Watch
from ..priors.serving import snapshot_of
from ..priors.versions import model_notice
from ..records import Snapshot, Task
from ..rollouts.rewards.built_in import check, doubts, refuse_comparing, reward_of
from ..rollouts.rewards.reward import Reward, asks_for_decisions
from ..settings import Settings
from ..store import SERVING, Store
from ..surfaces.chat import prior_for
from ..tasks.fields import Fields
from ..tasks.read import TaskSet, TaskSource, tasks_of
from .arms import Evaluation
from .held_out import HeldOut, held_out
from .measure import Measurement, measure
from .moment_arms import moment_rates
from .written_arm import source_tasks

if TYPE_CHECKING:
    from ..model.budget import Budget
    from ..rollouts.agents import Agent

CANDIDATE = "candidate"
"""In place of a prior's id: the last one that a run of the namespace has learned."""


@dataclass(frozen=True, slots=True)
class WantedEvaluation:
    """What is to be measured, as it was said; nothing of it is read yet."""

    tasks: TaskSource
    endpoints: Endpoints
    """Without a model: the one that the prior was learned on."""
    reward: str | Reward | None = None
    """None: the one that goes with the tasks."""
    namespace: str = "default"
    prior: str | None = None
    """An id, the beginning of one, or `candidate`; None: the live one."""
    repeats: int = 4
    temperature: float | None = None
    """Of all arms; None: that of learning."""
    seed: int = 0
    written: bool = True
    """Whether there is an arm of experiences that are written from the training tasks alone."""
    agent: "Agent | None" = None
    settings: Settings = field(default_factory=Settings)
    few_shot: bool = True
    """Whether there is an arm of training examples in the prompt."""
    fields: Fields = field(default_factory=Fields)
    """Which fields of the tasks are what, where their names do not say it."""
    executor: str = "asyncio"
    """Where rollouts by an agent and heavy rewards are made: here, on `ray`, or on a cluster at `ray://HOST:PORT`."""
    moments: bool = False
    """Whether there are arms of what waits for its moment, always on and at random turns."""

    def prepared(self, store: Store) -> "PreparedEvaluation":
        """All that it is about, read and checked; raises InputError for what could not be measured."""
        if self.repeats < 1:
            raise InputError(f"--repeat is {self.repeats}; it must be a whole number of at least 1")
        found = tasks_of(self.tasks, fields=self.fields)
        reward, name = reward_of(self.reward, self.tasks)
        with found.explaining():
            check(reward, found.tasks)
        if self.agent:
            from ..rollouts.agents import check_inputs

            check_inputs(self.agent, found.tasks)
        refuse_comparing(reward, "an evaluation has none: say what is right")
        snapshot = snapshot_to_measure(store, self.namespace, self.prior)
        if self.settings.bounded:
            from ..rollouts.uncuttable import check_bounded

            check_bounded(snapshot.frame, agent=self.agent is not None)
        left = held_out(found.tasks, store, self.namespace)
        rates, fired = moment_rates(store, self.namespace, snapshot.prior) if self.moments else ({}, ())
        agent, told = self.agent, tuple[str, ...]()
        if self.executor != "asyncio":
            from ..rollouts.on_ray.elsewhere import on_executor

            agent, reward, told = on_executor(self.executor, agent, reward)
        own = self.endpoints.own
        model = own.model or (None if own.is_local else snapshot.frame.model)
        return PreparedEvaluation(
            replace(self, agent=agent),
            (reward, name),
            snapshot,
            left,
            replace(self.endpoints, own=replace(own, model=model)),
            source_tasks(snapshot.prior, store, self.namespace) if self.written or self.few_shot else (),
            found,
            (*told, *fired),
            rates,
        )


def snapshot_to_measure(store: Store, namespace: str, prior: str | None) -> Snapshot:
    """The prior to measure, what was learned last where none is live; raises InputError where there is none."""
    if prior is not None and prior != CANDIDATE:
        return snapshot_of(store, namespace, prior)
    if prior is None and (live := store.live(namespace)):
        return live
    events = store.lineage(namespace)
    learned = [event.prior for event in events if event.run and event.state in (CANDIDATE, "ungated")]
    if not learned:
        nothing = "nothing was learned" if prior else "no prior is live, and nothing was learned,"
        raise InputError(f"{nothing} in namespace {namespace} yet; tfgrpo learn makes a candidate")
    return snapshot_of(store, namespace, learned[-1])


@dataclass(frozen=True, slots=True)
class PreparedEvaluation:
    """An evaluation that was checked, and the models that it calls."""

    wanted: WantedEvaluation
    reward: tuple[Reward, str]
    snapshot: Snapshot
    """The prior to measure, and what it was learned for."""
    left: HeldOut
    """The tasks that it may be measured on."""
    endpoints: Endpoints
    sources: tuple[Task, ...]
    found: TaskSet
    """The tasks as they were read."""
    told: tuple[str, ...] = ()
    """What is to be said of where it runs, and of how often moments come."""
    moments: Mapping[str, float] = field(default_factory=dict)
    """As a measurement has them."""

    @contextmanager
    def started(self) -> "Iterator[PreparedEvaluation]":
        """The same with the names of all models; starts the embedded ones, and stops them on exit."""
        with self.endpoints.started(decides=asks_for_decisions(self.reward[0])) as there:
            yield replace(self, endpoints=there)

    @property
    def measurement(self) -> Measurement:
        """What is measured, once the models are started."""
        wanted, model, learned = self.wanted, self.endpoints.own.name, self.snapshot.frame
        temperature = learned.temperature if wanted.temperature is None else wanted.temperature
        return Measurement(
            self.left.tasks,
            *self.reward,
            replace(learned, model=model, temperature=temperature),
            prior_for(self.snapshot, model),
            wanted.namespace,
            wanted.repeats,
            wanted.seed,
            agent=wanted.agent,
            settings=wanted.settings,
            sources=self.sources if wanted.written else (),
            shown=self.sources if wanted.few_shot else (),
            distiller=self.endpoints.distiller.model,
            moments=self.moments,
            opened=self.left.opened,
        )

    async def measure(self, store: Store, watch: Watch, budget: "Budget | None" = None) -> Evaluation:
        """Measure the arms, once the models are started; raises as `measure.measure` does.

        A budget that is given is that of several evaluations together.
        """
        async with self.endpoints.opened(self.wanted.settings, store, budget) as to:
            with watch(lambda: to.usage) as observer:
                for line in self._notes(store):
                    observer.note(line)
                found = self.measurement
                return await measure(found, store, to.own, observer, distiller=to.distiller, budget=to.budget)

    def _notes(self, store: Store) -> Iterator[str]:
        """What to say before anything is done: what is left out, and another model than learned on."""
        yield from self.found.notes
        yield from doubts(self.reward[0], self.found.tasks)
        if self.wanted.agent:
            from ..rollouts.agents import WHICH_CALLS

            yield WHICH_CALLS
        found, name, learned = self.measurement, self.wanted.namespace, self.snapshot
        if notice := model_notice(name, store.namespaces(), learned, found.frame.model):
            yield notice
        if self.wanted.prior is None and learned.state not in SERVING:
            yield f"no prior is live in namespace {name}: measuring {learned.prior.id}, learned last ({learned.state})"
        yield from (*self.left.notes, *self.told)
        if len(found.prior.biases) < len(learned.prior.biases):
            yield f"token prior left out: it was learned on {learned.frame.model}"
        if self.wanted.written and not self.sources:
            yield "the arm `written` is left out: no run of this store learned this prior"
        if self.wanted.few_shot and not self.sources:
            yield "the arm `few-shot` is left out: no run of this store learned this prior"
