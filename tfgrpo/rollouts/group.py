"""The rollouts of one task in one step."""

from collections.abc import Callable
from dataclasses import replace

from ..records import Experience, Group, Prior, Rollout, Task
from .concurrently import concurrently
from .executor import Executor


async def roll_group(
    executor: Executor,
    task: Task,
    prior: Prior,
    *,
    step: int,
    size: int,
    shown: Callable[[int], tuple[Experience, ...]],
) -> Group:
    """All attempts of one task in one step, in order of sample; `shown` picks the prior's experiences for a sample.

    The size is fixed before the first attempt: stopping on outcomes would bias the group's mean.
    """

    async def attempt(sample: int) -> Rollout:
        partial = replace(prior, experiences=shown(sample))
        return replace(await executor(task, partial, step, sample), prior=prior.id)

    return Group(task, step, tuple(await concurrently(attempt(sample) for sample in range(size))))
