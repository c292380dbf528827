"""The rollouts of tasks in one step, as groups."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from ..records import Group, Prior, Rollout, Task
from .concurrently import concurrently
from .executor import Executor

T = TypeVar("T")


class Under(NamedTuple):
    """What one rollout is made under."""

    prior: Prior
    """What it is shown of the step's prior."""
    variant: str = ""
    """Id of its arm, while variants race."""


async def roll_groups(
    executor: Executor,
    tasks: Sequence[Task],
    prior: Prior,
    *,
    step: int,
    size: int,
    under: Callable[[Task, int], Under],
    landed: Callable[[Group], Awaitable[T]],
) -> list[T]:
    """All rollouts of these tasks in one step; what `landed` makes of each group, in task order.

    `under` says what the sample of a task is made under; they are remembered as rollouts of `prior`, the step's. Those
    under one variant are asked for one after the other, so that caches of its prompt hit. A group lands, its rollouts
    in order of sample, as soon as its last one has; nothing waits for the others. Its size is fixed before the first
    of them: stopping on outcomes would bias the group's mean.
    """
    made: dict[str, dict[int, Rollout]] = {task.id: {} for task in tasks}
    found: dict[str, T] = {}

    async def rollout(task: Task, sample: int, given: Under) -> None:
        reply = await executor(task, given.prior, step, sample)
        mine = made[task.id]
        mine[sample] = replace(reply, prior=prior.id, variant=given.variant)
        if len(mine) == size:
            found[task.id] = await landed(Group(task, step, tuple(mine[place] for place in range(size))))

    wanted = [(task, sample, under(task, sample)) for task in tasks for sample in range(size)]
    ranks = {name: rank for rank, name in enumerate(dict.fromkeys(given.variant for *_, given in wanted))}
    await concurrently(rollout(*one) for one in sorted(wanted, key=lambda one: ranks[one[2].variant]))
    return [found[task.id] for task in tasks]


def made_under(groups: Sequence[Group], arms: Iterable[str]) -> list[Group]:
    """The groups less the rollouts that were made under other arms; all of them where nothing raced."""
    wanted = {*arms, ""}
    return [
        replace(group, rollouts=tuple(rollout for rollout in group.rollouts if rollout.variant in wanted))
        for group in groups
    ]
