"""The tasks that a command is given, and the reward that scores rollouts of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from .gathered import Decorator, gathered, titled, together

if TYPE_CHECKING:
    from ...tasks.fields import Fields


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """The argument and the option as they were given."""

    tasks: str
    reward: str | None
    input_field: str | None
    answer_field: str | None
    template: str | None
    judge_model: str | None

    @property
    def scored_by(self) -> str | None:
        """The reward's name, its judge asked for by model; raises InputError where it has none to name."""
        if self.judge_model is None:
            return self.reward
        from ...rollouts.rewards.judge import judged_by

        return judged_by(self.reward or "", self.judge_model)

    @property
    def fields(self) -> "Fields":
        """Which fields of the tasks are what, as far as it was said."""
        from ...tasks.fields import Fields

        return Fields(self.input_field, self.answer_field, self.template)


def task_options(title: str, *, required: bool = True) -> Decorator:
    """TASKS, --reward, the fields and --clip-rewards under a title of the help; all but the last come as `tasks`."""
    option = titled(title)
    return together(
        gathered(
            "tasks",
            TaskOptions,
            click.argument("tasks", required=required),
            option(
                "--reward",
                metavar="NAME",
                help="A built-in, a sum, a URL, module:function.  [default: exact, or gym]",
            ),
            option("--input-field", metavar="NAME", rare=True, help="The field of a task that is shown, alone."),
            option("--answer-field", metavar="NAME", rare=True, help="The field of a task that is right."),
            option("--judge-model", metavar="NAME", rare=True, help="Of the reward judge (as judge@NAME)."),
            option("--template", metavar="TEXT", rare=True, help="What is shown, with {{name}} for a field's value."),
        ),
        option("--clip-rewards", is_flag=True, rare=True, help="Take a reward outside 0 to 1 for the nearer bound."),
    )
