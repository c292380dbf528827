"""The tasks that a command is given, and the reward that scores rollouts of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from .gathered import Decorator, gathered, titled, together

if TYPE_CHECKING:
    from ...rollouts.rewards.reward import Reward
    from ...tasks.read import TaskSet


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """The argument and the option as they were given."""

    tasks: str
    reward: str | None

    @property
    def reward_name(self) -> str:
        """The reward's name, as a run remembers it."""
        from ...rollouts.rewards.built_in import default_reward

        return self.reward or default_reward(self.tasks)

    def read(self) -> "tuple[TaskSet, Reward]":
        """The tasks and the reward; raises InputError where one of them cannot be had."""
        from ...rollouts.rewards.built_in import load_reward
        from ...tasks.read import read_tasks

        reward = load_reward(self.reward_name)
        return read_tasks(self.tasks), reward


def task_options(title: str) -> Decorator:
    """TASKS, --reward and --clip-rewards under a title of the help; the command gets the first two as `tasks`."""
    option = titled(title)
    return together(
        gathered(
            "tasks",
            TaskOptions,
            click.argument("tasks"),
            option("--reward", metavar="NAME", help="A built-in, or module:function.  [default: exact; for gym:, gym]"),
        ),
        option("--clip-rewards", is_flag=True, rare=True, help="Take a reward outside 0 to 1 for the nearer bound."),
    )
