"""How things stand in a namespace in use, for people: the trial, the holdback, what experiences are worth, and what is
next. Only reads."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ..store import Store
from .effects import EffectInUse
from .facts import deployed_state, facts_of, live_in_use
from .step import Action, AutopilotTerms, DeployedState, Facts, step


@dataclass(frozen=True, slots=True)
class StatusInUse:
    """What an autopilot with these terms would see now."""

    namespace: str
    state: DeployedState
    facts: Facts
    effects: tuple[EffectInUse, ...]
    next: tuple[Action, ...]
    """What it would do."""


def status_of(store: Store, namespace: str, terms: AutopilotTerms, *, learns: bool) -> StatusInUse:
    """How things stand; `learns`: it is told how to learn."""
    state = deployed_state(store, namespace)
    facts = facts_of(store, namespace, state, terms, datetime.now(UTC), can_learn=learns)
    return StatusInUse(namespace, state, facts, live_in_use(store, namespace).effects, step(state, facts, terms))
