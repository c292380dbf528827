"""What a reward is, and how a rollout is scored by one: a number in [0, 1], higher is better, with feedback or none."""

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from dataclasses import replace
from typing import Protocol, SupportsFloat, TypeAlias

from ...errors import InputError, RewardError
from ...records import Rollout, Task
from ...text import shortened

_ROUNDING = 1e-9
"""A reward this far outside [0, 1] is the rounding of a sum, and is taken for its bound."""
Score: TypeAlias = float | tuple[float, str]
"""A number in [0, 1], or one with feedback: what was right or wrong, in words."""


class Reward(Protocol):
    """Any function, sync or async, from a rollout to a number in [0, 1], or to a pair of that and feedback.

    A slow one should be async.
    """

    def __call__(self, rollout: Rollout, /) -> Score | Awaitable[Score]:
        """The reward of a rollout that has no error; an exception makes it a rollout with an error."""
        ...


class BuiltInReward(ABC):
    """A Reward with a name, which can tell beforehand what tasks it cannot score."""

    name: str
    """As it is named on the command line."""

    @abstractmethod
    def __call__(self, rollout: Rollout, /) -> float:
        """Raises InputError, naming the task, when it cannot be scored."""

    @abstractmethod
    def check(self, task: Task) -> None:
        """Raises InputError as the call does."""


async def score(reward: Reward, rollout: Rollout, *, clip: bool = False) -> Rollout:
    """The rollout with its reward, and the feedback where there is some; one with an error stays without.

    A reward that raises spoils one rollout, which comes back with an error. A reward that gives anything but a
    number in [0, 1] would spoil every comparison: RewardError, naming the task and the value. With `clip` a number
    outside is taken for the nearer bound; NaN, or no number, stays an error. InputError passes.
    """
    if rollout.error is not None:
        return rollout
    try:
        value = reward(rollout)
        given: object = await value if inspect.isawaitable(value) else value
    except InputError:
        raise
    except Exception as error:  # the user's code may raise anything
        return replace(rollout, error=f"the reward failed: {type(error).__name__}: {shortened(error, 300)}")
    number, feedback = _parted(given)
    return replace(rollout, reward=_in_range(number, rollout.task, clip), feedback=feedback)


def _parted(given: object) -> tuple[object, str]:
    """What should be a number, and the feedback beside it; whatever is no such pair is taken as a whole."""
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], str | None):
        return given[0], given[1] or ""
    return given, ""


def _in_range(value: object, task: Task, clip: bool) -> float:
    try:
        number = float(value) if isinstance(value, SupportsFloat) else math.nan
    except (TypeError, ValueError, OverflowError):  # an array of many numbers, an integer of 400 digits
        number = math.nan
    if not (-_ROUNDING <= number <= 1 + _ROUNDING or (clip and not math.isnan(number))):
        clipping = "" if math.isnan(number) else ", or be clipped to it (--clip-rewards)"
        wrong = f"the reward of {task_in_words(task)} is {shortened(value)}; it must be a number from 0 to 1"
        raise RewardError(wrong + clipping)
    return min(1.0, max(0.0, number))


def task_in_words(task: Task) -> str:
    """A task for an error: its id, the one that its file gives it, and how it begins."""
    own = f", id {shortened(task.metadata['id'])!r}" if task.metadata.get("id") is not None else ""
    return f"task {task.id}{own} ({shortened(task.prompt)})"
