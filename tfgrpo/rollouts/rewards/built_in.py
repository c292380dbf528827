"""The built-in rewards by name, and functions of the user's.

The built-in ones compare the text of a rollout with the task's answer. An answer that is a list is right when any of
its members is; numbers, booleans and objects stand for their JSON text (7 is "7", true is "true").
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ...errors import InputError
from ...plugins import check_function, is_named, load_function, name_of
from ...records import Task
from ...tasks.gym import GYM_REWARD, SCHEME
from ...text import shortened
from .matchers import AnswerReward, choice, contains, exact, exact_strict, numeric, regex
from .reward import BuiltInReward, Reward

if TYPE_CHECKING:
    from ...tasks.read import TaskSource


def check(reward: Reward, tasks: Iterable[Task]) -> None:
    """Raise InputError for the first task that a built-in reward cannot score; to be asked before anything is spent."""
    if isinstance(reward, BuiltInReward):
        for task in tasks:
            reward.check(task)


BUILT_IN: Mapping[str, AnswerReward] = {
    reward.name: reward
    for reward in (
        AnswerReward("exact", exact),
        AnswerReward("exact-strict", exact_strict),
        AnswerReward("contains", contains),
        AnswerReward("regex", regex),
        AnswerReward("numeric", numeric),
        AnswerReward("choice", choice),
    )
}


def default_reward(source: "TaskSource") -> str:
    """The name of the reward for a source of tasks that comes with none."""
    return GYM_REWARD if isinstance(source, str) and source.startswith(SCHEME) else "exact"


def reward_of(given: str | Reward | None, source: "TaskSource") -> tuple[Reward, str]:
    """A reward by its name or as it is (None: the default of the source), and the name that a run remembers it by.

    Raises InputError where there is none.
    """
    if given is None or isinstance(given, str):
        name = given or default_reward(source)
        return load_reward(name), name
    if isinstance(given, BuiltInReward):
        return given, given.name
    check_function(given, "reward", "the rollout")
    return given, name_of(given)


def load_reward(name: str) -> Reward:
    """A built-in reward, or a function of the user's as `module:function`; raises InputError when there is none.

    The module is looked for in the current folder first, which stays on the import path.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name == GYM_REWARD:
        from .verified import GymReward

        return GymReward()
    if is_named(name):
        return load_function(name, "reward", "the rollout")
    near = difflib.get_close_matches(name.lower(), BUILT_IN, n=1)
    guess = f"; did you mean {near[0]}?" if near else ";"
    known = f"{', '.join(BUILT_IN)}, {GYM_REWARD}, or a function of your own as module:function"
    raise InputError(f"there is no reward {shortened(name)!r}{guess} built in are {known}")
