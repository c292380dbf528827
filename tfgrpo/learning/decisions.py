"""Learning a question of the decisions API: what is said in its instructions, and offsets of its options on top.

What to say is raced (`decision_race.py`) where the namespace is this question's alone; else what its live prior says
stays. Offsets take one call a task, and take the place of those that are live for the same question. The gate decides
on held-out tasks: by the same answers for both arms where both say the same, else by one call a task more.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

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
from ..experiences.distil import Distiller, templates
from ..experiences.step_notes import StepNotes
from ..model.endpoints import Endpoints, Upstreams
from ..model.questions import storable
from ..observer import Observer, Watch
from ..records import JSON, CallKey, Frame, Prior, Run, Task
from ..rollouts.rewards.built_in import reward_of
from ..rollouts.rewards.reward import Reward
from ..settings import Settings
from ..store import Store
from ..tasks.fields import Fields
from ..tasks.read import TaskSource, tasks_of
from ..tasks.split import Sides, Splits
from ..trials import Role, task_set_id
from .decision_gate import DecisionGate
from .decision_race import Raced, SaidArm, arms_of, most_race_calls, race, said_now
from .decision_result import DecisionsLearned, candidate_of
from .plan import ending, refuse_seen

_RACING = ("demonstrations", "experiences", "ground_truth", "prior_tokens", "trial_experiences")
"""Settings that decide what races."""


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

    @property
    def most_calls(self) -> int:
        """The calls that it takes at most."""
        settings, teach, decide = self.wanted.settings, len(self.parts.train), len(self.parts.validation)
        return teach + most_race_calls(teach, settings) + decide * (2 if settings.race else 1)

    @contextmanager
    def started(self) -> "Iterator[PreparedDecisions]":
        """The same with the name of the model; starts the embedded one, and stops it on exit."""
        with asked_there(self.asked, self.endpoints) as (asked, there):
            yield replace(self, asked=asked, endpoints=there)

    async def learn(self, store: Store, watch: Watch, *, fresh: bool = False) -> DecisionsLearned:
        """Learn the offsets, and make them live if the gate says so; goes on where it was interrupted."""
        async with self.endpoints.opened(self.wanted.settings, store) as to:
            with watch(lambda: to.usage) as observer:
                return await _DecisionRun(self, store, to, observer).carried_out(fresh=fresh)


class _DecisionRun:
    """One run: begun or taken up, asked, fitted, tested and written down."""

    def __init__(self, prepared: PreparedDecisions, store: Store, to: Upstreams, observer: Observer) -> None:
        self._prepared, self._store, self._to, self._observer = prepared, store, to, observer
        self._asked, self._parts = prepared.asked, prepared.parts
        self._namespace = prepared.wanted.namespace
        live = store.live(self._namespace)
        self._live = live.prior if live else Prior()
        self._said = self._live if self._live.has_text else Prior()
        self._notes: list[str] = []

    async def carried_out(self, *, fresh: bool) -> DecisionsLearned:
        """What it came to, which is in the store too."""
        with self._store.only_learner(self._namespace):
            return await self._learned(fresh=fresh)

    async def _learned(self, *, fresh: bool) -> DecisionsLearned:
        run, resumed = self._begun(fresh=fresh)
        with ending(self._store, run):
            raced = await self._raced(run)
            fitted = raced.winner.fitted
            candidate = candidate_of(raced.winner, self._live, self._said, self._asked.question, len(self._parts.train))
            gate = DecisionGate(self._store, run, self._live, self._parts.validation, self._prepared.wanted.settings)
            promotion = await gate.promotion(candidate, partial(self._decided, run)) if candidate else None
            usage = self._store.spent(run.id)
            words, notes = self._asked.question.instructions, tuple(self._notes)
            learned = DecisionsLearned(run, resumed, fitted, candidate, promotion, usage, notes, words, raced)
        self._store.end(run.id, "finished", usage, learned.as_json())
        return learned

    def _begun(self, *, fresh: bool) -> tuple[Run, bool]:
        prepared, parts = self._prepared, self._parts
        refuse_seen(parts.validation, self._namespace, self._store)
        held: dict[str, JSON] = {role: task_set_id(one.id for one in side) for role, side in self._held}
        settings = {"surface": "decisions", "question": storable(self._asked.body)}
        settings |= {"seed": prepared.wanted.settings.seed, **held}
        settings["alpha"] = prepared.wanted.settings.gate_alpha
        settings |= self._racing
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
    def _racing(self) -> dict[str, JSON]:
        """What of the settings decides what races, where it is not as usual: with others it is another run."""
        settings, usual, distiller = self._prepared.wanted.settings, Settings(), self._prepared.endpoints.distiller
        if not settings.race:
            return {"race": False}
        others = {name: getattr(settings, name) for name in _RACING if getattr(settings, name) != getattr(usual, name)}
        return others | ({"distiller": distiller.model} if distiller.model else {})

    @property
    def _held(self) -> tuple[tuple[Role, tuple[Task, ...]], ...]:
        sides: tuple[tuple[Role, tuple[Task, ...]], ...] = (
            ("validation", self._parts.validation),
            ("test", self._parts.test),
        )
        return tuple((role, tasks) for role, tasks in sides if tasks)

    async def _answers(self, run: Run, side: str, said: Prior) -> TaskAnswers:
        """What the model answers on a side of the tasks, under what is said."""
        tasks = self._parts.train if side == "train" else self._parts.validation
        self._observer.stage(f"decisions, {side}", len(tasks))
        stage = f"decision {side}" if said.id == self._said.id else f"decision {side} {said.id}"
        found = await self._ask(run, stage, said, tasks)
        if side == "train":
            for group in found.groups(self._asked, said):
                self._store.add_group(run.id, group)
        if found.losses:
            self._note(f"{side}: {found.losses}")
        return found

    async def _ask(
        self, run: Run, stage: str, said: Prior, tasks: Sequence[Task], shown: Callable[[Task], Prior] | None = None
    ) -> TaskAnswers:
        key, reward, landed = CallKey(run.id, stage), self._prepared.reward, self._observer.landed
        return await ask_all(self._asked, tasks, said, reward, self._to.own, key=key, landed=landed, shown=shown)

    async def _raced(self, run: Run) -> Raced:
        """The race on what is said; one of what is said now alone where nothing else may be."""
        now, settings, tasks = said_now(self._said), self._prepared.wanted.settings, self._parts.train

        async def ask(arm: SaidArm, asked: Sequence[Task]) -> TaskAnswers:
            if arm is now:
                return await self._answers(run, "train", now.said)
            self._observer.stage(f"decisions, race: {arm.source}", len(asked))
            return await self._ask(run, f"decision race {arm.said.id}", arm.said, asked, arm.shown_on)

        async def arms() -> list[SaidArm]:
            if not (settings.race and self._may_race()):
                return []
            writer, notes = self._to.distiller or self._to.own, list[str]()
            name = self._prepared.endpoints.distiller.model or self._asked.frame.model
            distiller, log = Distiller(writer, name, run.id, settings, templates(None)), StepNotes(self._store, run.id)
            found = await arms_of(self._said, tasks, self._prepared.reward, distiller, log=log, notes=notes)
            for line in notes:
                self._note(line)
            return found

        found = await race(now, arms, tasks, ask, settings.seed)
        for line in found.notes:
            self._note(line)
        return found

    def _may_race(self) -> bool:
        """Whether what is said is for this question alone; why not is told."""
        live = self._live
        own = {entry.id for entry in live.questions} <= {self._asked.question.id}
        if own and not live.biases and (live.questions or not live.has_text):
            return True
        self._note(
            "no race: what namespace"
            f" {self._namespace} says reaches more than this question, and stays; --namespace NAME is one of its own"
        )
        return False

    def _note(self, line: str) -> None:
        self._notes.append(line)
        self._observer.note(line)

    async def _decided(self, run: Run, candidate: Prior) -> dict[str, tuple[float, float]]:
        """The rewards of what is decided under candidate and live, on each validation task that is answered under live.

        Where the model answers under the candidate no more, that is a reward of 0.
        """
        live = found = await self._answers(run, "validation", self._said)
        if _words(candidate) != _words(self._said):
            found = await self._answers(run, "validation", candidate)
        arms = []
        for prior, answers in ((candidate, found), (self._live, live)):
            decided = answers.decided(offsets_in(prior, self._asked)).tolist()
            arms.append({task.id: reward for task, reward in zip(answers.tasks, decided, strict=True)})
        return {task: (arms[0].get(task, 0.0), reward) for task, reward in arms[1].items()}


def _words(prior: Prior) -> str:
    """The same for priors that say the same in a question, whatever its offsets and token prior."""
    return replace(prior, questions=(), biases=(), tokenizer=None).id if prior.has_text else ""
