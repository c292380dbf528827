"""Groups of rollouts: who makes them side by side, and what each rollout is worth relative to its group.

The advantage, rewards shaped by length, what a group can teach, and which tasks are still worth a visit are pure.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import BudgetEnded
from ..hashing import derive_seed
from ..model.upstream import Journal, Upstream
from ..records import Backend, Frame, Group, Prior, Rollout, Task
from ..settings import FLAT, Settings
from .executor import ChatExecutor, Executor, Executors

if TYPE_CHECKING:
    from .agents import Agent


T = TypeVar("T")


_OBJECTS = 50_000
"""Objects that may be made before garbage is looked for, where much is under way at once."""


class _Crowd:
    """Garbage is looked for less often while it is entered, by however many: each look goes over what is in flight."""

    def __init__(self) -> None:
        self._inside, self._usual, self._raised = 0, gc.get_threshold(), gc.get_threshold()
        self._lock = Lock()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._usual = first, *others = gc.get_threshold()
                gc.set_threshold(max(first, _OBJECTS) if first else 0, *others)
                self._raised = gc.get_threshold()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and gc.get_threshold() == self._raised:  # else the user chose another one meanwhile
                gc.set_threshold(*self._usual)


_CROWD = _Crowd()


async def concurrently(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in the order given; the first error cancels the rest and is raised as it is.

    A budget that ends cancels nothing: calls in flight are paid for, so they land first, and are committed.
    """
    made: list[Coroutine[Any, Any, T]] = []
    tasks: list[asyncio.Task[T | BudgetEnded]] = []
    try:
        with _CROWD:
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


def told_of_chunks(settings: Settings, backend: Backend, name: str) -> str | None:
    """What to tell of bounded context on an upstream: how an answer goes on there."""
    if settings.bounded is None:
        return None
    from .ways_on import AS_TEXT, way_on, way_told

    if (way := way_on(backend)) != AS_TEXT:
        return f"long answers go on, on {name}: {way_told(way)}"
    return (
        f"{name} was not seen to go on with an answer: each further chunk is given the work so far as text behind the"
        " question, a textual state (InftyThink), which is another way to prompt"
    )


class Under(NamedTuple):
    """What one rollout is made under."""

    prior: Prior
    """What it is shown of the step's prior."""
    variant: str = ""
    """Id of its arm, while variants race."""


Wanted: TypeAlias = tuple[Task, int, Under]
"""A rollout to be made: its task, its sample, and what it is made under."""
Order: TypeAlias = Callable[[Sequence[Wanted]], Sequence[Wanted]]
"""In which order rollouts are asked for."""


def by_variant(together: int) -> Order:
    """Those under one variant one after the other, so that caches of its prompt hit, for so many tasks `together`, so
    that the groups of the first ones can land before the others begin."""

    def ordered(wanted: Sequence[Wanted]) -> Sequence[Wanted]:
        ranks = {name: rank for rank, name in enumerate(dict.fromkeys(given.variant for *_, given in wanted))}
        tasks = {task: place // together for place, task in enumerate(dict.fromkeys(task.id for task, *_ in wanted))}
        return sorted(wanted, key=lambda one: (tasks[one[0].id], ranks[one[2].variant]))

    return ordered


def by_beginning(prompt: Callable[[Task, Under], str]) -> Order:
    """Prompts that begin alike one after the other: whoever keeps the last one reads each beginning once."""

    def ordered(wanted: Sequence[Wanted]) -> Sequence[Wanted]:
        return sorted(wanted, key=lambda one: prompt(one[0], one[2]))

    return ordered


async def roll_groups(
    executor: Executor,
    tasks: Sequence[Task],
    prior: Prior,
    *,
    step: int,
    size: int,
    under: Callable[[Task, int], Under],
    landed: Callable[[Group], Group],
    order: Order | None = None,
) -> list[Group]:
    """All rollouts of these tasks in one step, as groups, in task order; `landed` is told of each as it is complete,
    and gives it as it is to be kept.

    `under` says what the sample of a task is made under; they are remembered as rollouts of `prior`, the step's. They
    are asked for in that `order` (None: by variant, for all tasks). A group lands, its rollouts in order of sample, as
    soon as its last one has; nothing waits for the others. Its size is fixed before the first of them: stopping on
    outcomes would bias the group's mean.
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
    in_order = (order or by_variant(len(tasks)))(wanted)
    await concurrently(rollout(*one) for one in in_order)
    return [found[task.id] for task in tasks]


def diversity(groups: Sequence[Group]) -> float:
    """How different the answers of a group are, on average: 0 where all are alike, 1 where no two are."""
    texts = [[rollout.text for rollout in group.scored] for group in groups]
    shares = [(len({*said}) - 1) / (len(said) - 1) for said in texts if len(said) > 1]
    return sum(shares) / len(shares) if shares else 0.0


def with_expected_rewards(group: Group) -> Group:
    """The group with the reward that each rollout is expected to earn, where its answer is drawn from listed ones."""
    known = {(one.variant, one.included): one.mean for one in group.listed}
    if not known:
        return group
    drawn = [known.get((made.variant, made.included)) if made.trace is None else None for made in group.rollouts]
    rollouts = (
        made if mean is None or made.reward is None else replace(made, reward=mean)
        for made, mean in zip(group.rollouts, drawn, strict=True)
    )
    return replace(group, rollouts=tuple(rollouts))


def made_under(groups: Sequence[Group], arms: Iterable[str]) -> list[Group]:
    """The groups less the rollouts that were made under other arms; all of them where nothing raced."""
    wanted = {*arms, ""}
    return [
        replace(
            group,
            rollouts=tuple(rollout for rollout in group.rollouts if rollout.variant in wanted),
            listed=tuple(one for one in group.listed if one.variant in wanted),
        )
        for group in groups
    ]


def penalty(tokens: int, longest: int, cache: int) -> float:
    """What a rollout of so many completion tokens loses, in reward units, from 0 to -1 (DAPO, arXiv 2503.14476).

    0 up to longest - cache; (longest - cache - L) / cache from there to longest; -1 beyond.
    """
    return max(-1.0, min(0.0, (longest - cache - tokens) / cache))


def shaped(rollout: Rollout, settings: Settings) -> Rollout:
    """The rollout with its penalty taken off its reward, which stays at 0 or above: a wrong answer cannot earn less.

    Its length is that of all completions, of an agent all its calls'; one without a reward stays as it is.
    """
    if rollout.reward is None or settings.overlong is None:
        return rollout
    longest, cache = map(int, settings.overlong.split(":"))
    less = penalty(rollout.usage.completion_tokens, longest, cache)
    return replace(rollout, reward=max(0.0, rollout.reward + less))


GroupKind: TypeAlias = Literal["mixed", "solved", "hopeless", "flat", "unscored"]
"""A mixed group can teach; the others are all right, all wrong, all alike in between, or without any reward."""


def advantages(rewards: NDArray[np.float64], *, divide_by_std: bool = True) -> NDArray[np.float64]:
    """(r - mean) / std within one group, shape (G,); a flat group teaches nothing (GRPO, arXiv 2402.03300).

    With `divide_by_std` off, r - mean (Dr. GRPO, arXiv 2503.20783). The standard deviation is the population's.
    """
    if rewards.size == 0:
        return np.zeros_like(rewards)
    mean, spread = float(rewards.mean()), float(rewards.std())
    if spread < FLAT:
        return np.zeros_like(rewards)
    return (rewards - mean) / (spread if divide_by_std else 1.0)


def group_kind(group: Group) -> GroupKind:
    """Whether a group can teach, or why not."""
    rewards = group.rewards
    if rewards.size == 0:
        return "unscored"
    if float(rewards.std()) >= FLAT:
        return "mixed"
    if rewards[0] >= 1 - FLAT:
        return "solved"
    return "hopeless" if rewards[0] <= FLAT else "flat"


_ENOUGH = 2
"""Visits in a row in which all rollouts were right, or all wrong."""
_SOLVED = 0.9
"""Mean reward over all visits from which on a task is not drawn again (no-positive-resampling, arXiv 2510.13786)."""


def visited(tasks: Sequence[Task], earlier: Sequence[Group], step: int, settings: Settings) -> tuple[Task, ...]:
    """The tasks to roll out in a step, in their order, given all groups of earlier steps in order of step.

    A task whose mean reward is 0.9 or more over two visits at least is not drawn again while there are others. One
    whose pass rate was 0 or 1 at its last two visits rests in every other step; which of the two it rests in is decided
    by its hash, so that not all rest at once. It is visited as before once its rollouts differ again. When all would
    rest, none does. What earlier groups say is all that decides, so a resumed run visits the same.
    """
    if not settings.rest_tasks:
        return tuple(tasks)
    dull: dict[str, int] = {}
    means: dict[str, list[float]] = {}
    for group in earlier:
        if group.scored:
            means.setdefault(group.task.id, []).append(group.mean)
        is_dull = group_kind(group) in ("solved", "hopeless")
        dull[group.task.id] = dull.get(group.task.id, 0) + 1 if is_dull else 0

    def rests(task: Task) -> bool:
        return dull.get(task.id, 0) >= _ENOUGH and (step + derive_seed(settings.seed, "visit", task.id)) % 2 == 1

    def solved(task: Task) -> bool:
        found = means.get(task.id, [])
        return len(found) >= _ENOUGH and sum(found) >= _SOLVED * len(found)

    awake = tuple(task for task in tasks if not rests(task))
    return tuple(task for task in awake if not solved(task)) or awake or tuple(tasks)
