"""How healthy the groups of a run are: what is left to tell their rollouts apart, and what a success takes. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

from ..prompts import task_place
from ..records import Group, Rollout


@dataclass(frozen=True, slots=True)
class StepHealth:
    """One step."""

    step: int
    """From 1."""
    entropy: float
    """Bits of the rewards within a group, on average: 0 where all of a group earn the same, and nothing is compared."""
    tool_calls: int
    calls_a_success: float | None
    """Tool calls for each unit of reward, those of rollouts that failed too; None where nothing was earned."""


def health_of(groups: Sequence[Group]) -> tuple[StepHealth, ...]:
    """Every step of a run that has a scored rollout."""
    steps = sorted({group.step for group in groups if group.scored})
    return tuple(_health(step, [group for group in groups if group.step == step]) for step in steps)


def _health(step: int, groups: Sequence[Group]) -> StepHealth:
    scored = [group for group in groups if group.scored]
    earned = sum(float(group.rewards.sum()) for group in scored)
    calls = sum(tool_calls(rollout) for group in groups for rollout in group.rollouts)
    entropy = sum(map(_entropy, scored)) / len(scored)
    return StepHealth(step + 1, entropy, calls, calls / earned if earned else None)


def _entropy(group: Group) -> float:
    """Of the rewards of a group, in bits."""
    counts, size = Counter(round(float(reward), 6) for reward in group.rewards), len(group.rewards)
    return sum(-count / size * log2(count / size) for count in counts.values()) + 0.0


def tool_calls(rollout: Rollout) -> int:
    """How many tools a rollout called; those of the demonstrations before its task are none of its own."""
    own = rollout.messages[task_place(rollout) or 0 :]
    return sum(len(message.get("tool_calls") or ()) for message in own)
