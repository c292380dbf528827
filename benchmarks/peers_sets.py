"""The task sets of `peers`: eleven kinds of work, none of which anything here was tuned to but for `labels`.

Six are read from what the repository holds (or from reasoning-gym), five are made by `peers_made`. What a task wants is
said as a hurried user would say it: the house's own convention stands in the answers alone. Which tasks are learned
from and which are measured is drawn anew for each seed; no input is on both sides.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfgrpo.demo import run as demo
from tfgrpo.errors import InputError
from tfgrpo.hashing import canonical, derive_seed
from tfgrpo.records import JSON, Frame, Task, message_text
from tfgrpo.rollouts.agents import Agent, FunctionAgent
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.rollouts.rewards.reward import Reward
from tfgrpo.tasks.read import read_tasks

from .conventions import CONVENTIONS
from .peers_made import components, ids, keep_or_drop, money, more_facts

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class PeerSet:
    """One kind of task, and the request around it."""

    name: str
    pool: Callable[[], Iterable[Task]]
    """All its tasks; raises InputError where they cannot be had."""
    system: str | None
    request: Mapping[str, JSON] = field(default_factory=dict)
    reward_name: str = "exact"
    agent: Agent | None = None
    calls_each: int = 1
    """Model calls that one rollout takes."""

    @property
    def reward(self) -> Reward:
        """What is learned from and what is measured."""
        return load_reward(self.reward_name)

    def frame(self, model: str) -> Frame:
        """The request frame, at the default temperature of rollouts."""
        return Frame(model, self.system, self.request)


@dataclass(frozen=True, slots=True)
class Parts:
    """A set divided for one seed."""

    train: tuple[Task, ...]
    held_out: tuple[Task, ...]


FEW = 3
"""Tasks an answer, on average at least, for answers to be labels: then both sides hold their share of each."""


def parts(wanted: PeerSet, seed: int, training: int, held_out: int) -> Parts:
    """So many tasks to learn from and to measure, drawn by hash; InputError where the set has too few.

    Each side gets its share of each label, as the product's own split deals: from one small pool, whoever learns which
    label is frequent on one side would pay for it on the other.
    """
    distinct = {task.prompt: task for task in wanted.pool()}.values()
    if len(distinct) < training + held_out:
        raise InputError(f"set {wanted.name} has {len(distinct)} tasks; {training} and {held_out} were asked for")
    drawn = sorted(distinct, key=lambda task: (derive_seed("peers", wanted.name, seed, task.prompt), task.id))
    labels = Counter(canonical(task.answer) for task in drawn)
    if FEW * len(labels) <= len(drawn):
        drawn = _in_turns(drawn, labels)
    return Parts(tuple(drawn[held_out : held_out + training]), tuple(drawn[:held_out]))


def _in_turns(drawn: Iterable[Task], labels: Mapping[str, int]) -> list[Task]:
    """The labels take turns in proportion to their tasks."""
    met = Counter[str]()
    places: list[tuple[float, Task]] = []
    for task in drawn:
        label = canonical(task.answer)
        places.append(((met[label] + 0.5) / labels[label], task))
        met[label] += 1
    return [task for _, task in sorted(places, key=lambda place: place[0])]


async def count_in_two_calls(client: Any, task: Task) -> str:
    """An agent: finds the number that a sentence tells, then fills in a form with it."""

    async def ask(system: str, text: str) -> str:
        turns = [{"role": "system", "content": system}, {"role": "user", "content": text}]
        made = await client.chat.completions.create(model="default", messages=turns, max_tokens=8)
        return str(made.choices[0].message.content or "").strip()

    found = await ask("Which number is in the sentence?", task.prompt)
    return await ask("Fill in the form.", f"{task.prompt}\nNumber: {found}")


def _file(*names: str) -> Iterable[Task]:
    return [task for name in names for task in read_tasks(str(DATA / name)).tasks]


def _routing() -> Iterable[Task]:
    """The demo's messages without its worked examples, which a learner must find by itself."""
    given = [task for name in ("train", "validation", "test") for task in demo.part(name)]
    return [Task(message_text(task.messages[-1]), task.answer) for task in given]


def _reviews() -> Iterable[Task]:
    called = {"positive": "PRAISE", "negative": "COMPLAINT"}
    more = [Task(task.input, called[str(task.answer)]) for task in _file("sentiment.jsonl")]
    return [*CONVENTIONS["reviews"].tasks, *more]


def _forms() -> Iterable[Task]:
    return [Task(task.input, f"qty={task.answer}") for task in _file("numbers.jsonl")]


def _short(tokens: int) -> Mapping[str, JSON]:
    return {"max_tokens": tokens}


SETS: Mapping[str, PeerSet] = {
    one.name: one
    for one in (
        PeerSet("id", ids, "Normalise the reference.", _short(16)),
        PeerSet("labels", _routing, demo.demo_frame("").system, _short(8)),
        PeerSet("keep-drop", keep_or_drop, "Keep it or drop it?", _short(6)),
        PeerSet("money", money, "Write the amount as our house does.", _short(16)),
        PeerSet("components", components, "Which component of the program is it?", _short(8)),
        PeerSet("reviews", _reviews, CONVENTIONS["reviews"].system, _short(8)),
        PeerSet("facts", lambda: [*CONVENTIONS["facts"].tasks, *more_facts()], CONVENTIONS["facts"].system, _short(8)),
        PeerSet("format", lambda: _file("format.jsonl", "format-fresh.jsonl"), "Quote the word.", _short(8)),
        PeerSet("extraction", lambda: _file("names.jsonl", "names-fresh.jsonl"), "Who is named?", _short(8)),
        PeerSet(
            "gym",
            lambda: read_tasks("gym:syllogism?size=100&seed=13").tasks,
            "Answer with one word.",
            _short(6),
            "gym",
        ),
        PeerSet("agent", _forms, None, agent=FunctionAgent(count_in_two_calls), calls_each=2),
    )
}
