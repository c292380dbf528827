"""The pool of an amplification: the answers of a round, of which the next one is shown some by their weight. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Literal, TypeAlias

from ..hashing import coin, derive_seed
from ..records import Demonstration, Prior, Rollout, Task, Variant
from ..rollouts.group import Under, shaped
from ..settings import FLAT, Settings
from ..surfaces.chat import token_estimate
from ..text import counted
from .variants import Arm, as_prior, asked_in, shared_messages

SHOWN_ANSWERS = 4
"""Demonstrations that a rollout is shown."""
Length: TypeAlias = Literal["long", "short"]
LENGTHS: tuple[Length, ...] = ("long", "short")


@dataclass(frozen=True, slots=True)
class PooledAnswer:
    """An answer of a round."""

    rollout: Rollout
    kind: Length
    weight: float
    """0: it is never shown."""


@dataclass(frozen=True, slots=True)
class AnswerPool:
    """The answers of a round, of which the next one is shown some."""

    entries: Sequence[PooledAnswer]
    tasks: Sequence[Task]
    settings: Settings

    @property
    def long(self) -> float | None:
        """Share of its weight that is of long answers; None where nothing has any."""
        total = sum(entry.weight for entry in self.entries)
        return sum(entry.weight for entry in self.entries if entry.kind == "long") / total if total else None

    def dealing(self, number: int) -> Callable[[Task, int], Under]:
        """What each sample of a task is made under in a round."""
        arms, share, seed = {kind: self._arm(kind, number) for kind in LENGTHS}, self.long or 0.0, self.settings.seed

        def under(task: Task, sample: int) -> Under:
            arm = arms["long" if coin(share, seed, "amplify", number, task.id, sample) else "short"]
            return Under(as_prior(arm.shown_on(task)), arm.variant.id) if arm else Under(Prior())

        return under

    def kinds(self, number: int) -> Mapping[str, Length]:
        """By id, which kind the variants show that a round is dealt."""
        return {arm.variant.id: kind for kind in LENGTHS if (arm := self._arm(kind, number))}

    def favoured(self, number: int) -> Variant | None:
        """What a round would show of the heavier kind."""
        arm = self._arm("long" if (self.long or 0.0) >= 1 / 2 else "short", number)
        return arm.variant if arm else None

    def _arm(self, kind: Length, number: int) -> Arm | None:
        """The demonstrations of a kind in a round, of different tasks, drawn by weight."""
        shared, seed = shared_messages(self.tasks), self.settings.seed

        def turn(entry: PooledAnswer) -> float:
            drawn = derive_seed(seed, "pool", number, entry.rollout.task.id, entry.rollout.sample)
            return -log((1 + drawn) / 2**31) / entry.weight

        found: dict[str, Demonstration] = {}
        for entry in sorted((one for one in self.entries if one.kind == kind and one.weight > 0), key=turn):
            task = entry.rollout.task
            found.setdefault(task.id, Demonstration(asked_in(task, shared), entry.rollout.text.strip(), task.id))
        shown = [*found.values()][: SHOWN_ANSWERS + 1]
        source = counted(len(shown[:SHOWN_ANSWERS]), f"{kind} verified answer")
        reserve = shown[SHOWN_ANSWERS] if len(shown) > SHOWN_ANSWERS else None
        return Arm(Variant(None, tuple(shown[:SHOWN_ANSWERS]), source=source), 0, reserve) if shown else None


def answer_length(rollout: Rollout) -> int:
    """Tokens of an answer."""
    return rollout.usage.completion_tokens or token_estimate(rollout.text)


def parting_length(made: Sequence[Rollout]) -> float:
    """The length that parts whole answers into short and long ones so that both vary least (Otsu's bound).

    Halfway between two lengths that occur; where all answers are of one length it is that one. Their mean may fall in
    the midst of the most common kind: a model of 0.5B answers sums in 4, 24 or 70 tokens, and in 24 on average.
    """
    whole = [one for one in made if one.finish_reason != "length"]
    lengths = sorted(map(answer_length, whole or made))
    total, before = sum(lengths), 0
    best, bound = 0.0, float(lengths[-1]) if lengths else 0.0
    for count, (length, following) in enumerate(pairwise(lengths), start=1):
        before, others = before + length, len(lengths) - count
        apart = count * others * ((total - before) / others - before / count) ** 2
        if length < following and apart > best:
            best, bound = apart, (length + following) / 2
    return bound


def earned_all(rollout: Rollout) -> bool:
    """Whether it earned the full reward."""
    return (rollout.reward or 0.0) >= 1 - FLAT


def pooled(rollout: Rollout, bound: float, settings: Settings, verified: bool) -> PooledAnswer:
    """The answer in the pool: one that is cut off or empty is never shown, and, where it is verified, no wrong one."""
    kind: Length = "long" if answer_length(rollout) > bound else "short"
    whole = rollout.finish_reason != "length" and bool(rollout.text.strip())
    if not verified:
        return PooledAnswer(rollout, kind, float(whole))
    return PooledAnswer(
        rollout, kind, (shaped(rollout, settings).reward or 0.0) if whole and earned_all(rollout) else 0.0
    )
