"""What each rollout of a group is dealt: the experiences that it is shown, and its arm of the race. Pure.

A balanced design rather than independent coins. An experience on trial is in the same number of a group's rollouts
whatever luck has it, so that every group compares it; and one rollout of each group, the *control*, is shown none of
those on trial (but in groups of fewer than `SMALLEST`, and where their share leaves no rollout out). With independent
coins nearly no rollout would be without all of them (0.4% where eight are on trial at one half), and what they do
together could not be measured (`credit.py`).

Arms of the race are dealt by hash alone in the same spirit. Over the groups of a step every arm gets its share of the
rollouts as exactly as whole numbers allow, and so it does within each group, which therefore has as many different arms
as the shares allow. Where there are more arms than places, those that have met least in groups meet next, for only arms
that meet are compared.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
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


_PARTS = 1_000_000
"""Shares are taken as whole numbers of these parts, so that all machines deal alike."""


def dealt(
    arms: Iterable[str],
    shares: Mapping[str, float] | None = None,
    *,
    seed: int,
    step: int,
    tasks: Collection[str],
    size: int,
) -> dict[str, tuple[str, ...]]:
    """The arm of each of the `size` rollouts, in order of sample, for each of the tasks (ids) of a step or of a round.

    `shares` are weights of any scale, at least 0 and for one arm above 0; None: all alike. Neither the order of arms
    nor that of tasks matters. Raises ValueError where no arm has a share.
    """
    if not tasks:
        return {}
    deal = derive_seed("deal", seed, step, sorted(set(tasks)))
    names, places = _by_hash(arms, deal), _by_hash(tasks, deal)
    parts = [round(shares.get(arm, 0.0) * _PARTS) if shares else 1 for arm in names]
    groups = _groups(_apportioned(parts, len(places) * size), len(places), size)
    return {
        task: tuple(names[arm] for arm in _shuffled(group, deal, task))
        for task, group in zip(places, groups, strict=True)
    }


def rounds(tasks: Iterable[str], count: int, *, seed: int, step: int) -> tuple[tuple[str, ...], ...]:
    """The tasks of a step divided into at most `count` rounds of as many tasks each, by hash: no round is empty."""
    ordered = _by_hash(tasks, derive_seed("rounds", seed, step))
    return tuple(tuple(ordered[first::count]) for first in range(min(count, len(ordered))))


def _by_hash(names: Iterable[str], deal: int) -> list[str]:
    return sorted(set(names), key=lambda name: (derive_seed(deal, name), name))


def _shuffled(group: Sequence[int], deal: int, task: str) -> list[int]:
    """A group's arms in order of sample, since places in a group differ (the control of `dealing.py`)."""
    order = sorted(range(len(group)), key=lambda place: (derive_seed(deal, task, place), place))
    return [group[place] for place in order]


def _apportioned(parts: Sequence[int], total: int) -> list[int]:
    """The total divided by largest remainders, in proportion to the parts; ties go to the first."""
    whole = sum(parts)
    if whole <= 0:
        raise ValueError("no arm of the race has a share of the rollouts")
    quotas = [part * total // whole for part in parts]
    by_rest = sorted(range(len(parts)), key=lambda arm: -(parts[arm] * total % whole))
    for arm in by_rest[: total - sum(quotas)]:
        quotas[arm] += 1
    return quotas


def _groups(quotas: Sequence[int], groups: int, size: int) -> list[list[int]]:
    """Arms by number for each group, so that arm a is in quotas[a] / groups places of each, rounded up or down.

    Of those that may be rounded up, whoever would not reach its quota otherwise comes first, then who is behind most,
    then who has met the group's arms least.
    """
    certain = [arm for arm, quota in enumerate(quotas) for _ in range(quota // groups)]
    extra = [quota % groups for quota in quotas]
    given, met = [0] * len(quotas), Counter[tuple[int, int]]()
    dealt_groups = []
    for number in range(groups):
        group, left = list(certain), {arm for arm in range(len(quotas)) if given[arm] < extra[arm]}
        while len(group) < size:

            def urgency(arm: int, group: list[int] = group, number: int = number) -> tuple[bool, int, int, int]:
                must = extra[arm] - given[arm] == groups - number
                behind = extra[arm] * (number + 1) - given[arm] * groups
                return not must, -behind, sum(met[arm, other] for other in group), arm

            arm = min(left, key=urgency)
            left.remove(arm)
            given[arm] += 1
            group.append(arm)
        met.update((one, other) for one in group for other in group)
        dealt_groups.append(group)
    return dealt_groups
