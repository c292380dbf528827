"""Options that say which tasks teach, which the gate decides by, and which are left for the test."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from .gathered import GATE, gathered, titled

if TYPE_CHECKING:
    from ...tasks.read import TaskSet
    from ...tasks.split import Splits


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """The options as they were given."""

    gate: str
    validation: str | None
    test: str | None
    validation_share: float | None
    test_share: float | None

    def splits(self, found: "TaskSet") -> "Splits":
        """The splits of a run's tasks; raises InputError for a task on two of them, or too few to decide by."""
        from ...tasks.read import read_tasks
        from ...tasks.split import Shares, arrange

        usual, gated = Shares(), self.gate != "none"
        one_file = gated and self.validation is None and self.test is None
        shares = Shares(
            validation=usual.validation if self.validation_share is None else self.validation_share,
            test=(usual.test if one_file else 0.0) if self.test_share is None else self.test_share,
        )
        validation, test = (read_tasks(name) if name else None for name in (self.validation, self.test))
        return arrange(found, validation, test, shares=shares, gated=gated)


_option = titled(GATE)

split_options = gathered(
    "split",
    SplitOptions,
    _option(
        "--gate",
        type=click.Choice(["evidence", "none"]),
        is_flag=False,
        flag_value="evidence",
        default="evidence",
        show_default=True,
        help="`evidence`: live only if held-out tasks show that it is better. `none`: at once; all TASKS teach.",
    ),
    _option("--validation", metavar="FILE", help="Tasks that the gate decides by, instead of a part of TASKS."),
    _option("--test", metavar="FILE", rare=True, help="Tasks left for tfgrpo eval, instead of a part of TASKS."),
    _option(
        "--validation-share", type=float, rare=True, help="Part of TASKS that the gate decides by.  [default: 0.3]"
    ),
    _option("--test-share", type=float, rare=True, help="Part of TASKS left for tfgrpo eval.  [default: 0.2, or 0]"),
)
"""--gate, --validation, --test and their shares; the command gets them as `split`."""
