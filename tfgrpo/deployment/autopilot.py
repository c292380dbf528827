"""The loop in production: look at the store, decide (`step`), do it, write it down; again and again.

It is a process of its own beside proxies and clients, and touches nothing but the store, so that whatever happens to it
no call is lost. Two of them on one namespace: the second waits for the first.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from ..errors import InputError, TfgrpoError
from ..priors.offered import person_named
from ..priors.serving import event_of, went_back
from ..records import Decision, PriorState
from ..store import AUTOPILOT, Actor, HistoryEntry, Store, rolled_back_by_a_person
from .facts import deployed_state, facts_of
from .step import Action, AutopilotTerms, needed_feedback, step

_logger = logging.getLogger("tfgrpo")


@dataclass(frozen=True, slots=True)
class LearnedInUse:
    """What came of one learning from traffic."""

    prior: str | None
    """The candidate; None: nothing new was learned."""
    passed: bool
    """Whether it may be tried: the gate passed it, or there was none."""
    calls: int
    said: str


class LearnFromUse(Protocol):
    """Learns from what a namespace's traffic has shown, within so many calls; what it learns stays a candidate."""

    def __call__(self, store: Store, calls: int, /) -> LearnedInUse: ...


def _now() -> datetime:
    return datetime.now(UTC)


class Autopilot:
    """The autopilot of one namespace. `learn` is how it learns; None: it does not, and canaries come from elsewhere."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        namespace: str,
        terms: AutopilotTerms,
        learn: LearnFromUse | None = None,
        *,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._open, self._namespace, self._terms, self._learn, self._clock = open_store, namespace, terms, learn, clock
        self._trouble = ""

    def look(self) -> tuple[str, ...]:
        """Do what is to be done now; returns a line for each thing done or told. A failure is told, and tried again."""
        try:
            with self._open() as store:
                said = tuple(self._do(store, action, seen) for seen, action in self._next(store))
        except TfgrpoError as error:
            return self._told_once(f"nothing was done: {error}")
        except Exception as error:  # ours; the next look may have to roll back what hurts
            _logger.debug("a look of the autopilot failed", exc_info=True)
            return self._told_once(f"nothing was done, for a fault of tfgrpo's own: {type(error).__name__}: {error}")
        self._trouble = ""
        return said

    def run(self, seconds: float, say: Callable[[str], None]) -> None:
        """Look again and again, until the process ends."""
        while True:
            said = self.look()
            for line in said:
                say(line)
            if self._trouble or not said:
                time.sleep(seconds)

    def _next(self, store: Store) -> list[tuple[int, Action]]:
        """What is to be done, each with the events of the lineage that it was decided by."""
        state = deployed_state(store, self._namespace)
        can_learn = self._learn is not None
        facts = facts_of(store, self._namespace, state, self._terms, self._clock(), can_learn=can_learn)
        return [(state.events, action) for action in step(state, facts, self._terms)]

    def _told_once(self, trouble: str) -> tuple[str, ...]:
        """A trouble that goes on is told once."""
        before, self._trouble = self._trouble, trouble
        return () if trouble == before else (trouble,)

    def _do(self, store: Store, action: Action, seen: int) -> str:
        if action.kind == "learn":
            return self._learned(store, action)
        return do_in_store(store, self._namespace, action, seen=seen)

    def _learned(self, store: Store, action: Action) -> str:
        """Learn; that it begins is written down first, so that nothing is spent for a store that cannot be written."""
        assert self._learn is not None  # `can_learn`
        reached = {"feedback_id": store.last_feedback(self._namespace)}
        calls = int(str(action.figures["calls"]))
        _note(store, self._namespace, replace(action, figures={**action.figures, **reached}), "learning")
        try:
            found = self._learn(store, calls)
        except TfgrpoError as error:
            needed = needed_feedback(self._terms, int(str(action.figures["failed"])) + 1)
            why = f"learning came to nothing: {error}; it is tried again after {needed:,} more feedback, or tomorrow"
            told = replace(action, why=why, figures=reached)
            _note(store, self._namespace, told, "learning failed")
            return told.why
        figures = {**reached, "calls": found.calls, "passed": found.passed}
        told = replace(action, why=found.said, prior=found.prior, figures=figures)
        _note(store, self._namespace, told, "learned")
        return f"learned: {found.said}"


def approve(store: Store, namespace: str, *, by: str, prior: str | None = None) -> str:
    """A person lets a prior become the canary, or go live once its bet has won: the one named, or the one that waits.

    Returns its id; raises InputError where none waits.
    """
    state = deployed_state(store, namespace)
    waiting = state.canary.prior if state.canary else state.candidate
    chosen = store.prior(prior).id if prior else waiting
    if chosen is None or chosen not in (waiting, state.candidate):
        raise InputError(f"in namespace {namespace} {chosen or 'nothing'} waits for approval; tfgrpo history shows why")
    entry = HistoryEntry(namespace, "person", "approved", chosen, f"approved by {person_named(by)}")
    store.add_history(entry)
    return chosen


def do_in_store(store: Store, namespace: str, action: Action, *, by: str = AUTOPILOT, seen: int | None = None) -> str:
    """Carry out what concerns the store alone, and write it down; returns a line for people.

    `seen`: as many events of the lineage it was decided by; StoreError where somebody else has changed that meanwhile.
    """
    name, prior = _DONE[action.kind], action.prior
    if action.kind == "canary" and prior:
        action = _put_out(store, namespace, action, prior, by=by, seen=seen)
    elif action.kind in _STATES and prior:
        _make(store, namespace, prior, _STATES[action.kind], why=action.why, by=by, seen=seen)
    elif action.kind == "go back":
        _, now = went_back(store, namespace, by=by, why=action.why, seen=seen)
        rest = f"{now.prior.id} is {now.state} again" if now else "calls go out without a prior from now on"
        action = replace(action, why=f"{action.why}; {rest}")
    elif action.kind == "retire" and prior:
        action = _without_experience(store, namespace, action, prior, by=by, seen=seen)
    elif action.kind == "tell":
        action = replace(action, figures={**action.figures, "about": action.about})
    _note(store, namespace, action, name, by)
    return f"{name}: {action.prior}: {action.why}" if action.prior else f"{name}: {action.why}"


_STATES: dict[str, PriorState] = {"promote": "live", "roll back": "rolled back", "withdraw": "candidate"}
_DONE = {
    "promote": "promoted",
    "roll back": "rolled back",
    "withdraw": "withdrawn",
    "canary": "canary",
    "go back": "went back",
    "retire": "retired",
    "tell": "told",
}


def _make(store: Store, namespace: str, prior: str, state: PriorState, *, why: str, by: str, seen: int | None) -> None:
    event = event_of(store, namespace, store.prior(prior))
    store.set_state(namespace, prior, state, frame=event.frame, by=by, why=why, seen=seen)


def _put_out(store: Store, namespace: str, action: Action, prior: str, *, by: str, seen: int | None) -> Action:
    """Make a prior the canary at its share; what counts of feedback is what comes from now on."""
    out = store.canary(namespace)
    if out is None or out[0].prior.id != prior:
        store.add_share(namespace, prior, float(str(action.figures["share"])))
        _make(store, namespace, prior, "canary", why=action.why, by=by, seen=seen)
    share = out[1] if out and out[0].prior.id == prior else action.figures["share"]
    reached = {"feedback_id": store.last_feedback(namespace), "call": store.call_numbers()[1]}
    return replace(action, figures={**action.figures, "share": share, **reached})


def _without_experience(
    store: Store, namespace: str, action: Action, live: str, *, by: str, seen: int | None
) -> Action:
    """A candidate that is the live prior without what has come to hurt; in the library it is retired.

    Where a person has rolled that very prior back it is rejected: what is served stays, until a person says otherwise.
    """
    experience, now = str(action.figures["experience"]), store.prior(live)
    left = tuple(entry for entry in now.experiences if entry.id != experience)
    candidate, event = replace(now, experiences=left, parent=live), event_of(store, namespace, now)
    back = rolled_back_by_a_person(store.lineage(namespace), candidate.id)
    if back:
        stands = f"{back.by} has rolled back what is left without it, which stands ({back.why})"
        action = replace(action, why=f"{action.why}; {stands}: tfgrpo prior use {candidate.id} serves it")
    store.add_prior(candidate)
    state: PriorState = "rejected" if back else "candidate"
    store.set_state(namespace, candidate.id, state, frame=event.frame, by=by, why=action.why, seen=seen)
    store.add_decisions(namespace, [Decision(experience, "retired", action.why, by)])
    return replace(action, prior=candidate.id, figures={**action.figures, "of": live})


def _note(store: Store, namespace: str, action: Action, name: str, by: str = AUTOPILOT) -> None:
    actor: Actor = "autopilot" if by == AUTOPILOT else "person"
    store.add_history(HistoryEntry(namespace, actor, name, action.prior, action.why, action.figures))
