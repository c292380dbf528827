"""What an evaluation came to: arms, differences and intervals."""

from typing import TYPE_CHECKING

from ...text import counted
from .tables import percent, printable

if TYPE_CHECKING:
    from ...evaluation.arms import Evaluation


def evaluation_lines(result: "Evaluation") -> list[str]:
    """Arms, differences and intervals."""
    from ...evaluation.difference import FEWEST

    lines = [f"{counted(result.tasks, 'task')} x {counted(result.repeats, 'rollout')} an arm"]
    if result.repeats > 1:
        lines.append(f"{'':>18}  {'mean':>7}  {f'pass@{result.repeats}':>7}")
    for arm, mean in result.means.items():
        solved = f"  {percent(result.pass_at_k[arm]):>7}" if result.repeats > 1 else ""
        lines.append(f"{arm:>18}  {percent(mean):>7}{solved}")
    if result.constant is not None and result.constant_mean is not None:
        lines.append(
            f"{'best constant':>18}  {percent(result.constant_mean):>7}  (always {printable(result.constant)!r})"
        )
    for name, found in result.differences.items():
        interval = f"95% interval {100 * found.low:+.1f} to {100 * found.high:+.1f}, over tasks"
        interval = interval if result.tasks >= FEWEST else "too few tasks for an interval"
        by_task = f"{counted(found.wins, 'task')} better, {found.losses} worse, {found.ties} equal"
        lines.append(f"{name:>18}  {100 * found.mean:+.1f} points ({interval}); {by_task}")
    if result.failed:
        failed, lost = counted(result.failed, "rollout"), counted(result.lost_tasks, "task")
        own = ", ".join(f"{arm} {count}" for arm, count in result.failures.items() if count)
        zero = f" (a reward of 0 for what failed by itself: {own})" if own else ""
        lines.append(f"{failed} failed{zero}, {lost} left out: {printable(result.first_error)}")
    return lines
