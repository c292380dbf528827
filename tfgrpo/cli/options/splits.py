"""Options that say which tasks teach, which the gate decides by, and which are left for the test."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from .gathered import GATE, gathered, titled

if TYPE_CHECKING:
    from ...tasks.split import Sides


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """The options as they were given."""

    gate: str
    validation: str | None
    test: str | None
    validation_share: float | None
    test_share: float | None

    @property
    def sides(self) -> "Sides":
        """Where the tasks that decide and those of the test come from."""
        from ...tasks.split import Sides

        gated, validation, test = self.gate != "none", self.validation or None, self.test or None
        return Sides(gated, validation, test, self.validation_share, self.test_share)


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
        help="`none`: at once; all teach.",
    ),
    _option("--validation", metavar="FILE", help="Tasks to decide by, not a part of TASKS."),
    _option("--test", metavar="FILE", rare=True, help="Tasks left for tfgrpo eval, instead of a part of TASKS."),
    _option(
        "--validation-share", type=float, rare=True, help="Part of TASKS that the gate decides by.  [default: 0.3]"
    ),
    _option("--test-share", type=float, rare=True, help="Part of TASKS left for tfgrpo eval.  [default: 0.2, or 0]"),
)
"""--gate, --validation, --test and their shares; the command gets them as `split`."""
