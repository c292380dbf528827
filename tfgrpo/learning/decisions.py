"""Learning offsets for a question of the decisions API: one frozen call a task, a fit, and a gate that calls nothing.

What the namespace's live prior says stays in the question, so the offsets are learned on top of it; they take the place
of those that it has for the same question.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from ..errors import InputError
from ..evaluation.answered import (
    AskedQuestion,
    TaskAnswers,
    ask_all,
    asked_there,
    offsets_in,
    question_file,
    tasks_with_options,
)
from ..gate.offsets import offsets_outcome
from ..gate.promote import Promotion
from ..model.endpoints import Endpoints, Upstreams
from ..observer import Observer, Watch
from ..priors.questions import strongest_offsets
from ..records import JSON, CallKey, Frame, OptionOffset, Prior, PriorState, QuestionOffsets, Run, Task, Usage
from ..rollouts.rewards.built_in import reward_of
from ..rollouts.rewards.reward import Reward
from ..settings import Settings
from ..store import Store
from ..tasks.fields import Fields
from ..tasks.read import TaskSource, tasks_of
from ..tasks.split import Sides, Splits
from ..token_prior.decisions import Fitted, learned_offsets
from ..trials import GateTrial, Pass, Role, task_set_id
from .begin import refuse_seen
from .plan import ending

_FURTHEST_Z = 99.0
_TINY = 1e-4
"""Nats: no deviation of an offset is taken for less."""


@dataclass(frozen=True, slots=True)
class WantedDecisions:
    """What is to be learned of a question, as it was said; nothing of it is read yet."""

    question: str
    """A file."""
    tasks: TaskSource
    endpoints: Endpoints
    frame: Frame
    reward: str | Reward | None = None
    sides: Sides = field(default_factory=Sides)
    settings: Settings = field(default_factory=Settings)
    namespace: str = "default"
    fields: Fields = field(default_factory=Fields)
    """Which fields of the tasks are what, where their names do not say it."""

    def prepared(self) -> "PreparedDecisions":
        """All of it, read and checked; raises InputError for what could not be carried out."""
        self.endpoints.budget()
        if self.frame.system:
            raise InputError("--system shapes a chat call; say what is asked in the question's instructions")
        question, body = question_file(self.question)
        reward, name = reward_of(self.reward, self.tasks)
        parts = self.sides.splits(tasks_of(self.tasks, fields=self.fields), self.fields)
        train, validation, test = (
            tasks_with_options(side, question, reward) for side in (parts.train, parts.validation, parts.test)
        )
        asked = AskedQuestion(question, body, self.frame)
        return PreparedDecisions(self, asked, reward, name, Splits(train, validation, test), self.endpoints)


@dataclass(frozen=True, slots=True)
class PreparedDecisions:
    """What was checked, and the model that is asked."""

    wanted: WantedDecisions
    asked: AskedQuestion
    reward: Reward
    reward_name: str
    parts: Splits
    endpoints: Endpoints

    @contextmanager
    def started(self) -> "Iterator[PreparedDecisions]":
        """The same with the name of the model; starts the embedded one, and stops it on exit."""
        with asked_there(self.asked, self.endpoints) as (asked, there):
            yield replace(self, asked=asked, endpoints=there)

    async def learn(self, store: Store, watch: Watch, *, fresh: bool = False) -> "DecisionsLearned":
        """Learn the offsets, and make them live if the gate says so; goes on where it was interrupted."""
        async with self.endpoints.opened(self.wanted.settings, store) as to:
            with watch(lambda: to.usage) as observer:
                return await _DecisionRun(self, store, to, observer).carried_out(fresh=fresh)


@dataclass(frozen=True, slots=True)
class DecisionsLearned:
    """What a run came to."""

    run: Run
    resumed: bool
    fitted: Fitted
    candidate: Prior | None
    """None where no offsets were kept, or where they are live already."""
    promotion: Promotion | None
    usage: Usage
    notes: tuple[str, ...]
    instructions: str

    @property
    def offsets(self) -> list[OptionOffset]:
        """Those that were learned, the strongest first."""
        found = self.candidate.questions if self.candidate else ()
        return next((strongest_offsets(entry) for entry in found if entry.instructions == self.instructions), [])

    def as_json(self) -> dict[str, JSON]:
        """The figures of the run."""
        return {
            "run": self.run.id,
            "resumed": self.resumed,
            "surface": "decisions",
            "candidate": self.candidate.id if self.candidate else None,
            "state": self.promotion.state if self.promotion else None,
            "changed": self.promotion is not None and self.promotion.state in ("live", "ungated"),
            "gate": self.promotion.as_json() if self.promotion and self.promotion.trial else None,
            "kept": self.fitted.kept,
            "why": self.fitted.why,
            "ridge": None if np.isinf(self.fitted.ridge) else self.fitted.ridge,
            "before": self.fitted.before,
            "after": self.fitted.after,
            "offsets": [{"option": one.option, "offset": one.offset, "z": round(one.z, 2)} for one in self.offsets],
            "usage": asdict(self.usage),
            "notes": list(self.notes),
        }


class _DecisionRun:
    """One run: begun or taken up, asked, fitted, tested and written down."""

    def __init__(self, prepared: PreparedDecisions, store: Store, to: Upstreams, observer: Observer) -> None:
        self._prepared, self._store, self._to, self._observer = prepared, store, to, observer
        self._asked, self._parts = prepared.asked, prepared.parts
        self._namespace = prepared.wanted.namespace
        live = store.live(self._namespace)
        self._live = live.prior if live else Prior()
        self._notes: list[str] = []

    async def carried_out(self, *, fresh: bool) -> DecisionsLearned:
        """What it came to, which is in the store too."""
        with self._store.only_learner(self._namespace):
            return await self._learned(fresh=fresh)

    async def _learned(self, *, fresh: bool) -> DecisionsLearned:
        run, resumed = self._begun(fresh=fresh)
        with ending(self._store, run):
            fitted = learned_offsets((await self._answers(run, "train")).found)
            candidate = self._candidate(fitted)
            promotion = await self._promoted(run, candidate) if candidate else None
            usage = self._store.spent(run.id)
            learned = DecisionsLearned(
                run,
                resumed,
                fitted,
                candidate,
                promotion,
                usage,
                tuple(self._notes),
                self._asked.question.instructions,
            )
        self._store.end(run.id, "finished", usage, learned.as_json())
        return learned

    def _begun(self, *, fresh: bool) -> tuple[Run, bool]:
        prepared, parts = self._prepared, self._parts
        refuse_seen(parts.validation, self._namespace, self._store)
        held: dict[str, JSON] = {role: task_set_id(one.id for one in side) for role, side in self._held}
        settings = {"surface": "decisions", "question": self._asked.body, "seed": prepared.wanted.settings.seed, **held}
        settings["alpha"] = prepared.wanted.settings.gate_alpha
        parent = None if self._live.id == Prior().id else self._live.id
        self._store.add_tasks((*parts.train, *parts.validation, *parts.test))
        tasks = tuple(task.id for task in parts.train)
        wanted = Run("learn", self._namespace, self._asked.frame, settings, tasks, prepared.reward_name, parent)
        run, resumed = self._store.begin(wanted, fresh=fresh)
        for role, side in self._held:
            self._store.hold_out(run.id, role, [task.id for task in side])
        self._to.budget.carry([(self._asked.frame.model, self._store.spent(run.id))])
        return run, resumed

    @property
    def _held(self) -> tuple[tuple[Role, tuple[Task, ...]], ...]:
        sides: tuple[tuple[Role, tuple[Task, ...]], ...] = (
            ("validation", self._parts.validation),
            ("test", self._parts.test),
        )
        return tuple((role, tasks) for role, tasks in sides if tasks)

    async def _answers(self, run: Run, side: str) -> TaskAnswers:
        """What the model answers on a side of the tasks, under what the live prior says."""
        tasks = self._parts.train if side == "train" else self._parts.validation
        self._observer.stage(f"decisions, {side}", len(tasks))
        said = self._live if self._live.has_text else Prior()
        key, reward, landed = CallKey(run.id, f"decision {side}"), self._prepared.reward, self._observer.landed
        found = await ask_all(self._asked, tasks, said, reward, self._to.own, key=key, landed=landed)
        for group in found.groups(self._asked, said) if side == "train" else ():
            self._store.add_group(run.id, group)
        if found.losses:
            self._note(f"{side}: {found.losses}")
        return found

    def _note(self, line: str) -> None:
        self._notes.append(line)
        self._observer.note(line)

    def _candidate(self, fitted: Fitted) -> Prior | None:
        """The live prior with the offsets that were learned; None where that is nothing new."""
        if not fitted.kept:
            return None
        question = self._asked.question
        z = np.clip(fitted.offsets / np.maximum(fitted.deviations, _TINY), -_FURTHEST_Z, _FURTHEST_Z)
        entries = tuple(
            OptionOffset(option, offset, round(float(sure), 4), len(self._parts.train))
            for option, offset, sure in zip(question.options, fitted.offsets.tolist(), z.tolist(), strict=True)
        )
        learned = QuestionOffsets(question.kind, question.instructions, entries)
        others = tuple(entry for entry in self._live.questions if entry.id != learned.id)
        parent = None if self._live.id == Prior().id else self._live.id
        candidate = replace(self._live, questions=(*others, learned), parent=parent)
        return None if candidate.id == self._live.id else candidate

    async def _promoted(self, run: Run, candidate: Prior) -> Promotion:
        """What the gate makes of it, or what is made of it without one."""
        self._store.add_prior(candidate)
        if not self._parts.validation:
            return self._set(run, candidate, "ungated", "learned; no gate has tested it")
        self._set(run, candidate, "candidate", "learned; the gate is next")
        trial = self._store.begin_trial(self._trial(run, candidate))
        found = await self._answers(run, "validation")
        mine, theirs = (found.decided(offsets_in(prior, self._asked)) for prior in (candidate, self._live))
        outcome = offsets_outcome(mine, theirs, trial.level)
        pairs = {task.id: pair for task, *pair in zip(found.tasks, mine.tolist(), theirs.tolist(), strict=True)}
        rewards = {task: (pair[0], pair[1]) for task, pair in pairs.items()}
        self._store.add_pass(trial, Pass(1, 0.0, rewards, float(np.log(outcome.e_value))))
        self._store.end_trial(trial, outcome)
        state: PriorState = "live" if outcome.verdict == "promoted" else "rejected"
        return replace(self._set(run, candidate, state, outcome.reason), trial=replace(trial, outcome=outcome))

    def _trial(self, run: Run, candidate: Prior) -> GateTrial:
        settings = self._prepared.wanted.settings
        tasks = tuple(sorted(task.id for task in self._parts.validation))
        live = None if self._live.id == Prior().id else self._live.id
        return GateTrial(self._namespace, tasks, run.id, candidate.id, live, settings.gate_alpha, 1, settings.seed)

    def _set(self, run: Run, candidate: Prior, state: PriorState, why: str) -> Promotion:
        self._store.set_state(self._namespace, candidate.id, state, frame=self._asked.frame, run=run.id, why=why)
        return Promotion(state, why)
