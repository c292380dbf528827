"""What the store remembers of a namespace, and what its feedback says: all that the autopilot decides by."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from typing import Any

from ..model.families import same_family
from ..records import Snapshot
from ..store import SERVING, DrawnFeedback, HistoryEntry, LineageEntry, Store
from .comparison import Blocks, Comparison, Heard, Wager, compared_in_use, drifted, first_of_keys
from .effects import EffectInUse, LeftOutCall, effects_in_use, to_retire_in_use
from .step import AutopilotTerms, CanaryTrial, DeployedState, Facts

_ALL = 1_000_000
_ENDLESS = 2**62
_LATEST = 50_000
"""Of the feedback on a live prior, what is weighed: it may be live for years."""


# What the store remembers


def deployed_state(store: Store, namespace: str) -> DeployedState:
    """How things stand in a namespace."""
    lineage, rows = store.lineage(namespace), store.history_of(namespace, _ALL)
    live, canary = store.live(namespace), store.canary(namespace)
    states = {event.prior: event.state for event in lineage}
    out = [row for row in rows if row.action == "canary"]
    return DeployedState(
        live.prior.id if live else None,
        _trial(canary[0].prior.id, rows) if canary else None,
        _waiting(rows, states) or _passed(store, lineage, live),
        len(out),
        _approved(rows),
        frozenset(str(row.figures.get("about")) for row in rows if row.action == "told"),
        len(lineage),  # which is read first
    )


def _trial(canary: str, rows: Sequence[HistoryEntry]) -> CanaryTrial:
    """The trial of the canary that is out; one that was put out since it ended, by somebody else, has not begun."""
    last = next((row for row in reversed(rows) if row.prior == canary and row.action in _TRIED), None)
    if last is None or last.action != "canary":
        return CanaryTrial(canary)
    told: Mapping[str, Any] = last.figures
    return CanaryTrial(canary, int(told["canary"]), told["live"], float(told["level"]))


_TRIED = ("canary", "promoted", "rolled back", "withdrawn")


def _waiting(rows: Sequence[HistoryEntry], states: Mapping[str, str]) -> str | None:
    """The last prior that the autopilot has a reason to try, and nobody has decided about."""
    reasons = (
        row.prior
        for row in reversed(rows)
        if row.action in ("retired", "withdrawn") or (row.action == "learned" and row.figures.get("passed"))
    )
    return next((prior for prior in reasons if prior and states.get(prior) == "candidate"), None)


def _passed(store: Store, lineage: Sequence[LineageEntry], live: Snapshot | None) -> str | None:
    """What somebody's own `learn --candidate` has left to be tried: the namespace's last candidate, if it is one still
    and the gate has passed it, against what is live and on the same model."""
    last = next((event for event in reversed(lineage) if event.state == "candidate"), None)
    if last is None or not last.run or [event for event in lineage if event.prior == last.prior][-1] != last:
        return None
    if live and not same_family(live.frame.model, last.frame.model):
        return None
    pair = last.prior, live.prior.id if live else None
    trials = (trial for trial in store.trials(run=last.run) if (trial.candidate, trial.live) == pair)
    return last.prior if any(one.outcome and one.outcome.verdict == "promoted" for one in trials) else None


def _approved(rows: Sequence[HistoryEntry]) -> frozenset[str]:
    """Priors approved by a person, since the last thing was done with them that needs it."""
    found: dict[str | None, bool] = {}
    for row in rows:
        if row.action in (*_TRIED, "approved"):
            found[row.prior] = row.action == "approved"
    return frozenset(prior for prior, approved in found.items() if prior and approved)


# What feedback says


def facts_of(
    store: Store, namespace: str, state: DeployedState, terms: AutopilotTerms, now: datetime, *, can_learn: bool = True
) -> Facts:
    """What feedback says of how things stand, and what the day allows."""
    rows, lineage = store.history_of(namespace, _ALL), store.lineage(namespace)
    day = _day(now, rows[-1].at if rows else "")
    learned = [int(_number(row.figures.get("feedback_id"))) for row in rows if _has_looked(row, day)]
    found = Facts(
        new_feedback=store.calls_fed_back(namespace, max(learned, default=0)),
        failed=_failed(rows, day),
        calls_left=max(0, terms.daily_calls - _spent_on(store, namespace, day)),
        can_learn=can_learn,
        day=day,
    )
    if state.canary and state.canary.number:
        found = replace(found, **_of_canary(store, namespace, state.canary, rows, now))
    if state.live is None:
        return found
    heard = _of_live(store, namespace, state.live, lineage, now)
    alarm, bet = drifted(held_back(heard), blocks_of(held_back(heard)))
    return replace(found, drifted=alarm, drift=bet, hurting=_hurting(store, heard, state.live, rows))


def _of_canary(
    store: Store, namespace: str, trial: CanaryTrial, rows: Sequence[HistoryEntry], now: datetime
) -> dict[str, Any]:
    begun = next(row for row in reversed(rows) if row.action == "canary" and row.prior == trial.prior)
    told: Mapping[str, Any] = begun.figures
    latest = [begun.at]

    def given() -> Iterator[DrawnFeedback]:
        for one in store.drawn_feedback(namespace, int(told["feedback_id"])):
            latest[1:] = [one.at]
            yield one

    found = comparison_of(given(), trial, float(told["share"]))
    quiet = (now - datetime.fromisoformat(max(latest))).total_seconds()
    return {"comparison": found, "quiet": quiet, "forgotten": store.call_numbers()[0] > told.get("call", _ENDLESS) + 1}


def comparison_of(given: Iterable[DrawnFeedback], trial: CanaryTrial, share: float) -> Comparison:
    """A canary's feedback against the control's: calls dealt while it was out, by what chance meant them to get.

    A call that the upstream refused with the canary went without, and counts as the canary's all the same.
    """
    return compared_in_use(on_canary(given, trial), Blocks.at(share))


def on_canary(given: Iterable[DrawnFeedback], trial: CanaryTrial) -> Iterator[Heard]:
    """The feedback that a canary's trial is about, in the order of its coming."""
    for one in given:
        draw = one.draw
        alike = draw.get("canary") == trial.prior and draw.get("of") == trial.live and not draw.get("left_out")
        if alike and draw.get("arm") in ("canary", "live"):
            yield Heard(draw["arm"] == "canary", key_behind(one), one.reward)


def _of_live(
    store: Store, namespace: str, live: str, lineage: Sequence[LineageEntry], now: datetime
) -> tuple[DrawnFeedback, ...]:
    """The latest feedback on calls dealt under a live prior, since it is live; where that was written down by a clock
    that was ahead, since what came before it: no feedback would count until that time comes."""
    begun = max(place for place, event in enumerate(lineage) if event.prior == live and event.state in SERVING)
    told = (event.at for event in reversed(lineage[: begun + 1]))
    since = next((at for at in told if at[:19] <= f"{now:%Y-%m-%dT%H:%M:%S}"), "")
    last = store.last_feedback(namespace)
    given = store.drawn_feedback(namespace, max(0, last - _LATEST))
    return tuple(one for one in given if one.draw.get("of") == live and one.at >= since)


def held_back(given: Iterable[DrawnFeedback]) -> tuple[Heard, ...]:
    """The feedback that holds a live prior against none: whole, or held back."""
    return tuple(
        Heard(one.draw["arm"] == "live", key_behind(one), one.reward)
        for one in given
        if one.draw.get("arm") in ("live", "holdback") and not one.draw.get("left_out")
    )


def blocks_of(heard: Iterable[Heard]) -> Blocks:
    """Blocks by how many keys there are of each side: shares change while a prior is live."""
    counted = first_of_keys(heard)
    tried = sum(one.tried for one in counted)
    return Blocks.at(tried / len(counted)) if 0 < tried < len(counted) else Blocks(1, 1)


def left_out_of(given: Iterable[DrawnFeedback]) -> tuple[LeftOutCall, ...]:
    """The calls of which it was drawn what their prior lacks."""
    return tuple(
        LeftOutCall(frozenset(one.draw["left_out"]), float(one.draw["p_left_out"]), key_behind(one), one.reward)
        for one in given
        if one.draw.get("left_out") is not None
    )


@dataclass(frozen=True, slots=True)
class LiveInUse:
    """A live prior as feedback tells of it."""

    effects: tuple[EffectInUse, ...] = ()
    """Of its experiences, as far as that is known."""
    drift: Wager = field(default_factory=Wager)
    """The bet that it gains nothing any more over the calls that are held back from it."""
    whole: int = 0
    """Keys that gave feedback on it."""
    held: int = 0
    """Keys that gave feedback on calls held back."""


def live_in_use(store: Store, namespace: str) -> LiveInUse:
    """What the live prior and its experiences are worth by feedback, as far as that is known."""
    live = store.live(namespace)
    if live is None:
        return LiveInUse()
    given = _of_live(store, namespace, live.prior.id, store.lineage(namespace), datetime.now(UTC))
    effects = effects_in_use(left_out_of(given), [entry.id for entry in live.prior.experiences])
    counted = first_of_keys(held_back(given))
    whole = sum(one.tried for one in counted)
    return LiveInUse(effects, drifted(counted, blocks_of(counted))[1], whole, len(counted) - whole)


def _hurting(
    store: Store, given: Iterable[DrawnFeedback], live: str, rows: Iterable[HistoryEntry]
) -> EffectInUse | None:
    """What has come to hurt, and was not taken out of this prior before."""
    calls = left_out_of(given)
    if not calls:
        return None
    done = {row.figures.get("experience") for row in rows if row.action == "retired" and row.figures.get("of") == live}
    effects = effects_in_use(calls, [entry.id for entry in store.prior(live).experiences])
    return to_retire_in_use([one for one in effects if one.experience not in done])


def key_behind(one: DrawnFeedback) -> str:
    """What stands for the caller's key; for a call without one, the call itself."""
    return str(one.draw.get("key") or one.inference)


def _has_looked(row: HistoryEntry, day: str) -> bool:
    """Whether a learning came to its end; one that was cut off begins again, and one that failed on the next day."""
    return row.action == "learned" or (row.action == "learning failed" and row.at[:10] >= day)


def _failed(rows: Sequence[HistoryEntry], day: str) -> int:
    """Learnings of a day that failed since one came to its end."""
    ends = [row for row in rows if row.action in ("learned", "learning failed") and row.at[:10] >= day]
    return len(list(takewhile(lambda row: row.action == "learning failed", reversed(ends))))


def _day(now: datetime, last: str) -> str:
    """Today, or the day of the last row, since a clock put back gives no budget back; one that was days ahead was wrong
    then, and does not hold up learning until that day comes."""
    today = f"{now:%Y-%m-%d}"
    return max(today, last[:10]) if last[:10] <= _next(today) else today


def _next(day: str) -> str:
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def _spent_on(store: Store, namespace: str, day: str) -> int:
    """Calls of the learning that began that day, or on the next, which has come if the clock was right; by whomever.
    Of what began before, and went on, those of that day."""
    runs, days = [entry for entry in store.runs(namespace) if entry.run.kind == "learn"], (day, _next(day))
    today = sum(store.spent(entry.run.id).calls for entry in runs if entry.started[:10] in days)
    before = [entry for entry in runs if entry.started[:10] < day <= (entry.ended or day)[:10]]
    return today + sum(store.spent(entry.run.id, since=day).calls for entry in before)


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0
