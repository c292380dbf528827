"""The rollouts of tasks side by side, as groups: who makes them, and how they are brought together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import BudgetEnded
from ..model.upstream import Journal, Upstream
from ..records import Backend, Frame, Group, Prior, Rollout, Task
from ..settings import Settings
from .executor import ChatExecutor, Executor, Executors

if TYPE_CHECKING:
    from .agents import Agent


T = TypeVar("T")


async def concurrently(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in the order given; the first error cancels the rest and is raised as it is.

    A budget that ends cancels nothing: calls in flight are paid for, so they land first, and are committed.
    """
    made: list[Coroutine[Any, Any, T]] = []
    tasks: list[asyncio.Task[T | BudgetEnded]] = []
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                made.append(one)
                tasks.append(group.create_task(unless_ended(one)))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        for one in made:
            one.close()  # one that was cancelled before it began would be complained of
    results = [task.result() for task in tasks]
    for result in results:
        if isinstance(result, BudgetEnded):
            raise result
    return [result for result in results if not isinstance(result, BudgetEnded)]


async def unless_ended(one: Coroutine[Any, Any, T]) -> T | BudgetEnded:
    """What comes of it; that a budget has ended is no error here, which would cancel what runs beside it."""
    try:
        return await one
    except BudgetEnded as ended:
        return ended


@asynccontextmanager
async def executors(
    agent: "Agent | None", upstream: Upstream, settings: Settings, journal: Journal
) -> AsyncIterator[Executors]:
    """Executors of one chat call a rollout, or of an agent's rollouts where there is one."""
    if agent is None:
        yield _plain(upstream, settings)
        return
    from .agents import agent_executors

    async with agent_executors(agent, upstream, settings, journal) as make:
        yield make


def _plain(upstream: Upstream, settings: Settings) -> Executors:
    """Executors of one chat call a rollout, or of several where its answers are bounded."""
    if settings.bounded is None:
        return partial(ChatExecutor, upstream)
    from .bounded import BoundedExecutor, bounds_of

    bounds = bounds_of(settings.bounded)

    def make(
        frame: Frame, backend: Backend, /, *, run: str, stage: str, seed: int, top_logprobs: int = 0
    ) -> BoundedExecutor:
        plain = ChatExecutor(upstream, frame, backend, run=run, stage=stage, seed=seed)
        return BoundedExecutor(plain, bounds, lambda: upstream.tokenizer)

    return make


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
    landed: Callable[[Group], Group],
    together: int | None = None,
) -> list[Group]:
    """All rollouts of these tasks in one step, as groups, in task order; `landed` is told of each as it is complete,
    and gives it as it is to be kept.

    `under` says what the sample of a task is made under; they are remembered as rollouts of `prior`, the step's. Those
    under one variant are asked for one after the other, so that caches of its prompt hit, for so many tasks `together`
    (None: for all), so that the groups of the first ones can land before the others begin. A group lands, its rollouts
    in order of sample, as soon as its last one has; nothing waits for the others. Its size is fixed before the first
    of them: stopping on outcomes would bias the group's mean.
    """
    made: dict[str, dict[int, Rollout]] = {task.id: {} for task in tasks}
    found: dict[str, Group] = {}

    async def rollout(task: Task, sample: int, given: Under) -> None:
        reply = await executor(task, given.prior, step, sample)
        mine = made[task.id]
        mine[sample] = replace(reply, prior=prior.id, variant=given.variant)
        if len(mine) == size:
            found[task.id] = landed(Group(task, step, tuple(mine[place] for place in range(size))))

    wanted = [(task, sample, under(task, sample)) for task in tasks for sample in range(size)]
    ranks = {name: rank for rank, name in enumerate(dict.fromkeys(given.variant for *_, given in wanted))}
    parts = {task.id: place // (together or len(tasks)) for place, task in enumerate(tasks)}
    in_order = sorted(wanted, key=lambda one: (parts[one[0].id], ranks[one[2].variant]))
    await concurrently(rollout(*one) for one in in_order)
    return [found[task.id] for task in tasks]


def diversity(groups: Sequence[Group]) -> float:
    """How different the answers of a group are, on average: 0 where all are alike, 1 where no two are."""
    texts = [[rollout.text for rollout in group.scored] for group in groups]
    shares = [(len({*said}) - 1) / (len(said) - 1) for said in texts if len(said) > 1]
    return sum(shares) / len(shares) if shares else 0.0


def made_under(groups: Sequence[Group], arms: Iterable[str]) -> list[Group]:
    """The groups less the rollouts that were made under other arms; all of them where nothing raced."""
    wanted = {*arms, ""}
    return [
        replace(group, rollouts=tuple(rollout for rollout in group.rollouts if rollout.variant in wanted))
        for group in groups
    ]
