"""The built-in rewards by name, weighted sums of them, and functions of the user's.

Most compare the text of a rollout with the task's answer. An answer that is a list is right when any of its members is;
numbers, booleans and objects stand for their JSON text (7 is "7", true is "true"). `docs/rewards.md` has examples of
what each takes for right.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import InputError
from ...plugins import check_function, is_named, load_function, name_of
from ...records import Task
from ...tasks.gym import GYM_REWARD, SCHEME
from ...tasks.harbor import HARBOR, HARBOR_REWARD
from ...text import shortened
from .choice import choice
from .decisions import asks_questions, questions_reward
from .judge import is_judge, judge_reward
from .matchers import AnswerReward, contains, exact, exact_strict, regex
from .numeric import numeric
from .reward import BuiltInReward, Reward

if TYPE_CHECKING:
    from ...tasks.read import TaskSource


def check(reward: Reward, tasks: Iterable[Task]) -> None:
    """Raise InputError for the first task that a built-in reward cannot score; to be asked before anything is spent."""
    if isinstance(reward, BuiltInReward):
        for task in tasks:
            reward.check(task)


def doubts(reward: Reward, tasks: Sequence[Task]) -> tuple[str, ...]:
    """What to say of tasks that can be scored by a reward, and are hardly meant to be."""
    told = reward.doubt(tasks) if isinstance(reward, BuiltInReward) else None
    return (told,) if told else ()


def refuse_comparing(reward: Reward, where: str) -> None:
    """Raise InputError for a reward that compares the rollouts of a group, where there is no group."""
    if isinstance(reward, BuiltInReward) and reward.compares_group:
        raise InputError(f"reward {reward.name} compares the rollouts of a group, and {where}; or take another reward")


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


def _math() -> Reward:
    from .maths import math_reward

    return math_reward()


def _json_equal() -> Reward:
    from .jsons import JSONEqualReward

    return JSONEqualReward()


def _json_schema() -> Reward:
    from .jsons import JSONSchemaReward

    return JSONSchemaReward()


def _code() -> Reward:
    from .code import CodeReward

    return CodeReward()


def _majority() -> Reward:
    from .majority import MajorityReward

    return MajorityReward()


def _gym() -> Reward:
    from .verified import GymReward

    return GymReward()


def _harbor() -> Reward:
    from .verified import HarborReward

    return HarborReward()


_MADE: Mapping[str, Callable[[], Reward]] = {
    "math": _math,
    "json-equal": _json_equal,
    "json-schema": _json_schema,
    "code": _code,
    "majority": _majority,
    GYM_REWARD: _gym,
    HARBOR_REWARD: _harbor,
}
"""Those that load more than text needs."""


def default_reward(source: "TaskSource") -> str:
    """The name of the reward for a source of tasks that comes with none."""
    if isinstance(source, str) and source.startswith((SCHEME, HARBOR)):
        return GYM_REWARD if source.startswith(SCHEME) else HARBOR_REWARD
    return "exact"


def reward_of(given: str | Reward | None, source: "TaskSource") -> tuple[Reward, str]:
    """A reward by its name or as it is (None: the default of the source), and the name that a run remembers it by.

    Raises InputError where there is none.
    """
    if given is None or isinstance(given, str):
        name = given or default_reward(source)
        found = load_reward(name)
        return found, found.name if isinstance(found, BuiltInReward) else name
    if isinstance(given, BuiltInReward):
        return given, given.name
    check_function(given, "reward", "the rollout")
    return given, name_of(given)


def load_reward(name: str) -> Reward:
    """A built-in reward, a sum of several, one behind a URL, or a function of the user's as `module:function`.

    Raises InputError where there is none. A module is looked for in the current folder first, which stays on the
    import path.
    """
    if name.lower().startswith(("http://", "https://")):
        from .url import url_reward

        return url_reward(name)
    if _is_sum(name):
        from .sums import sum_of

        return sum_of(name, load_reward)
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name in _MADE:
        return _MADE[name]()
    if asks_questions(name) or is_judge(name):
        return questions_reward(name) if asks_questions(name) else judge_reward(name)
    if is_named(name):
        return load_function(name, "reward", "the rollout")
    known = (*BUILT_IN, *_MADE, "judge", "decisions:FILE")
    near = difflib.get_close_matches(name.lower(), known, n=1)
    guess = f"; did you mean {near[0]}?" if near else ";"
    others = "a weighted sum (0.8*exact + 0.2*numeric), a URL, or a function of your own as module:function"
    raise InputError(f"there is no reward {shortened(name)!r}{guess} built in are {', '.join(known)}; or {others}")


def _is_sum(name: str) -> bool:
    """Whether a reward is named by weights, or as several."""
    return "*" in name or re.search(r"\S\s*\+\s*\S", name) is not None
