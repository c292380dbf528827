"""Results as lines for people; text of models and users is shown, never obeyed."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..text import counted

if TYPE_CHECKING:
    from ..demo.run import Demo
    from ..evaluation.arms import Evaluation
    from ..learning.result import LearningResult
    from ..records import JSON, Effect, Prior, TokenBias
    from ..store import ExperienceStatus


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout; as wide as its longest text where stdout is not a terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for row in rows:
        table.add_row(*(printable(cell) for cell in row))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 10_000
    console.print(table)


def printable(cell: object) -> str:
    """Text of models and users, with control characters made visible: a terminal must not obey them."""
    text = "" if cell is None else str(cell)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def token_text(piece: bytes) -> str:
    """A token's bytes as quoted text; bytes that are not UTF-8 by their escapes."""
    return repr(piece.decode("utf-8", "backslashreplace"))


def biases_json(biases: "Iterable[TokenBias]") -> "list[JSON]":
    """Token biases for people and programs, strongest first."""
    ordered = sorted(biases, key=lambda entry: (-abs(entry.bias), entry.token))
    return [
        {
            "token": entry.token,
            "text": entry.piece.decode("utf-8", "backslashreplace"),
            "bias": entry.bias,
            "z": round(entry.z, 2),
            "tasks": entry.evidence,
        }
        for entry in ordered
    ]


_STRONGEST = 10
"""Token biases that are shown of a prior; `tfgrpo tokens show` has all."""


def size_text(prior: "Prior") -> str:
    """What a prior holds, in numbers."""
    return f"{counted(len(prior.experiences), 'experience')}, {counted(len(prior.biases), 'token bias')}"


def prior_lines(prior: "Prior", why: str = "") -> list[str]:
    """A prior as readable lines; `why` is what its lineage says of how it came."""
    lines = [f"prior {prior.id}", size_text(prior)]
    lines += [printable(why)] if why else []
    lines += [f"- {printable(experience.text)}" for experience in prior.experiences]
    ordered = sorted(prior.biases, key=lambda entry: (-abs(entry.bias), entry.token))
    lines += [f"{token_text(entry.piece):>16} {entry.bias:+.2f}  (z {entry.z:+.1f})" for entry in ordered[:_STRONGEST]]
    if len(ordered) > _STRONGEST:
        lines.append(f"... and {len(ordered) - _STRONGEST} more: tfgrpo tokens show")
    return lines


def experience_json(status: "ExperienceStatus") -> "dict[str, JSON]":
    """One experience with its effect and fate."""
    effect, decision = status.effect, status.decision
    return {
        "id": status.experience.id,
        "text": status.experience.text,
        "kind": status.experience.kind,
        "fate": decision.verdict if decision else None,
        "why": decision.why if decision else None,
        "by": decision.by if decision else None,
        "effect": None if effect is None else _effect_json(effect, status.imported),
    }


def _effect_json(effect: "Effect", imported: bool) -> "dict[str, JSON]":
    return {"mean": effect.mean, "sd": effect.sd, "evidence": effect.evidence, "imported": imported}


def effect_text(effect: "JSON") -> str:
    """Mean and 95% interval of an effect, and the rollouts behind it; what was measured elsewhere says so."""
    if effect is None or not effect["evidence"]:
        return "not measured"
    low, high = effect["mean"] - 1.96 * effect["sd"], effect["mean"] + 1.96 * effect["sd"]
    elsewhere = " (imported)" if effect.get("imported") else ""
    return f"{effect['mean']:+.2f} [{low:+.2f}, {high:+.2f}] n={effect['evidence']}{elsewhere}"


def percent(share: float) -> str:
    """A share in percent, one decimal."""
    return f"{100 * share:.1f}%"


def learned_lines(learned: "LearningResult") -> list[str]:
    """What a learning run came to."""
    usage = learned.usage
    lines = [f"run {learned.run.id}: {counted(usage.calls, 'call')}, {usage.tokens:,} tokens"]
    rewards = [step.mean_reward for step in learned.steps]
    if rewards:
        lines.append("mean reward by step: " + " -> ".join(percent(reward) for reward in rewards))
    if rested := sum(step.rested for step in learned.steps):
        lines.append(f"visits left out: {rested}, of tasks whose attempts were all right or all wrong twice in a row")
    fates = ", ".join(f"{count} {fate}" for fate, count in sorted(learned.fates.items())) or "none proposed"
    undistilled = sum(len(step.undistilled) for step in learned.steps)
    failed = f"; in {counted(undistilled, 'group')} the distiller gave no usable answer" if undistilled else ""
    lines.append(f"experiences: {fates}{failed}")
    lines += _promotion_lines(learned)
    if learned.ended:
        lines.append(f"the budget ended this run: {learned.ended}")
        lines.append("the same command with a larger ceiling goes on from there")
    return lines


def _promotion_lines(learned: "LearningResult") -> list[str]:
    """What became of what was learned, and on what evidence."""
    candidate, promotion = learned.candidate, learned.promotion
    if candidate is None:
        what = "nothing was learned yet" if not learned.steps else "nothing was learned that evidence supports"
        return [f"{what}; the live prior is as it was"]
    named = f"prior {candidate.id}"
    what = f"({size_text(candidate)})"
    if promotion is None:
        return [f"{named} {what} is live already"]
    if promotion.state == "ungated":
        return [f"{named} is live, ungated {what}; measure it on other tasks: tfgrpo eval"]
    became = {"live": "is live", "rejected": "was rejected"}.get(promotion.state, "is a candidate")
    kept = "" if promotion.state == "live" else "; the live prior is as it was"
    why = [] if promotion.undecided else [printable(promotion.why)]  # what the budget ended says it
    return [f"{named} {became} {what}{kept}", *why]


def evaluation_lines(result: "Evaluation") -> list[str]:
    """Arms, differences and intervals."""
    from ..evaluation.difference import FEWEST

    lines = [f"{counted(result.tasks, 'task')} x {counted(result.repeats, 'attempt')} an arm"]
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
        failed, lost = counted(result.failed, "attempt"), counted(result.lost_tasks, "task")
        lines.append(f"{failed} failed, {lost} left out: {result.first_error}")
    return lines


def demo_lines(result: "Demo", fates: "Sequence[ExperienceStatus]") -> list[str]:
    """The demo's story in the order in which it happened."""
    lines = ["", "What was learned", *learned_lines(result.learned)]
    _, _, *texts = prior_lines(result.learned.candidate or result.learned.prior)  # which prior it is was said above
    lines += [f"  {line}" for line in texts]
    for status in fates:
        row = experience_json(status)
        lines.append(f"  {row['fate']}: {printable(row['text'])} ({printable(row['why'])})")
    lines += ["", "On messages it has not seen", *evaluation_lines(result.evaluation)]
    lines += ["", "One call each, frozen and learned"]
    for example in result.examples:
        lines.append(f"  {printable(example.message)}  ({printable(example.answer)})")
        lines.append(f"    {printable(example.frozen)!r} -> {printable(example.learned)!r}")
    usage = result.usage
    lines += ["", f"{result.seconds:.0f} s, {usage.calls:,} calls, {usage.tokens:,} tokens, seed {result.seed}"]
    return lines
