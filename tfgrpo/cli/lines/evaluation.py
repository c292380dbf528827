"""What an evaluation came to: arms, differences and intervals."""

from typing import TYPE_CHECKING

from ...text import counted
from .tables import percent, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ...evaluation.arms import Evaluation
    from ...records import JSON


def evaluation_lines(result: "Evaluation") -> list[str]:
    """Arms, differences and intervals."""
    from ...evaluation.difference import FEWEST

    lines = [f"{counted(result.tasks, 'task')} x {counted(result.repeats, 'rollout')} an arm"]
    if result.listed:
        lines[0] += f"; of {result.listed} all answers are listed, and means are those expected"
    wide = max(18, *map(len, (*result.means, *result.differences)))
    if result.repeats > 1:
        lines.append(f"{'':>{wide}}  {'mean':>7}  {f'pass@{result.repeats}':>7}")
    for arm, mean in result.means.items():
        solved = f"  {percent(result.pass_at_k[arm]):>7}" if result.repeats > 1 else ""
        lines.append(f"{arm:>{wide}}  {percent(mean):>7}{solved}")
    if result.constant is not None and result.constant_mean is not None:
        lines.append(
            f"{'best constant':>{wide}}  {percent(result.constant_mean):>7}  (always {printable(result.constant)!r})"
        )
    for name, found in result.differences.items():
        interval = f"95% interval {100 * found.low:+.1f} to {100 * found.high:+.1f}, over tasks"
        interval = interval if result.tasks >= FEWEST else "too few tasks for an interval"
        by_task = f"{counted(found.wins, 'task')} better, {found.losses} worse, {found.ties} equal"
        lines.append(f"{name:>{wide}}  {100 * found.mean:+.1f} points ({interval}); {by_task}")
    lines += moment_lines(result.as_json())
    if "random timing" in result.means:  # what a moment saves is why it is waited for
        spent = ", ".join(f"{arm} {mean:,.0f}" for arm, mean in result.tokens.items())
        lines.append(f"tokens a rollout: {spent}")
    if result.failed:
        lines.append(f"{result.what_failed}: {printable(result.first_error)}")
    return lines


TRANSFER_COLUMNS = ("model", "tasks", "frozen", "learned", "learned - frozen", "95% interval", "the prior")


def transfer_rows(found: "Mapping[str, Evaluation]", learned_on: str) -> "Iterator[tuple[str, ...]]":
    """Where a prior helps: a row for each model that it was measured on."""
    from ...evaluation.difference import FEWEST

    for model, result in found.items():
        gain, told = result.differences["learned - frozen"], "too few tasks to tell"
        if result.tasks >= FEWEST:
            told = "helps" if gain.low > 0 else "hurts" if gain.high < 0 else "not shown to help"
        interval = f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}" if result.tasks >= FEWEST else "-"
        means = (percent(result.means[arm]) for arm in ("frozen", "learned"))
        named = f"{model} (learned on it)" if model == learned_on else model
        yield named, str(result.tasks), *means, f"{100 * gain.mean:+.1f}", interval, told


def moment_lines(result: "Mapping[str, JSON]") -> list[str]:
    """By arm at which share of turns a moment came, and at which what waits for it was said, and what one is worth;
    nothing of an evaluation without any."""
    if not (moments := result.get("moments")):
        return []
    told = (("its moment came at these shares of turns", "came"), ("what waits for it was said at", "said"))
    shares = [(text, ", ".join(f"{arm} {found[name]:.0%}" for arm, found in moments.items())) for text, name in told]
    lines = [f"{text}: {share}" for text, share in shares]
    if found := result.get("moment_worth"):
        around = f"95% interval {100 * found['low']:+.1f} to {100 * found['high']:+.1f}"
        held = f"{counted(found['moments'], 'moment')} of {counted(found['tasks'], 'task')}"
        lines.append(
            f"a moment is worth {100 * found['mean']:+.1f} points of reward ({around}; {held}, a coin at each)"
        )
    elif "moment_worth" in result:
        lines.append("what a moment is worth is not told: too few tasks had one")
    return lines
