"""The reward `majority`: no right answer is known, so the commonest of a group counts as one."""

import re
from collections import Counter
from dataclasses import dataclass, replace

from ...errors import InputError
from ...records import Group, Rollout, Task
from .final import marks
from .latex import unformatted
from .matchers import normalised, readable
from .numeric import number_of
from .reward import BuiltInReward


@dataclass(frozen=True, slots=True)
class MajorityReward(BuiltInReward):
    """A Reward of 1 for the rollouts that give the commonest answer of their group, if two or more give it."""

    name = "majority"
    compares_group = True

    def __call__(self, rollout: Rollout, /) -> float:
        """Raises InputError: one rollout alone has no majority."""
        raise InputError("reward majority compares the rollouts of a group; it cannot score one alone")

    def check(self, task: Task) -> None:
        """Any task will do."""

    def of_group(self, group: Group) -> Group:
        """The group with its rewards; one that failed stays without."""
        answers = {rollout.sample: settled_answer(rollout.text) for rollout in group.rollouts if rollout.error is None}
        counts = Counter(answer for answer in answers.values() if answer)
        most = max(counts.values(), default=0)
        commonest = {answer for answer, count in counts.items() if count == most > 1}
        rollouts = tuple(
            rollout if rollout.error is not None else _voted(rollout, answers[rollout.sample], commonest, most)
            for rollout in group.rollouts
        )
        return replace(group, rollouts=rollouts)


def _voted(rollout: Rollout, answer: str, commonest: set[str], most: int) -> Rollout:
    if answer in commonest:
        return replace(rollout, reward=1.0, feedback=f"one of {most} with this answer")
    return replace(rollout, reward=0.0, feedback="another answer than most" if commonest else "no two answers agree")


def settled_answer(text: str) -> str:
    """What a text answers, in the form in which answers are counted; empty where it gives none."""
    said = readable(text)
    found = number_of(text)
    if found is not None and found.value is not None:
        return str(found.value)
    for mark in marks(said):
        lines = [line for line in unformatted(mark.text).split("\n") if re.search(r"\w", line)]
        if lines:
            return normalised(lines[0].strip(" *_:`\"'()[]{}$"))
    lines = [line for line in unformatted(said).split("\n") if line.strip()]
    return normalised(lines[-1].strip(" *_:`\"'()[]{}$")) if lines else ""
