"""What the gate says after a look: promote, reject or go on, and one sentence on what that rests. Pure."""

from dataclasses import dataclass
from math import log, sqrt
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..evaluation.difference import FEWEST, Difference, paired_difference, student_quantile
from ..text import counted
from .bets import BET_CAP, chance_of_one_look, shrunk, sign_test, skewed_t
from .e_process import Gate, GateState
from .labels import Objection
from .power import (
    LARGEST_PLAN,
    POWER,
    SPREAD,
    chance_of_promotion,
    passes_needed,
    smallest_effect,
    smallest_over_tasks,
    tasks_needed,
)

_HOPE = 2.0
"""Standard errors above the estimate that the effect is hoped to be before passes are given up."""
_LUCK = 1.645
"""Standard deviations of luck that are hoped for on top: the best 5% of runs under that effect."""
_NO_CHANCE = 0.01
"""A chance below which lost pairs are not taken for an outage's."""
GateVerdict: TypeAlias = Literal["promote", "reject", "continue"]


@dataclass(frozen=True, slots=True)
class GateDecision:
    """The verdict after a look, and one sentence that says on what; the first that is not `continue` is final."""

    verdict: GateVerdict
    reason: str


def judge(gate: Gate, state: GateState, objection: Objection | None = None) -> GateDecision:
    """Promote, reject, or make another pass; to be asked after every pass. Stopping early is always allowed.

    An objection is what speaks against the candidate however much better it is; while it may be luck, passes go on.
    """
    claim, figures, objection = claim_in_words(gate), _figures(gate, state), objection or _lost_alone(state)
    once = is_one_look(gate, state)
    over = state.passes >= gate.passes or (once and state.passes > 0)
    if _shown(gate, state, once=once):
        if objection is None:
            return GateDecision("promote", f"promoted: {claim} ({figures})")
        if over or objection.settled:
            return GateDecision("reject", f"not promoted: {objection.why}, though {claim} ({figures})")
        return GateDecision("continue", f"undecided: {objection.why} so far ({figures})")
    if not over and _within_reach(gate, state):
        return GateDecision("continue", f"undecided whether {claim} ({figures})")
    why = "it was not shown that" if over else "the passes left could hardly show that"
    return GateDecision("reject", f"not promoted: {why} {claim} ({figures}); {enough(gate, state)}")


def _lost_alone(state: GateState) -> Objection | None:
    """That the upstream fails under the candidate more often than by chance: what is lost so may be what is wrong.

    An outage hits both alike, so that of the pairs lost at most half are lost by the candidate alone.
    """
    alone, lost = state.lost_by_candidate, state.lost
    if not lost or sign_test(alone, lost) > _NO_CHANCE:
        return None
    told = f"{alone} of {counted(lost, 'pair')} lost were lost by the candidate alone, as in no outage"
    return Objection(told, settled=False)


def claim_in_words(gate: Gate) -> str:
    """What a promotion says."""
    if gate.claim == "these-tasks":
        return f"the mean effect over these {gate.tasks} tasks is above zero"
    return f"the mean effect over these {gate.tasks} tasks, and over tasks like them, is above zero"


def claimed(gate: Gate) -> str:
    """What a promotion's gain is over."""
    return "tasks like these" if gate.claim == "tasks-like-these" else "just these tasks"


def interval_over_tasks(state: GateState, confidence: float = 0.95) -> Difference | None:
    """The mean effect with its interval over tasks like these, to stand beside a verdict; None of fewer than FEWEST.

    Of an upstream that repeats itself, that of the first pass.
    """
    if len(state.differences) < FEWEST:
        return None
    return paired_difference(
        gains_by_task(state), confidence, 1 if state.repeats else [made for made in state.pairs if made]
    )


def gains_by_task(state: GateState) -> NDArray[np.float64]:
    """What each task gains: the mean over passes, or the first pass alone where the upstream repeats itself."""
    return np.array(state.first) if state.repeats else state.differences


def is_one_look(gate: Gate, state: GateState) -> bool:
    """Whether all evidence is one look at each task."""
    return gate.passes == 1 or state.repeats


def _shown(gate: Gate, state: GateState, *, once: bool) -> bool:
    """Whether the claim is shown; not before a second pass has shown that samples are fresh."""
    if once:
        enough = state.passes > 0 and chance_of_one_look(np.array(state.first)) <= gate.level
    else:
        enough = state.passes > 1 and state.log_e >= -log(gate.level)
    if not enough:
        return False
    if gate.claim == "these-tasks" and (once or not state.sticks):
        return len(state.differences) > 1
    return _above_zero(gate, state) and not _few_lose_much(gate, state, once=once)


def _above_zero(gate: Gate, state: GateState) -> bool:
    """Whether there is an interval over tasks, and it is above zero."""
    found = interval_over_tasks(state, gate.confidence)
    return found is not None and found.low > 0


def _few_lose_much(gate: Gate, state: GateState, *, once: bool) -> bool:
    """Whether a few tasks lose so much that there may well be more of them among tasks like these.

    A single sample of a task does not tell; where answers are listed, a single look does.
    """
    means = gains_by_task(state)
    if once and gate.statistic != "exact":
        return False
    return means.min() < 0 and skewed_t(means) < student_quantile(0.5 + gate.confidence / 2, len(means) - 1)


def _within_reach(gate: Gate, state: GateState) -> bool:
    """Whether the passes left could still promote an effect at the top of what the data allow, with luck on top.

    Under an effect of _HOPE standard errors above the estimate, n pairs with the best bet add on average
    n (lambda effect - lambda^2 q / 2) to log e, with standard deviation lambda sqrt(n q). The hope shrinks with every
    pass, so what is useless ends early; of what is worth 10 points, about 1 run in 100 is given up too early.
    """
    scored = sum(state.pairs)
    if not scored:
        return True
    if gate.claim == "tasks-like-these" and _tasks_differ_too_much(gate, state):
        return False
    _, square = shrunk(scored, sum(state.sums), state.squares, state.guess)
    effect = max(0.0, state.estimate + _HOPE * sqrt(square / scored))
    bet = min(BET_CAP, effect / square)
    left = (gate.passes - state.passes) * gate.tasks
    growth, luck = left * (bet * effect - bet**2 * square / 2), _LUCK * bet * sqrt(left * square)
    return state.log_e + growth + luck >= -log(gate.level)


def _tasks_differ_too_much(gate: Gate, state: GateState) -> bool:
    """Whether the interval over tasks would hold zero with all passes made, were the estimate _HOPE errors higher.

    Of the variance s2 between task means, v / n is noise of n passes with v = the mean of d^2; the rest stays.
    """
    means, scored = state.differences, sum(state.pairs)
    if len(means) < FEWEST or state.passes < 2:
        return False
    noise, each = state.squares / scored, scored / len(means)
    between = max(0.0, float(means.var(ddof=1)) - noise / each)
    error = sqrt((between + noise / max(each, gate.passes)) / len(means))
    hope = state.estimate + _HOPE * sqrt(noise / scored)
    return hope < student_quantile(1 - gate.level / 2, len(means) - 1) * error


def _figures(gate: Gate, state: GateState) -> str:
    """The numbers behind a verdict, for a person."""
    made = f"{state.passes} of {counted(gate.passes, 'pass')}"
    if is_one_look(gate, state) and state.passes:
        chance = chance_of_one_look(np.array(state.first))
        evidence = f"one look at each task, chance of that by luck {chance:.2g}, {gate.level:g} allowed"
    else:
        evidence = f"e-value {state.e_value:.3g} after {made}, {1 / gate.level:g} needed"
    estimate = f"estimate {100 * state.estimate:+.1f} points" if any(state.pairs) else "no pair was scored"
    return "; ".join([evidence, estimate, *_remarks(gate, state)])


def _remarks(gate: Gate, state: GateState) -> list[str]:
    """What a person should know about the numbers."""
    found = []
    if state.lost:
        found.append(f"{counted(state.lost, 'pair')} lost, {state.lost_by_candidate} by the candidate alone")
    if any(state.failed):
        candidate, live = state.failed
        found.append(f"failed by themselves, a reward of 0: {candidate} of the candidate's, {live} of the live prior's")
    never = state.pairs.count(0) if any(state.pairs) else 0
    if never:
        found.append(f"{never} of the tasks never scored, taken for equal")
    if state.repeats:
        found.append("the upstream repeats its answers: each task counts once")
    elif state.sticks and state.again:
        same = f"{state.again - state.fresh} of {state.again} answers were those of the first pass"
        found.append(f"{same}, as fresh samples would hardly be: the interval over tasks counts each task once")
    lose_much = _above_zero(gate, state) and _few_lose_much(gate, state, once=is_one_look(gate, state))
    if gate.claim == "tasks-like-these" and lose_much:
        found.append("a few of the tasks lose so much that others like them may lose more than the rest gains")
    found += _held_back(gate, state)
    if gate.statistic == "likelihood":
        found.append("by likelihood ratios")
    if gate.statistic == "exact":
        found.append("by expected rewards, all answers listed; what is not counts against the candidate")
    if len(state.differences) < FEWEST <= gate.tasks or gate.tasks < FEWEST:
        found.append(f"fewer than {FEWEST} tasks stand for no others")
    return found


def _held_back(gate: Gate, state: GateState) -> list[str]:
    """That the bet is won, and what alone holds a promotion back."""
    if state.log_e < -log(gate.level) or is_one_look(gate, state):
        return []
    if state.passes == 1:
        return ["a second pass has to show that answers come out otherwise at all"]
    found = interval_over_tasks(state, gate.confidence)
    if found is None or found.low > 0 or (gate.claim == "these-tasks" and not state.sticks):
        return []
    low, percent = 100 * found.low, f"{100 * gate.confidence:g}%"
    return [f"the {percent} interval over tasks has to be above zero, and begins at {low:+.1f}"]


def enough(gate: Gate, state: GateState) -> str:
    """What would likely have shown an effect as large as the estimate; else what these tasks and passes would."""
    effect = state.estimate
    if effect <= 0 or gate.passes == 1 or chance_of_promotion(gate.tasks, gate.passes, effect, gate.level) >= POWER:
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
    told = (
        f"{size} promote an effect of {100 * effect:+.1f} points in {100 * POWER:.0f}% of runs, smaller ones less often"
    )
    wider = smallest_over_tasks(gate.tasks, gate.passes, gate.level)
    if gate.claim == "these-tasks" or wider is None or wider <= effect:
        return told
    return f"{told}; where it differs by task (sd {100 * SPREAD:.0f} points), one of {100 * wider:+.1f}"
