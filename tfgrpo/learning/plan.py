"""What is to be learned, the run that it makes in a store, and what the parts of that run share while it goes."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BudgetEnded, StoreError, TfgrpoError
from ..experiences.distil import templates_version
from ..experiences.embedding import Embedder
from ..model.budget import Budget
from ..model.upstream import Upstream
from ..observer import Observer
from ..prompts import template
from ..records import JSON, Backend, Experience, Frame, Prior, Run, RunStatus, Task, TokenBias
from ..rollouts.executor import Executors
from ..rollouts.rewards.reward import Reward
from ..settings import Settings
from ..store import Store
from ..trials import Role, task_set_id

if TYPE_CHECKING:
    from ..rollouts.agents import Agent
    from .ready import Ready


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
    """Name of the embedding model that tells the same advice in other words; None: wording alone decides."""
    deploys: bool = True
    """What passes the gate goes live; else it stays a candidate, for a canary to try. No part of what the run is."""
    ready: "Ready | None" = None
    """Rollouts that production has made already, where its calls are learned from. No part of what the run is."""

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
    settings = {**plan.settings.as_json(), **proposing, **comparing, **attempting, **held}
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
