"""The reward `decisions:QUESTIONS.json`: questions of the decisions API about each rollout, answered in one call."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from ...errors import InputError, ModelError
from ...hashing import content_id
from ...model.questions import Question, option_shares, parse_questions
from ...model.upstream import Model, Upstream
from ...records import JSON, CallKey, Rollout, Task
from .matchers import in_text, right_answers, without_thinking
from .patience import Patience, patience_with
from .reward import BuiltInReward

_NAMED = "decisions:"


@dataclass(frozen=True, slots=True)
class QuestionsReward(BuiltInReward):
    """A Reward between 0 and 1: the mean of what its questions are answered.

    A predicate counts by its probability, a score by the mean place among its levels, from 0 for the first to 1 for the
    last; a choice by the probability of its first value. The feedback names what counted least.
    """

    name: str  # pyrefly: ignore[bad-override]  # read-only here, and nobody sets it
    questions: tuple[Question, ...]
    bodies: JSON
    """The questions' JSON."""
    asked: str = ""
    """The model that is asked; empty: the one that proposes experiences, or the model itself."""
    model: Model | None = None
    run: str = ""
    patience: Patience = field(default_factory=lambda: Patience("the model"), compare=False, repr=False)

    def with_model(self, model: Model, name: str, run: str) -> Self:
        """As the Protocol says."""
        asked = self.asked or name
        return replace(self, model=model, asked=asked, run=run, patience=patience_with(f"the model {asked}", model))

    def calls(self) -> int:
        """One for all questions."""
        return 1

    @property
    def asks_for_decisions(self) -> bool:
        """It does nothing else."""
        return True

    def check(self, task: Task) -> None:
        """Any task will do; the questions see its answer where it has one."""

    async def __call__(self, rollout: Rollout, /) -> tuple[float, str]:
        """Raises ModelError where no question is answered, InputError where there is no upstream to ask."""
        if not isinstance(self.model, Upstream):
            raise InputError(f"reward {self.name} asks an upstream for decisions, and there is none here")
        place = int(content_id("asked", rollout.text).rpartition("_")[2][:12], 16)
        body = {"model": self.asked, "input": _about(rollout), "questions": self.bodies}
        key = CallKey(self.run, "decisions", place, rollout.task.id)
        found = await self.patience.verdict(self.model.decide(body, key), key)
        worth = [_worth(question, answer) for question, answer in zip(self.questions, found.answers, strict=True)]
        asked = zip(worth, (question.instructions for question in self.questions), strict=True)
        known = [(value, words) for value, words in asked if value is not None]
        if not known:
            raise ModelError("no question about the rollout was answered")
        least, words = min(known, key=lambda one: one[0])
        return sum(value for value, _ in known) / len(known), f"{words} ({least:.2f})"


def _about(rollout: Rollout) -> str:
    right = " or ".join(map(in_text, right_answers(rollout.task.answer)))
    answer = f"\n\nKnown to be right: {right}" if right else ""
    return f"Task: {rollout.task.prompt}{answer}\n\nAnswer: {without_thinking(rollout.text)}"


def _worth(question: Question, answer: JSON) -> float | None:
    """What one answer counts; None for a refusal."""
    shares = option_shares(question, answer)
    if shares is None:
        return None
    if question.kind == "score":
        return sum(share * place for place, share in enumerate(shares)) / (len(shares) - 1)
    return shares[0]


def asks_questions(name: str) -> bool:
    """Whether a reward is named as questions in a file."""
    return name.startswith(_NAMED)


def questions_reward(name: str) -> QuestionsReward:
    """`decisions:FILE.json` or `decisions:FILE.json@MODEL`; raises InputError for a file that holds no questions."""
    path, _, model = name.removeprefix(_NAMED).partition("@")
    try:
        given = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from error
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"reward {name}: cannot read {path!r}: {getattr(error, 'strerror', None) or error}") from error
    if isinstance(given, dict):
        given = given.get("questions", [given])
    try:
        questions = parse_questions(given)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return QuestionsReward(name, questions, given, model)
