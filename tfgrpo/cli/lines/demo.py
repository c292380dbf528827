"""The demo's story."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .evaluation import evaluation_lines
from .experiences import experience_json
from .learning import learned_lines
from .priors import prior_lines
from .tables import printable

if TYPE_CHECKING:
    from ...demo.run import Demo
    from ...store import ExperienceStatus


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
