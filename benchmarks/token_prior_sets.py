"""The task sets of `token_prior`: four of our own, and one family of reasoning-gym.

`labels` are the demo's messages in the parts that they ship in; the others, in `data/` or made by reasoning-gym, are
divided by a hash of input and answer: 32 tasks to measure, 12 to try things out, 20 to learn from.

`fresh_parts` are for a check of what was chosen by results on those: tasks to measure that were not looked at before
(16 of `labels`, 32 of the others), and 20 to learn from, drawn anew for each seed from all other tasks of the set.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tfgrpo.demo import run as demo
from tfgrpo.hashing import derive_seed
from tfgrpo.records import Frame, Message, Rollout, Task
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.rollouts.rewards.reward import Reward
from tfgrpo.rollouts.rewards.verified import GymReward
from tfgrpo.tasks.read import read_tasks

DATA = Path(__file__).parent / "data"
TEST, VALIDATION, TRAIN = 32, 12, 20


@dataclass(frozen=True, slots=True)
class SetOfTasks:
    """One kind of task, and the request around it."""

    name: str
    source: str
    system: str
    max_tokens: int
    examples: tuple[tuple[str, str], ...] = ()
    """Worked examples that every request holds, as earlier turns."""
    why: str = ""
    fresh: str = ""
    """Source of the tasks that the check measures, where they are not those left over of the demo's."""

    @property
    def is_gym(self) -> bool:
        """Whether reasoning-gym makes and scores it."""
        return self.source.startswith("gym:")

    def frame(self, model: str) -> Frame:
        """The request frame, at the default temperature of rollouts."""
        return Frame(model, self.system, {"max_tokens": self.max_tokens})

    @property
    def reward(self) -> Reward:
        """What is learned from: the verifier's score, or half for containing the answer and half for being it."""
        return GymReward() if self.is_gym else graded

    def is_right(self, rollout: Rollout) -> bool:
        """What is measured: exact match, or a full score of the verifier."""
        return float((GymReward() if self.is_gym else EXACT)(rollout)) >= 1.0  # pyrefly: ignore[bad-argument-type]  # neither awaits


EXACT, CONTAINS = load_reward("exact"), load_reward("contains")


def graded(rollout: Rollout, /) -> float:
    """1 for an exact match, 0.5 for an answer that holds the right one among others."""
    return (float(EXACT(rollout)) + float(CONTAINS(rollout))) / 2  # pyrefly: ignore[bad-argument-type]  # neither awaits


SETS = (
    SetOfTasks(
        "labels",
        "",
        (demo.DATA / "system.txt").read_text(encoding="utf-8").strip(),
        8,
        why="messages to a shop's support, three queues; three worked examples",
    ),
    SetOfTasks(
        "format",
        str(DATA / "format.jsonl"),
        "Put the word in double quotes.",
        8,
        (("table", '"table"'),),
        "a word, to be written between double quotes; one worked example",
        str(DATA / "format-fresh.jsonl"),
    ),
    SetOfTasks(
        "extraction",
        str(DATA / "names.jsonl"),
        "Who is named in the sentence? Answer with one word.",
        6,
        (
            ("Yesterday Maria baked a cake for the school.", "Maria"),
            ("Our dentist plays chess with Nick.", "Nick"),
            ("Only Sandra heard the alarm.", "Sandra"),
        ),
        "the name in a sentence; three worked examples",
        str(DATA / "names-fresh.jsonl"),
    ),
    SetOfTasks(
        "gym:syllogism",
        "gym:syllogism?size=80&seed=1",
        "Answer with one word: Yes or No.",
        4,
        tuple(
            (
                f"Consider these statements:\n{given}\n\nDoes it logically follow that:\n{then}?\n(Answer Yes or No)",
                said,
            )
            for given, then, said in (
                ("1. All poets are singers\n2. All singers are dancers", "All poets are dancers", "Yes"),
                ("1. No boats are houses\n2. Some houses are barns", "All barns are boats", "No"),
            )
        ),
        "does a conclusion follow? its own verifier; two worked examples",
        "gym:syllogism?size=200&seed=2",
    ),
    SetOfTasks(
        "numbers",
        str(DATA / "numbers.jsonl"),
        "Give the number in the sentence, nothing else.",
        6,
        (("Tom has 5 apples.", "5"),),
        "the number in a sentence; one worked example",
    ),
    SetOfTasks(
        "sentiment",
        str(DATA / "sentiment.jsonl"),
        "Answer with one word: positive or negative.",
        4,
        (("I loved every minute.", "positive"), ("The soup was cold.", "negative")),
        "reviews, praise or complaint; two worked examples",
    ),
)


@dataclass(frozen=True, slots=True)
class Parts:
    """A set divided; no input is in two parts."""

    train: tuple[Task, ...]
    validation: tuple[Task, ...]
    test: tuple[Task, ...]


def parts(wanted: SetOfTasks) -> Parts:
    """The tasks of a set in hash order, with the worked examples before each."""
    if not wanted.source:
        train, validation, test = (_ordered(demo.part(name)) for name in ("train", "validation", "test"))
        return Parts(tuple(train[:TRAIN]), tuple(validation[:VALIDATION]), tuple(test[:TEST]))
    ordered = _ordered(_tasks(wanted.source))
    framed = [_framed(task, wanted) for task in ordered[: TEST + VALIDATION + TRAIN]]
    return Parts(tuple(framed[TEST + VALIDATION :]), tuple(framed[TEST : TEST + VALIDATION]), tuple(framed[:TEST]))


def fresh_parts(wanted: SetOfTasks, seed: int) -> Parts:
    """The parts of the check, with nothing to try things out; ValueError for a set that has none."""
    if not wanted.source:
        test = _ordered(demo.part("test"))[TEST:]
        others = [*demo.part("train"), *demo.part("validation")]
    elif wanted.fresh:
        unseen = _ordered(_tasks(wanted.fresh))
        test, others = unseen[:TEST], [*unseen[TEST:], *_tasks(wanted.source)]
    else:
        raise ValueError(f"{wanted.name} has no tasks kept for the check")
    measured = {task.prompt for task in test}
    pool = [task for task in _ordered(others) if task.prompt not in measured]
    drawn = sorted(pool, key=lambda task: (derive_seed("token prior", seed, task.prompt), task.id))[:TRAIN]
    return Parts(tuple(_framed(task, wanted) for task in drawn), (), tuple(_framed(task, wanted) for task in test))


@lru_cache
def _tasks(source: str) -> tuple[Task, ...]:
    """The tasks of a source; reasoning-gym takes seconds to make them."""
    return tuple(read_tasks(source).tasks)


def _ordered(tasks: Iterable[Task]) -> list[Task]:
    """By a hash of input and answer, each input once."""
    found = {task.prompt: task for task in tasks}.values()
    return sorted(found, key=lambda task: (derive_seed("token prior", task.prompt, task.answer), task.id))


def turns(pairs: tuple[tuple[str, str], ...]) -> tuple[Message, ...]:
    """Worked examples as chat messages."""
    return tuple(
        {"role": role, "content": text}
        for question, answer in pairs
        for role, text in (("user", question), ("assistant", answer))
    )


def _framed(task: Task, wanted: SetOfTasks) -> Task:
    if not wanted.examples:
        return task
    return Task((*turns(wanted.examples), *task.messages), task.answer, task.metadata)
