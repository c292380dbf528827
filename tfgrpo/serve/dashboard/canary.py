"""The canary of a namespace and what feedback says of it: the same bets that the autopilot decides by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

from ...deployment.comparison import HARM_LEVEL, Comparison
from ...deployment.facts import comparison_of, deployed_state
from ...deployment.step import CanaryTrial
from ...records import JSON
from ...store import HistoryEntry, Store

_LATEST_ROWS = 100_000
_MOST_FEEDBACK = 50_000
"""Since a trial began; the autopilot ends one long before, and no thread beside the calls is to be busy for seconds."""
_POINTS = 400
"""Of a line in a picture, at most."""


@dataclass(frozen=True, slots=True)
class CanaryLook:
    """A canary on trial."""

    trial: CanaryTrial
    comparison: Comparison | None
    """None: there is more feedback than is gone through here."""

    @property
    def needed(self) -> float:
        """The e-value that promotes."""
        return 1 / self.trial.level

    @property
    def harmful(self) -> float:
        """The e-value that rolls back."""
        return 1 / HARM_LEVEL

    @property
    def chart(self) -> Mapping[str, JSON]:
        """Both bets after each pair, from the 1 that they begin with, and what decides them."""
        if self.comparison is None:
            return {}
        paths = [
            ("that it helps", "good", self.comparison.benefit.path),
            ("that it hurts", "bad", self.comparison.harm.path),
        ]
        at = thinned(range(len(paths[0][2]) + 1))
        lines = [(label, tone, [0.0, *path]) for label, tone, path in paths]
        series = [{"label": label, "tone": tone, "values": [line[n] for n in at]} for label, tone, line in lines]
        thresholds = [
            {"value": log(self.needed), "tone": "good", "label": "promotes"},
            {"value": log(self.harmful), "tone": "bad", "label": "rolls back"},
        ]
        return {"x": at, "time": False, "of": "pair", "y": "log_e", "thresholds": thresholds, "series": series}


def canary_look(store: Store, namespace: str, most: int = _MOST_FEEDBACK) -> CanaryLook | None:
    """What is known of the canary; None where there is none, or its trial has not begun."""
    trial = deployed_state(store, namespace).canary
    begun = _begun(store.history_of(namespace, _LATEST_ROWS), trial.prior) if trial and trial.number else None
    if trial is None or begun is None:
        return None
    told = begun.figures
    first = int(told.get("feedback_id") or 0)
    if store.calls_fed_back(namespace, first) > most:
        return CanaryLook(trial, None)
    return CanaryLook(trial, comparison_of(store.drawn_feedback(namespace, first), trial, float(told["share"])))


def _begun(rows: Sequence[HistoryEntry], prior: str) -> HistoryEntry | None:
    return next((row for row in reversed(rows) if row.action == "canary" and row.prior == prior), None)


def thinned(places: Sequence[int]) -> list[int]:
    """So many of them at most, the first and the last among them."""
    every = max(1, -(-len(places) // _POINTS))
    return sorted({*places[::every], places[-1]})
