"""Where answers repeat: what a candidate says to which label, and when it has merely learned to say one of them. Pure.

A prior may look better and have collapsed: it answers nearly always with one label, never rightly with another, and a
constant answer would do as well. So the verdict shows, beside the effect, the best constant answer, the recall of each
label under both priors, and what was answered instead; and what is no better than a constant, or has lost a label that
the live prior had, does not go live unless a person says so.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..hashing import canonical
from ..records import JSON, Task
from ..rollouts.rewards.matchers import normalised
from ..text import shortened
from ..trials import Pass

_ENOUGH = 10
"""Rollouts of a label, none of them right, that are no bad luck."""
_NONE = 0.005
"""A recall below this is none: where answers are listed, some chance of a right one is always left."""
_SETTLED = 4
"""Passes after which a mean below the best constant's is no bad luck."""
OTHER = "(other)"
"""What is answered beside the labels."""
WAIVED = "--allow-collapse lets it go live"


@dataclass(frozen=True, slots=True)
class Objection:
    """What speaks against a candidate however much better it is than the live prior."""

    why: str
    settled: bool
    """More passes would hardly change it."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What both priors answered to tasks of which several have the same answer."""

    constant: str | None
    """The one answer that would score best; None where that is not known."""
    constant_mean: float
    means: tuple[float, float]
    """Mean reward of the candidate and of the live prior, over all tasks."""
    recalls: Mapping[str, tuple[float, float]]
    """Mean reward at the tasks of each label, of both."""
    rollouts: Mapping[str, int]
    """Behind each recall."""
    passes: int
    said: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    """By label of the task and answer given, how often each of both answered so."""

    def as_json(self) -> dict[str, JSON]:
        """For the store and for programs."""
        return {
            "constant": self.constant,
            "constant_mean": self.constant_mean,
            "means": list(self.means),
            "recalls": {label: list(pair) for label, pair in self.recalls.items()},
            "said": {label: {text: list(pair) for text, pair in row.items()} for label, row in self.said.items()},
        }

    @property
    def objection(self) -> Objection | None:
        """That it is no better than a constant answer, or that it has lost a label; None where neither is so."""
        if self.constant is not None and self.means[0] <= self.constant_mean:
            always = f"always {shortened(self.constant, 40)!r} would score {100 * self.constant_mean:.0f}"
            why = f"it is not above the best constant answer ({always}, it scores {100 * self.means[0]:.0f}; {WAIVED})"
            return Objection(why, self.passes >= _SETTLED)
        lost = [label for label, (candidate, live) in self.recalls.items() if candidate < _NONE <= live]
        if not lost:
            return None
        named = ", ".join(
            f"{shortened(label, 40)!r} (the live prior {100 * self.recalls[label][1]:.0f}%)" for label in lost
        )
        return Objection(
            f"it is never right on {named}; {WAIVED}", any(self.rollouts[label] >= _ENOUGH for label in lost)
        )

    def __str__(self) -> str:
        """One line for people."""
        told = ", ".join(
            f"{shortened(label, 40)} {100 * candidate:.0f} ({100 * live:.0f})"
            for label, (candidate, live) in self.recalls.items()
        )
        best = "" if self.constant is None else f"; best constant answer {100 * self.constant_mean:.0f}"
        return f"recall in percent, live prior's in brackets: {told}{best}"


def labels_of(tasks: Sequence[Task]) -> dict[str, str]:
    """The label of each task by its id: its answer, where another task has the same one."""
    given = {task.id: task.answer for task in tasks if isinstance(task.answer, str | int | float)}
    texts = {task: answer if isinstance(answer, str) else canonical(answer) for task, answer in given.items()}
    counts = Counter(texts.values())
    return {task: text for task, text in texts.items() if counts[text] > 1}


def label_table(tasks: Sequence[Task], passes: Sequence[Pass], constant: tuple[str, float] | None) -> Labels | None:
    """What the passes so far show of labels; None where no answer repeats, or nothing was scored."""
    labels = labels_of(tasks)
    scored = [
        (task, pair, made.answers.get(task))
        for made in passes
        for task, pair in made.rewards.items()
        if None not in pair
    ]
    if not labels or not scored:
        return None
    rewards: dict[str, list[tuple[float, float]]] = {label: [] for label in sorted(set(labels.values()))}
    said: dict[str, Counter[tuple[int, str]]] = {label: Counter() for label in rewards}
    names = {normalised(label): label for label in rewards}
    for task, (candidate, live), answers in scored:
        if label := labels.get(task):
            rewards[label].append((candidate or 0.0, live or 0.0))
            for arm, text in enumerate(answers or ()):
                said[label][arm, names.get(text, OTHER)] += 1
    everything = [(candidate or 0.0, live or 0.0) for _, (candidate, live), _ in scored]
    return Labels(
        constant[0] if constant else None,
        constant[1] if constant else 0.0,
        _means(everything),
        {label: _means(pairs) for label, pairs in rewards.items() if pairs},
        {label: len(pairs) for label, pairs in rewards.items()},
        len(passes),
        {label: {text: (row[0, text], row[1, text]) for _, text in sorted(row)} for label, row in said.items() if row},
    )


def _means(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(one for one, _ in pairs) / len(pairs), sum(other for _, other in pairs) / len(pairs)
