"""What a learning run came to."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ...text import counted, shortened
from .priors import size_text
from .race import race_lines
from .tables import percent, printable

if TYPE_CHECKING:
    from ...learning.result import LearningResult
    from ...observer import StepSummary


def learned_lines(learned: "LearningResult") -> list[str]:
    """What a learning run came to."""
    usage = learned.usage
    lines = [f"run {learned.run.id}: {counted(usage.calls, 'call')}, {usage.tokens:,} tokens"]
    lines += _step_lines(learned.steps)
    lines += race_lines(learned.race)
    fates = ", ".join(f"{count} {fate}" for fate, count in sorted(learned.fates.items())) or "none proposed"
    undistilled = sum(len(step.undistilled) for step in learned.steps)
    failed = f"; in {counted(undistilled, 'group')} the distiller gave no usable answer" if undistilled else ""
    lines.append(f"experiences: {fates}{failed}")
    lines += _promotion_lines(learned)
    if learned.tokens_a_call:
        prior = learned.candidate or learned.prior
        asked = f", and costs one embeddings call of {prior.embedding} for each new text" if prior.embedding else ""
        lines.append(f"{prior.id} adds {counted(learned.tokens_a_call, 'prompt token')} to a call{asked}")
    return [*lines, *ended_lines(learned.ended)]


def ended_lines(ended: str | None) -> Iterator[str]:
    """That a budget ended a run, where it did."""
    if ended:
        yield f"the budget ended this run: {ended}"
        yield "the same command with a larger ceiling goes on from there"


def _step_lines(steps: "Sequence[StepSummary]") -> Iterator[str]:
    """How the steps went: rewards, what was not visited, what failed and why."""
    if steps:
        which = ", of the tasks that it visited" if any(step.rested for step in steps) else ""
        yield f"mean reward by step{which}: " + " -> ".join(percent(step.mean_reward) for step in steps)
    if rested := sum(step.rested for step in steps):
        yield f"visits left out: {rested}, of tasks whose rollouts were all right or all wrong twice in a row"
    if failed := sum(step.failed for step in steps):
        first = next((step.first_error for step in steps if step.first_error), "no reward")
        yield f"{counted(failed, 'rollout')} failed, the first one: {printable(shortened(first, 300))}"


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
