"""What the gate says after a look: promote, reject or go on, and one sentence on what that rests. Pure."""

from dataclasses import dataclass
from math import log, sqrt
from typing import Literal, TypeAlias

from ..evaluation.difference import Difference, paired_difference
from ..text import counted
from .bets import BET_CAP, shrunk
from .e_process import Gate, GateState
from .power import LARGEST_PLAN, POWER, chance_of_promotion, passes_needed, smallest_effect, tasks_needed

_HOPE = 2.0
"""Standard errors above the estimate that the effect is hoped to be before passes are given up."""
_LUCK = 1.645
"""Standard deviations of luck that are hoped for on top: the best 5% of runs under that effect."""
GateVerdict: TypeAlias = Literal["promote", "reject", "continue"]


@dataclass(frozen=True, slots=True)
class GateDecision:
    """The verdict after a look, and one sentence that says on what; the first that is not `continue` is final."""

    verdict: GateVerdict
    reason: str


def judge(gate: Gate, state: GateState) -> GateDecision:
    """Promote, reject, or make another pass; to be asked after every pass. Stopping early is always allowed."""
    claim = f"the mean effect over these {gate.tasks} tasks is above zero"
    figures = _figures(gate, state)
    if state.log_e >= -log(gate.level):
        return GateDecision("promote", f"promoted: {claim} ({figures})")
    if state.passes < gate.passes and _within_reach(gate, state):
        return GateDecision("continue", f"undecided whether {claim} ({figures})")
    why = "the passes left could hardly show that" if state.passes < gate.passes else "it was not shown that"
    return GateDecision("reject", f"not promoted: {why} {claim} ({figures}); {enough(gate, state)}")


def interval_over_tasks(state: GateState, confidence: float = 0.95) -> Difference | None:
    """The mean effect with its interval over tasks like these, to stand beside a verdict; None without a pair."""
    return paired_difference(state.differences, confidence) if any(state.pairs) else None


def _within_reach(gate: Gate, state: GateState) -> bool:
    """Whether the passes left could still promote an effect at the top of what the data allow, with luck on top.

    Under an effect of _HOPE standard errors above the estimate, n pairs with the best bet add on average
    n (lambda effect - lambda^2 q / 2) to log e, with standard deviation lambda sqrt(n q). The hope shrinks with every
    pass, so what is useless ends early; of what is worth 10 points, about 1 run in 100 is given up too early.
    """
    scored = sum(state.pairs)
    if not scored:
        return True
    _, square = shrunk(scored, sum(state.sums), state.squares)
    effect = max(0.0, state.estimate + _HOPE * sqrt(square / scored))
    bet = min(BET_CAP, effect / square)
    left = (gate.passes - state.passes) * gate.tasks
    growth, luck = left * (bet * effect - bet**2 * square / 2), _LUCK * bet * sqrt(left * square)
    return state.log_e + growth + luck >= -log(gate.level)


def _figures(gate: Gate, state: GateState) -> str:
    """The numbers behind a verdict, for a person."""
    evidence = (
        f"e-value {state.e_value:.3g} after {state.passes} of {counted(gate.passes, 'pass')}, {1 / gate.level:g} needed"
    )
    estimate = f"estimate {100 * state.estimate:+.1f} points" if any(state.pairs) else "no pair was scored"
    lost = (
        f"; {counted(state.lost, 'pair')} lost, {state.lost_by_candidate} by the candidate alone" if state.lost else ""
    )
    never = state.pairs.count(0) if any(state.pairs) else 0
    unseen = f"; {never} of the tasks never scored, taken for equal" if never else ""
    return f"{evidence}; {estimate}{lost}{unseen}"


def enough(gate: Gate, state: GateState) -> str:
    """What would likely have shown an effect as large as the estimate; else what these tasks and passes would."""
    effect = state.estimate
    if effect <= 0 or chance_of_promotion(gate.tasks, gate.passes, effect, gate.level) >= POWER:
        return detectable(gate)
    passes, tasks = passes_needed(gate.tasks, effect, gate.level), tasks_needed(gate.passes, effect, gate.level)
    ways = [_size(gate.tasks, passes)] if passes else []
    ways += [_size(tasks, gate.passes)] if tasks else []
    return f"an effect of that size would take about {' or '.join(ways or [f'more than {LARGEST_PLAN:,} passes'])}"


def _size(tasks: int, passes: int) -> str:
    return f"{counted(tasks, 'task')} x {counted(passes, 'pass')}"


def detectable(gate: Gate) -> str:
    """The smallest effect that these tasks and passes promote with a chance of POWER, in a sentence."""
    effect, size = smallest_effect(gate.tasks, gate.passes, gate.level), _size(gate.tasks, gate.passes)
    if effect is None:
        return f"{size}: too few to promote anything"
    return (
        f"{size} promote an effect of {100 * effect:+.1f} points in {100 * POWER:.0f}% of runs, smaller ones less often"
    )
