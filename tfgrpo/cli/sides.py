"""Options that say which tasks teach, which the gate decides by, and which are left for the test."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from .groups import gathered

if TYPE_CHECKING:
    from ..tasks.read import TaskSet
    from ..tasks.split import Splits


@dataclass(frozen=True, slots=True)
class Sides:
    """The options as they were given."""

    gate: str
    validation: str | None
    test: str | None
    validation_share: float | None
    test_share: float | None

    def splits(self, found: "TaskSet") -> "Splits":
        """The sides of a run; raises InputError for a task on two of them, or too few to decide by."""
        from ..tasks.read import read_tasks
        from ..tasks.split import Shares, arrange

        usual, gated = Shares(), self.gate != "none"
        one_file = gated and self.validation is None and self.test is None
        shares = Shares(
            validation=usual.validation if self.validation_share is None else self.validation_share,
            test=(usual.test if one_file else 0.0) if self.test_share is None else self.test_share,
        )
        validation, test = (read_tasks(name) if name else None for name in (self.validation, self.test))
        return arrange(found, validation, test, shares=shares, gated=gated)


sides_options = gathered(
    "sides",
    Sides,
    click.option(
        "--gate",
        type=click.Choice(["evidence", "none"]),
        is_flag=False,
        flag_value="evidence",
        default="evidence",
        show_default=True,
        help="`evidence`: what is learned goes live only if held-out tasks show that it is better. `none`: at once,"
        " `ungated`, and all of TASKS teach.",
    ),
    click.option("--validation", metavar="FILE", help="Tasks that the gate decides by, instead of a part of TASKS."),
    click.option("--test", metavar="FILE", help="Tasks left for tfgrpo eval, instead of a part of TASKS."),
    click.option("--validation-share", type=float, help="Part of TASKS that the gate decides by.  [default: 0.3]"),
    click.option("--test-share", type=float, help="Part of TASKS left for tfgrpo eval.  [default: 0.2, or 0]"),
)
"""--gate, --validation, --test and their shares; the command gets them as `sides`."""
