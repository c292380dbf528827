"""The tasks that a command is given, and the reward that scores attempts at them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from .groups import gathered

if TYPE_CHECKING:
    from ..rollouts.rewards.reward import Reward
    from ..tasks.read import TaskSet


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """The argument and the option as they were given."""

    tasks: str
    reward: str | None

    @property
    def reward_name(self) -> str:
        """The reward's name, as a run remembers it."""
        from ..rollouts.rewards.built_in import default_reward

        return self.reward or default_reward(self.tasks)

    def read(self) -> "tuple[TaskSet, Reward]":
        """The tasks and the reward; raises InputError where one of them cannot be had."""
        from ..rollouts.rewards.built_in import load_reward
        from ..tasks.read import read_tasks

        reward = load_reward(self.reward_name)
        return read_tasks(self.tasks), reward


task_options = gathered(
    "tasks",
    TaskOptions,
    click.argument("tasks"),
    click.option("--reward", help="A built-in reward, or module:function.  [default: exact; for gym:FAMILY, gym]"),
)
"""TASKS and --reward; the command gets them as `tasks`."""
