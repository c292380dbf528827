"""What a reward is, and how a rollout is scored by one: a number in [0, 1], higher is better, with feedback or none."""

import asyncio
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Protocol, Self, SupportsFloat, TypeAlias

from ...errors import BudgetEnded, InputError, RewardError, UpstreamError
from ...model.upstream import Model
from ...records import Group, Rollout, Task
from ...text import shortened
from .threads import in_turn

REWARD_SECONDS = 120.0
"""How long a function of the user's may look at one rollout."""
OUT_OF_RANGE = "; it must be a number from 0 to 1"
"""How it is told that a reward gave something else."""
_ROUNDING = 1e-9
"""A reward this far outside [0, 1] is the rounding of a sum, and is taken for its bound."""
Score: TypeAlias = float | tuple[float, str]
"""A number in [0, 1], or one with feedback: what was right or wrong, in words."""


class Reward(Protocol):
    """Any function, sync or async, from a rollout to a number in [0, 1], or to a pair of that and feedback.

    A sync one runs in a thread, one call after the other; a slow one should be async.
    """

    def __call__(self, rollout: Rollout, /) -> Score | Awaitable[Score]:
        """The reward of a rollout that has no error; an exception makes it a rollout with an error."""
        ...


class BuiltInReward(ABC):
    """A Reward with a name, which can tell beforehand what tasks it cannot score."""

    name: str
    """As it is named on the command line."""
    compares_group = False
    """Whether it has no reward for one rollout, but for those of a group together (`of_group`)."""

    @abstractmethod
    def __call__(self, rollout: Rollout, /) -> Score | Awaitable[Score]:
        """Raises InputError, naming the task, when it cannot be scored."""

    @abstractmethod
    def check(self, task: Task) -> None:
        """Raises InputError as the call does."""

    def doubt(self, tasks: Sequence[Task]) -> str | None:
        """Why these tasks, which it can score, are hardly meant to be scored by it; None: nothing speaks against it."""
        return None

    def calls(self) -> int:
        """How many calls of a model it makes for one rollout, where each is answered as it should be."""
        return 0

    def with_model(self, model: Model, name: str, run: str) -> Self:
        """The same, where it asks a model: this one by this name, unless it names another, for this run's journal."""
        return self

    @property
    def reads_text_alone(self) -> bool:
        """Whether it looks at nothing of a rollout but its text, and is quick about it: many texts are scored."""
        return False

    @property
    def asks_for_decisions(self) -> bool:
        """Whether it asks its model by the decisions API."""
        return False

    def of_group(self, group: Group) -> Group:
        """The group with the rewards of a reward that compares its rollouts; as it is by any other."""
        return group


class RewardElsewhere(ABC):
    """A function of the user's that runs on other machines, and keeps REWARD_SECONDS itself, from when it begins."""

    @abstractmethod
    async def __call__(self, rollout: Rollout, /) -> Score:
        """As a Reward's."""


def asking(reward: Reward, model: Model, name: str, run: str) -> Reward:
    """The reward for a run, told which model it may ask."""
    return reward.with_model(model, name, run) if isinstance(reward, BuiltInReward) else reward


def asks_for_decisions(reward: Reward) -> bool:
    """Whether a reward asks a model by the decisions API."""
    return isinstance(reward, BuiltInReward) and reward.asks_for_decisions


def compared(reward: Reward, group: Group) -> Group:
    """A complete group, its rollouts scored by each other where the reward does so."""
    return reward.of_group(group) if isinstance(reward, BuiltInReward) else group


async def score(reward: Reward, rollout: Rollout, *, clip: bool = False) -> Rollout:
    """The rollout with its reward, and the feedback where there is some; one with an error stays without.

    A reward that raises, takes too long or gives anything but a number in [0, 1] spoils one rollout, which comes back
    with an error that says so. With `clip` a number outside is taken for the nearer bound; NaN, or no number, stays an
    error. What a built-in reward knows to concern the whole run passes: InputError, UpstreamError, BudgetEnded.
    """
    if rollout.error is not None or (isinstance(reward, BuiltInReward) and reward.compares_group):
        return rollout
    try:
        given = await _given(reward, rollout)
        number, feedback = _parted(given)
        return replace(rollout, reward=_in_range(number, rollout.task, clip), feedback=feedback)
    except (InputError, UpstreamError, BudgetEnded) as error:
        if isinstance(reward, BuiltInReward):
            raise
        return _failed(rollout, error)
    except (asyncio.CancelledError, KeyboardInterrupt):
        if (task := asyncio.current_task()) is None or task.cancelling() or not _is_own(reward):
            raise
        return replace(rollout, error="the reward failed: it was cancelled")
    except BaseException as error:  # the user's code may raise anything, SystemExit too
        return _failed(rollout, error)


def _is_own(reward: Reward) -> bool:
    """Whether it is the user's."""
    return not isinstance(reward, BuiltInReward)


def _failed(rollout: Rollout, error: BaseException) -> Rollout:
    return replace(rollout, error=f"the reward failed: {type(error).__name__}: {told(error)}")


def told(value: object) -> str:
    """What something of the user's says of itself, where it does not fail at that."""
    try:
        return shortened(value, 300)
    except Exception:
        return f"a {type(value).__name__} that cannot be shown"


async def _given(reward: Reward, rollout: Rollout) -> object:
    """What a reward gives; a function of the user's runs in a thread, and within REWARD_SECONDS."""
    if isinstance(reward, BuiltInReward | RewardElsewhere):
        value = reward(rollout)
        return await value if inspect.isawaitable(value) else value
    try:
        async with asyncio.timeout(REWARD_SECONDS):
            if inspect.iscoroutinefunction(reward):
                return await reward(rollout)
            value = await in_turn(reward, rollout)
            return await value if inspect.isawaitable(value) else value
    except TimeoutError:
        raise RewardError(f"it took more than {REWARD_SECONDS:g} s on one rollout") from None


def _parted(given: object) -> tuple[object, str]:
    """What should be a number, and the feedback beside it; whatever is no such pair is taken as a whole."""
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], str | None):
        return given[0], given[1] or ""
    return given, ""


def _in_range(value: object, task: Task, clip: bool) -> float:
    try:
        number = float(value) if isinstance(value, float | int | SupportsFloat) else math.nan
    except Exception:  # an array of many numbers, an integer of 400 digits, anything of the user's
        number = math.nan
    if not (-_ROUNDING <= number <= 1 + _ROUNDING or (clip and not math.isnan(number))):
        clipping = "" if math.isnan(number) else ", or be clipped to it (--clip-rewards)"
        shown = shortened(repr(value) if isinstance(value, str) else told(value))
        raise RewardError(f"that of {task_in_words(task)} is {shown}{OUT_OF_RANGE}{clipping}")
    return min(1.0, max(0.0, number))


def task_in_words(task: Task) -> str:
    """A task for an error: its id, the one that its file gives it, and how it begins."""
    own = f", id {shortened(task.metadata['id'])!r}" if task.metadata.get("id") is not None else ""
    return f"task {task.id}{own} ({shortened(task.prompt)})"
