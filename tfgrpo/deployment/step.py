"""What the autopilot does next: one pure function from what the store remembers and what feedback says to actions.

All states are in the store: which prior is candidate, canary or live, and the rows of the history. So a process that
was killed goes on where it was, and a simulation is a loop around `step`. No decision rests on the clock: it says how
much may be spent today, and when to say that a canary gets no traffic, no more.

    enough feedback, and budget left  ->  learn  ->  candidate (what passed the gate, or what retired an experience)
    candidate  ->  canary at its share  ->  live, if the bet on benefit wins (a person first, with `ask`)
                                        ->  rolled back, if the bet on harm wins, or nothing shows for long
    live  ->  rolled back, when it no longer beats the calls that are held back from it
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal, TypeAlias

from ..errors import InputError
from ..records import JSON
from .comparison import FALSE_ALARMS, HARM_LEVEL, LEAST_GAIN, Comparison, Wager, canary_level
from .effects import EffectInUse

ActionKind: TypeAlias = Literal["learn", "retire", "canary", "promote", "roll back", "go back", "withdraw", "tell"]
LEAST_OF_A_DAY = 0.1
"""Of a day's calls: with fewer left nothing comes of a learning."""
_MOST_DOUBLINGS = 20
QUIET_SECONDS = 86_400.0
"""Without feedback on a canary, until that is said."""


@dataclass(frozen=True, slots=True)
class AutopilotTerms:
    """What the autopilot was told to keep to."""

    daily_calls: int = 2_000
    """That learning may make between midnight and midnight, UTC."""
    min_feedback: int = 200
    """Calls that are fed back anew before it learns again."""
    share: float = 0.2
    """Of the calls, for a canary."""
    ask: bool = False
    """A person has to approve each canary and each promotion."""
    alpha: float = 0.05
    """Chance of ever promoting a canary that is no better, over the life of the namespace."""
    most_pairs: int = 2_000
    """Of a canary; one that has shown nothing by then is withdrawn."""

    def __post_init__(self) -> None:
        """Raises InputError for what cannot be."""
        for name, least in (("daily_calls", 0), ("min_feedback", 1), ("most_pairs", 10)):
            if getattr(self, name) < least:
                raise InputError(f"--{name.replace('_', '-')} {getattr(self, name)}: at least {least}")
        if not (isfinite(self.share) and 0 < self.share < 1):
            raise InputError(f"--share {self.share}: a share of the calls, above 0 and below 1")
        if not 0 < self.alpha < 1:
            raise InputError(f"--alpha {self.alpha}: a chance, above 0 and below 1")


@dataclass(frozen=True, slots=True)
class CanaryTrial:
    """The canary that is out."""

    prior: str
    number: int = 0
    """In the life of the namespace, from 1; 0: it was put out by somebody else, and its trial has not begun."""
    live: str | None = None
    """The prior that it is tried against; None: none."""
    level: float = 0.0
    """What it may spend of alpha."""


@dataclass(frozen=True, slots=True)
class DeployedState:
    """What the store remembers of a namespace."""

    live: str | None = None
    canary: CanaryTrial | None = None
    candidate: str | None = None
    """The last that waits to be tried: one that passed the gate, or that lacks what has come to hurt."""
    canaries: int = 0
    """That were begun."""
    approved: frozenset[str] = frozenset()
    """Priors that a person has approved for the next thing to be done with them."""
    said: frozenset[str] = frozenset()
    """What was told and is not told again, by what `Action.about` calls it."""
    events: int = 0
    """In its lineage: where there are others by now, nothing that was decided by these is done."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What feedback says now, and what the day allows."""

    comparison: Comparison | None = None
    """Of the canary."""
    quiet: float = 0.0
    """Seconds since the last feedback on the canary, or since it was put out."""
    forgotten: bool = False
    """Whether calls since the canary was put out were forgotten: what is left is no trial from its beginning."""
    drifted: bool = False
    """Whether the live prior no longer beats the calls that are held back from it."""
    drift: Wager = field(default_factory=Wager)
    hurting: EffectInUse | None = None
    """An experience of the live prior that has come to hurt."""
    new_feedback: int = 0
    """Calls that were fed back since learning last looked."""
    failed: int = 0
    """Learnings of today, in a row, that came to nothing."""
    calls_left: int = 0
    """Of today's."""
    can_learn: bool = True
    day: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """Something to be done, and why; each becomes a row of the history."""

    kind: ActionKind
    why: str
    prior: str | None = None
    figures: Mapping[str, JSON] = field(default_factory=dict)
    about: str = ""
    """Of what is only told: the same is told once."""


def step(state: DeployedState, facts: Facts, terms: AutopilotTerms) -> tuple[Action, ...]:
    """What is to be done now: at most one thing that changes what is served, and what a person should know."""
    for decide in (_drift, _canary, _retire, _candidate, _learn):
        if (found := decide(state, facts, terms)) is not None:
            return tuple(one for one in found if not (one.kind == "tell" and one.about in state.said))
    return ()


_Found: TypeAlias = "tuple[Action, ...] | None"
"""None: the next one decides."""


def _drift(state: DeployedState, facts: Facts, _: AutopilotTerms) -> _Found:
    if not (state.live and facts.drifted):
        return None
    why = (
        f"it no longer gains {100 * LEAST_GAIN:.0f} points over the calls that are held back from it: a bet against"
        f" that has grown to {facts.drift.e_value:,.0f}, and reaches {FALSE_ALARMS:,} by chance once in as many pairs"
    )
    return (Action("go back", why, state.live, {"e_value": facts.drift.e_value}),)


def _canary(state: DeployedState, facts: Facts, terms: AutopilotTerms) -> _Found:
    trial = state.canary
    if trial is None:
        return None
    if trial.number == 0:
        return (_begin(state, trial.prior, terms, "it is out already; its trial begins now"),)
    if trial.live != state.live:
        why = f"{state.live or 'no prior'} is live now, and it was tried against {trial.live or 'none'}"
        return (Action("withdraw", why, trial.prior),)
    action = _decided(trial, facts.comparison, terms) if facts.comparison else None
    if facts.forgotten and not (action and action.kind == "roll back"):
        why = "calls of its trial were forgotten, so it begins anew; have the proxy keep more (--keep-days, --keep-mb)"
        return (Action("withdraw", why, trial.prior),)
    if action:
        return (_asked(action, state, terms) if action.kind == "promote" else action,)
    return _quiet(trial, facts)


def _decided(trial: CanaryTrial, found: Comparison, terms: AutopilotTerms) -> Action | None:
    """What its feedback makes of a canary; None: it goes on."""
    told = f"{100 * found.difference:+.1f} points over {found.pairs} pairs ({found.tried} keys against {found.control})"
    figures: dict[str, JSON] = {
        "canary": trial.number, "pairs": found.pairs, "tried": found.tried, "control": found.control,
        "difference": found.difference, "benefit": found.benefit.e_value, "harm": found.harm.e_value,
        "level": trial.level,
    }  # fmt: skip
    if found.harm.decides(HARM_LEVEL):
        why = f"{told}: that it hurts is bet on with {found.harm.e_value:,.1f}, from {1 / HARM_LEVEL:g} on it goes"
        return Action("roll back", why, trial.prior, figures)
    if found.benefit.decides(trial.level):
        why = f"{told}: that it helps is bet on with {found.benefit.e_value:,.1f}, {1 / trial.level:,.1f} was needed"
        return Action("promote", why, trial.prior, figures)
    if found.pairs >= terms.most_pairs:
        why = f"{told}, and neither benefit nor harm has shown: it ends here"
        return Action("roll back", why, trial.prior, figures)
    return None


def _quiet(trial: CanaryTrial, facts: Facts) -> tuple[Action, ...]:
    """A canary goes on; what is said where it hears nothing."""
    if facts.quiet < QUIET_SECONDS:
        return ()
    why = (
        "a day without feedback on the canary: is there traffic through a proxy or a client that records it, and does"
        " anybody give feedback? Until then nothing is decided; `tfgrpo prior use` and `rollback` are a person's"
    )
    return (Action("tell", why, trial.prior, about=f"quiet {trial.prior} {trial.number} {facts.day}"),)


def _retire(state: DeployedState, facts: Facts, _: AutopilotTerms) -> _Found:
    hurting = facts.hurting
    if not (state.live and hurting) or state.candidate:
        return None
    reach = f"{100 * hurting.low:+.1f} to {100 * hurting.high:+.1f}"
    why = f"{hurting.experience} has come to hurt: {100 * hurting.mean:+.1f} points ({reach}, at any look)"
    figures: dict[str, JSON] = {
        "experience": hurting.experience, "mean": hurting.mean, "low": hurting.low, "high": hurting.high,
        "keys": hurting.keys,
    }  # fmt: skip
    return (Action("retire", why, state.live, figures),)


def _candidate(state: DeployedState, _: Facts, terms: AutopilotTerms) -> _Found:
    if state.candidate is None:
        return None
    why = "the candidate is tried on a share of the calls"
    return (_asked(_begin(state, state.candidate, terms, why), state, terms),)


def needed_feedback(terms: AutopilotTerms, failed: int) -> int:
    """New feedback before it learns, after so many learnings in a row that failed: what is broken is tried seldom."""
    return int(terms.min_feedback * 2 ** min(failed, _MOST_DOUBLINGS))


def _learn(state: DeployedState, facts: Facts, terms: AutopilotTerms) -> _Found:
    if not facts.can_learn or facts.new_feedback < needed_feedback(terms, facts.failed):
        return ()
    if facts.calls_left < max(1.0, LEAST_OF_A_DAY * terms.daily_calls):
        why = f"today's {terms.daily_calls:,} calls are used up; it learns on tomorrow, and watches meanwhile"
        return (Action("tell", why, about=f"budget {facts.day}"),)
    why = f"{facts.new_feedback:,} calls were fed back since learning last looked"
    figures: dict[str, JSON] = {"calls": facts.calls_left, "feedback": facts.new_feedback, "failed": facts.failed}
    return (Action("learn", why, figures=figures),)


def _begin(state: DeployedState, prior: str, terms: AutopilotTerms, why: str) -> Action:
    number = state.canaries + 1
    level = canary_level(terms.alpha, number)
    figures: dict[str, JSON] = {"canary": number, "level": level, "share": terms.share, "live": state.live}
    return Action("canary", why, prior, figures)


def _asked(action: Action, state: DeployedState, terms: AutopilotTerms) -> Action:
    """The action, or the question whether it may be done, where a person has to say so."""
    if not terms.ask or action.prior in state.approved:
        return action
    what = "become the canary" if action.kind == "canary" else "go live"
    why = f"{action.prior} could {what}: {action.why}; `tfgrpo autopilot approve` lets it"
    return Action("tell", why, action.prior, action.figures, f"ask {action.kind} {action.prior} {state.canaries}")
