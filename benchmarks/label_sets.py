"""Four label sets of different texts, for benchmarks of decisions: divided anew for each seed, no text on both sides.

They are pools of `peers_sets`; each has a question, as the decisions API takes it, and as a chat's system prompt. Their
labels are words of one token (of SmolLM2 and of Qwen2.5), so that with one token an answer, all answers can be listed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tfgrpo.records import Task

from .peers_sets import SETS, parts

QUESTIONS = {
    "labels": "Which topic is the support message about?",
    "reviews": "Is the guest's review good or bad?",
    "facts": "Answer the question.",
    "components": "Which part of the program is the report about?",
}
_WORDS = {
    "PRAISE": "good", "COMPLAINT": "bad", "inkwell": "text", "ferry": "sync", "lantern": "search", "porter": "account",
}  # fmt: skip
"""Other names for some labels."""
TRAIN, HELD = 32, 32


@dataclass(frozen=True, slots=True)
class LabelTasks:
    """One set for one seed."""

    name: str
    seed: int
    labels: tuple[str, ...]
    train: Sequence[Task]
    held: Sequence[Task]

    @property
    def question(self) -> dict[str, Any]:
        """As the decisions API takes it."""
        choices = [{"value": label} for label in self.labels]
        return {"type": "choice", "instructions": QUESTIONS[self.name], "choices": choices}

    @property
    def system(self) -> str:
        """As a chat is told it."""
        return f"{QUESTIONS[self.name]} Answer with one word: {', '.join(self.labels)}."


def label_tasks(name: str, seed: int, train: int = TRAIN, held: int = HELD) -> LabelTasks:
    """A set with so many tasks that teach and so many that are held out."""
    pool = SETS[name]
    found = parts(pool, seed, train, held)
    labels = tuple(sorted({_named(task).answer for task in pool.pool()}))
    return LabelTasks(name, seed, labels, *(tuple(map(_named, side)) for side in (found.train, found.held_out)))


def _named(task: Task) -> Task:
    return replace(task, answer=_WORDS.get(str(task.answer), str(task.answer)))
