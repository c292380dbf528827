"""How an autopilot's namespace stands, as lines and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from ...text import counted

if TYPE_CHECKING:
    from ...deployment.comparison import Comparison
    from ...deployment.effects import EffectInUse
    from ...deployment.status import StatusInUse
    from ...deployment.step import CanaryTrial
    from ...records import JSON


def status_lines(found: "StatusInUse") -> Iterator[str]:
    """For people."""
    state, facts = found.state, found.facts
    yield f"namespace {found.namespace}: {state.live or 'no prior'} is live"
    if state.canary:
        yield f"canary {state.canary.prior}: {_trial_told(state.canary, facts.comparison)}"
    elif state.candidate:
        yield f"candidate {state.candidate} waits to be tried"
    yield from map(_effect_told, found.effects)
    fed_back = counted(facts.new_feedback, "call")
    yield f"{fed_back} fed back since it last learned, {facts.calls_left:,} of today's calls left for learning"
    yield from (f"next: {action.kind}: {action.why}" for action in found.next)


def _trial_told(trial: "CanaryTrial", found: "Comparison | None") -> str:
    if not trial.number:
        return "put out by hand; an autopilot begins its trial"
    if found is None or not found.pairs:
        return f"number {trial.number}, no feedback on it yet"
    return (
        f"number {trial.number}, {100 * found.difference:+.1f} points over {found.pairs:,} pairs; bet on benefit"
        f" {found.benefit.e_value:,.1f} of {1 / trial.level:,.1f}, on harm {found.harm.e_value:,.1f}"
    )


def _effect_told(one: "EffectInUse") -> str:
    reach = f"{100 * one.low:+.1f} to {100 * one.high:+.1f}"
    return f"experience {one.experience}: {100 * one.mean:+.1f} points in use ({reach}), {one.keys:,} keys without it"


def status_json(found: "StatusInUse") -> dict[str, "JSON"]:
    """For programs."""
    state, facts = found.state, found.facts
    told: dict[str, JSON] = {"namespace": found.namespace, "live": state.live, "candidate": state.candidate}
    told["canary"] = asdict(state.canary) if state.canary else None
    told["trial"] = _comparison_json(facts.comparison) if facts.comparison else None
    told["effects"] = [asdict(one) for one in found.effects]
    told |= {"new_feedback": facts.new_feedback, "calls_left": facts.calls_left, "drift": facts.drift.e_value}
    told["next"] = [{"what": one.kind, "prior": one.prior, "why": one.why} for one in found.next]
    return told


def _comparison_json(found: "Comparison") -> dict[str, "JSON"]:
    figures: dict[str, JSON] = {"tried": found.tried, "control": found.control, "pairs": found.pairs}
    bets: dict[str, JSON] = {"benefit": found.benefit.e_value, "harm": found.harm.e_value}
    return {**figures, "difference": found.difference, **bets}
