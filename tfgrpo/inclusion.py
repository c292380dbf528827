"""Which experiences one attempt of a group is shown. Pure.

A balanced design rather than independent coins. An experience on trial is in the same number of a group's attempts
whatever luck has it, so that every group compares it; and one attempt of each group, the *control*, is shown none of
those on trial. With independent coins nearly no attempt would be without all of them (0.4% where eight are on trial at
one half), and what they do together could not be measured (`joint_effect.py`).
"""

from collections.abc import Collection, Sequence

from .hashing import coin, derive_seed
from .records import Experience
from .settings import Settings


def included(
    candidates: Sequence[Experience], kept: Collection[str], settings: Settings, *, task: str, step: int, sample: int
) -> tuple[Experience, ...]:
    """What the attempt `sample` (from 0) of a group is shown of the candidates, in their order.

    `kept` are the ids of those that were kept: each is shown with probability 1 - `settings.kept_exclusion`, in the
    control too. One on trial is in trial_inclusion * group_size attempts, rounded up or down at random. The hash of
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
        return sample in _samples(entry, settings, task, step)

    return tuple(entry for entry in candidates if shown(entry))


def _samples(entry: Experience, settings: Settings, task: str, step: int) -> list[int]:
    """The attempts of a group which are shown an experience on trial; the control is the last in line."""
    seed, size = settings.seed, settings.group_size
    control = derive_seed("control", seed, step, task) % size
    whole, rest = divmod(settings.trial_inclusion * size, 1)
    wanted = int(whole) + coin(rest, "round", seed, step, task, entry.id)
    in_line = sorted(range(size), key=lambda n: (n == control, derive_seed(seed, step, task, n, entry.id)))
    return in_line[:wanted]
