"""The gate where all answers are listed: what both priors are expected to earn is known, and nothing is sampled. Pure.

With L = sum p r over the listed answers of a task and u the probability of what is not listed (`exact`), the expected
reward lies in [L, L + u]. So

    d = L_candidate - (L_live + u_live)

is never more than the true effect on that task: what is not listed counts as wrong for the candidate, and as right for
the live prior. One pass says all that there is to say. Whether the mean over *these* tasks is above zero is then no
matter of chance, and of candidates that gain nothing on tasks like these every other one has it. So whatever is
claimed, one look at each task decides (`bets.chance_of_one_look`), and for `tasks-like-these` the interval over tasks
beside it, as at temperature 0: what is left of the noise is how tasks differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..records import Task
from ..rollouts.rewards.matchers import normalised
from ..trials import Pass

if TYPE_CHECKING:
    from ..token_prior.listing import ListedAnswers


@dataclass(frozen=True, slots=True)
class Expected:
    """What one prior is expected to earn at one task."""

    low: float
    high: float
    """Bounds, for what is not listed."""
    mean: float
    likeliest: str
    """Of the listed answers."""


_UNKNOWN = Expected(0.0, 1.0, 0.5, "")
"""Where nothing could be listed."""


def expected_of(found: "ListedAnswers | None") -> Expected:
    """From what is listed."""
    if found is None or not found.tree.texts:
        return _UNKNOWN
    now, tree = found.now, found.tree
    best = max(sorted(tree.texts), key=lambda place: now.reached[place[0]] * now.chances[place])
    return Expected(now.low, min(1.0, now.high), now.mean, tree.texts[best])


def exact_pass(bet: float, tasks: Sequence[Task], found: Sequence[tuple[Expected, Expected]]) -> Pass:
    """What is written down of the pass, but for the e-value after it; the candidate's first of each pair."""
    by_task = {task.id: pair for task, pair in zip(tasks, found, strict=True)}
    return Pass(
        1,
        bet,
        {task: (candidate.mean, live.mean) for task, (candidate, live) in by_task.items()},
        0.0,
        {task: candidate.low - live.high for task, (candidate, live) in by_task.items()},
        {
            task: (normalised(candidate.likeliest), normalised(live.likeliest))
            for task, (candidate, live) in by_task.items()
        },
    )
