"""Which experiences one rollout of a group is shown. Pure.

A balanced design rather than independent coins. An experience on trial is in the same number of a group's rollouts
whatever luck has it, so that every group compares it; and one rollout of each group, the *control*, is shown none of
those on trial (but in groups of fewer than `SMALLEST`, and where their share leaves no rollout out). With independent
coins nearly no rollout would be without all of them (0.4% where eight are on trial at one half), and what they do
together could not be measured (`joint.py`).
"""

from collections.abc import Collection, Sequence
from functools import lru_cache

from ..hashing import coin, derive_seed
from ..records import Experience
from ..settings import Settings

SMALLEST = 4
"""Rollouts of a group with a control. With one of two as the control, the other would be shown all that is on trial,
and no effect could be told from another."""


def included(
    candidates: Sequence[Experience], kept: Collection[str], settings: Settings, *, task: str, step: int, sample: int
) -> tuple[Experience, ...]:
    """What the rollout `sample` (from 0) of a group is shown of the candidates, in their order.

    `kept` are the ids of those that were kept: each is shown with probability 1 - `settings.kept_exclusion`, in the
    control too. One on trial is in trial_inclusion * group_size rollouts, rounded up or down at random. The hash of
    (seed, step, task, sample, experience) decides, so what else is a candidate changes nothing. All are shown under the
    recipe `paper`; a demonstration never is on its source task.
    """

    def shown(entry: Experience) -> bool:
        if entry.kind == "demonstration" and task in entry.origin.tasks:
            return False
        if settings.recipe == "paper":
            return True
        if entry.id in kept:
            return coin(1 - settings.kept_exclusion, settings.seed, step, task, sample, entry.id)
        return sample in _samples(entry.id, (settings.seed, step, task), settings.group_size, settings.trial_inclusion)

    return tuple(entry for entry in candidates if shown(entry))


@lru_cache(maxsize=4_096)  # every rollout of a group asks for the same
def _samples(experience: str, group: tuple[int, int, str], size: int, share: float) -> frozenset[int]:
    """The rollouts of a group, which is (seed, step, task), that are shown an experience on trial.

    The control is the last in line; a group of fewer than `SMALLEST` has none.
    """
    control = derive_seed("control", *group) % size if size >= SMALLEST else None
    whole, rest = divmod(share * size, 1)
    wanted = int(whole) + coin(rest, "round", *group, experience)
    in_line = sorted(range(size), key=lambda sample: (sample == control, derive_seed(*group, sample, experience)))
    return frozenset(in_line[:wanted])
