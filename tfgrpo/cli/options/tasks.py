"""The tasks that a command is given, and the reward that scores rollouts of them."""

from dataclasses import dataclass

import click

from .gathered import Decorator, gathered, titled, together


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """The argument and the option as they were given."""

    tasks: str
    reward: str | None


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
