"""How much better a prior decides: its offsets, and what it says in the question, against the frozen model.

Offsets need no call of their own: the frozen answers are weighed anew. A prior that says something is asked for once
more under what it says.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..model.endpoints import Endpoints, Upstreams
from ..model.questions import storable
from ..observer import Observer, Watch
from ..records import CallKey, Prior, QuestionOffsets, Rollout, Run, Snapshot, Task
from ..rollouts.rewards.built_in import reward_of
from ..rollouts.rewards.reward import Reward
from ..settings import Settings
from ..store import Store
from ..surfaces.decided import unseen_notice
from ..tasks.fields import Fields
from ..tasks.read import TaskSource, tasks_of
from .answered import (
    AskedQuestion,
    TaskAnswers,
    ask_all,
    asked_there,
    offsets_in,
    question_file,
    tasks_with_options,
)
from .arms import Evaluation, best_constant
from .difference import paired_difference
from .held_out import HeldOut, held_out
from .wanted import snapshot_to_measure

if TYPE_CHECKING:
    from ..model.budget import Budget


@dataclass(frozen=True, slots=True)
class WantedDecisionEvaluation:
    """What is to be measured, as it was said; nothing of it is read yet."""

    question: str
    """A file."""
    tasks: TaskSource
    endpoints: Endpoints
    reward: str | Reward | None = None
    namespace: str = "default"
    prior: str | None = None
    settings: Settings = field(default_factory=Settings)
    fields: Fields = field(default_factory=Fields)
    """Which fields of the tasks are what, where their names do not say it."""

    def prepared(self, store: Store) -> "PreparedDecisionEvaluation":
        """All of it, read and checked; raises InputError for what could not be measured."""
        question, body = question_file(self.question)
        snapshot = snapshot_to_measure(store, self.namespace, self.prior)
        reward, name = reward_of(self.reward, self.tasks)
        left = held_out(
            tasks_with_options(tasks_of(self.tasks, fields=self.fields).tasks, question, reward), store, self.namespace
        )
        own = self.endpoints.own
        model = own.model or (None if own.is_local else snapshot.frame.model)
        endpoints = replace(self.endpoints, own=replace(own, model=model))
        asked = AskedQuestion(question, body, snapshot.frame)
        return PreparedDecisionEvaluation(self, asked, snapshot, reward, name, left, endpoints)


@dataclass(frozen=True, slots=True)
class PreparedDecisionEvaluation:
    """What was checked, and the model that is asked."""

    wanted: WantedDecisionEvaluation
    asked: AskedQuestion
    snapshot: Snapshot
    reward: Reward
    reward_name: str
    left: HeldOut
    endpoints: Endpoints

    @contextmanager
    def started(self) -> "Iterator[PreparedDecisionEvaluation]":
        """The same with the name of the model; starts the embedded one, and stops it on exit."""
        with asked_there(self.asked, self.endpoints) as (asked, there):
            yield replace(self, asked=asked, endpoints=there)

    async def measure(self, store: Store, watch: Watch, budget: "Budget | None" = None) -> Evaluation:
        """Frozen and learned, once the model is started; goes on where it was interrupted.

        A budget that is given is that of several evaluations together.
        """
        async with self.endpoints.opened(self.wanted.settings, store, budget) as to:
            with watch(lambda: to.usage) as observer:
                for line in self.left.notes:
                    observer.note(line)
                return await self._measured(store, to, observer)

    async def _measured(self, store: Store, to: Upstreams, observer: Observer) -> Evaluation:
        prior, tasks = self.snapshot.prior, self.left.tasks
        entry = next((one for one in prior.questions if one.id == self.asked.question.id), None)
        if entry is None:
            observer.note("the prior has no offsets for this question; other words are another question")
        elif unseen := self._unseen(entry):
            observer.note(unseen_notice(unseen))
        if self.asked.frame.model != self.snapshot.frame.model and prior.questions:
            learned_on, model = self.snapshot.frame.model, self.asked.frame.model
            observer.note(
                f"the offsets were learned on {learned_on}: clients leave them out for {model}; learn its own"
            )
        store.add_tasks(tasks)
        store.add_prior(prior)
        settings = {"surface": "decisions", "question": storable(self.asked.body)}
        ids = tuple(task.id for task in tasks)
        run, _ = store.begin(
            Run("eval", self.wanted.namespace, self.asked.frame, settings, ids, self.reward_name, prior.id)
        )
        for split, count in self.left.opened.items():
            store.open_test(run.id, split, count)
        frozen = await self._answers(run, to, observer, "frozen", Prior())
        told = await self._answers(run, to, observer, "learned", prior) if prior.has_text else frozen
        found = await self._compared(frozen, told)
        store.end(run.id, "finished", store.spent(run.id), found.as_json())
        return found

    def _unseen(self, entry: QuestionOffsets) -> list[str]:
        """Options of the question for which the prior has no offset."""
        known = {(type(one.option), one.option) for one in entry.offsets}
        return [str(option) for option in self.asked.question.options if (type(option), option) not in known]

    async def _answers(self, run: Run, to: Upstreams, observer: Observer, arm: str, prior: Prior) -> TaskAnswers:
        key, tasks = CallKey(run.id, f"eval decision {arm}"), self.left.tasks
        observer.stage(f"decisions, {arm}", len(tasks))
        return await ask_all(self.asked, tasks, prior, self.reward, to.own, key=key, landed=observer.landed)

    async def _compared(self, frozen: TaskAnswers, told: TaskAnswers) -> Evaluation:
        """The figures on the tasks that were answered under both arms."""
        none = np.zeros(len(self.asked.question.options))
        arms = {
            "frozen": _by_task(frozen, none),
            "learned": _by_task(told, offsets_in(self.snapshot.prior, self.asked)),
        }
        shared = [task for task in self.left.tasks if all(task.id in arm for arm in arms.values())]
        if not shared:
            raise InputError(f"no task was answered: {frozen.losses or told.losses or 'there is none'}")
        rewards = {arm: np.array([found[task.id] for task in shared]) for arm, found in arms.items()}
        constant = await best_constant(shared, self.reward)
        gain = paired_difference(rewards["learned"] - rewards["frozen"])
        return Evaluation(
            tasks=len(shared),
            repeats=1,
            means={arm: float(found.mean()) for arm, found in rewards.items()},
            pass_at_k={arm: float((found > 1 - 1e-9).mean()) for arm, found in rewards.items()},
            differences={"learned - frozen": gain},
            constant=constant[0] if constant else None,
            constant_mean=constant[1] if constant else None,
            lost_tasks=len(self.left.tasks) - len(shared),
            failed=frozen.failed + (0 if told is frozen else told.failed),
            first_error=frozen.first_error or told.first_error,
            rollouts={arm: tuple(_rollouts(shared, found)) for arm, found in arms.items()},
        )


def _by_task(found: TaskAnswers, offsets: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> dict[str, float]:
    """The reward of what is decided on each task, by its id."""
    return {task.id: reward for task, reward in zip(found.tasks, found.decided(offsets).tolist(), strict=True)}


def _rollouts(tasks: list[Task], rewards: dict[str, float]) -> Iterator[Rollout]:
    yield from (Rollout(task, 0, 0, "", messages=task.messages, reward=rewards[task.id]) for task in tasks)
