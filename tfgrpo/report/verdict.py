"""Is it real? One run's outcome in a line, and a sentence that says on what it rests. Pure."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from .figures import Figures

Tone: TypeAlias = Literal["good", "bad", "unsure"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person needs at a glance."""

    title: str
    why: str
    tone: Tone


def verdict(figures: Figures) -> Verdict:
    """The outcome of a run; what has not ended well says so before anything else."""
    run = figures.entry.run
    if run.status == "failed":
        return Verdict("Failed", figures.error or "the store does not say why", "bad")
    if run.status == "interrupted":
        return Verdict("Interrupted", "What was done is kept; the same command goes on from there.", "unsure")
    if run.status == "running":
        return Verdict("Running, or killed", "It has not ended; the same command goes on from there.", "unsure")
    return _measured(figures) if run.kind == "eval" else _learned(figures)


def _learned(figures: Figures) -> Verdict:
    if figures.prior is None:
        return Verdict("Nothing was learned that evidence supports", "The live prior is as it was.", "unsure")
    return Verdict("Ungated: no test has passed it", "Whether it helps on other tasks is not known.", "unsure")


def _measured(figures: Figures) -> Verdict:
    result = figures.entry.run.result
    difference, tasks = result["difference"], result["tasks"]
    low, high = 100 * difference["low"], 100 * difference["high"]
    size = f"{100 * difference['mean']:+.1f} points"
    why = f"95% interval {low:+.1f} to {high:+.1f} points, over {tasks} tasks that learning did not see."
    if low > 0:
        return Verdict(f"Better than frozen by {size}", why, "good")
    if high < 0:
        return Verdict(f"Worse than frozen: {size}", why, "bad")
    return Verdict(f"No difference shown: {size}", why, "unsure")
