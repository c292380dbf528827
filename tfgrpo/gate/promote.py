"""What becomes of a candidate: logged, tested by a trial on held-out tasks, and live only on evidence.

A trial is written down before its first pass, and each pass when it is complete, so that a killed run goes on in the
pass that it was in.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..model.budget import Budget
from ..observer import Observer
from ..records import JSON, Frame, Prior, PriorState, Run
from ..store import Store, rolled_back_by_a_person
from ..text import counted
from ..trials import GateTrial, TrialOutcome
from .trial import Candidacy, MakeExecutor, TrialInProgress
from .verdict import GateDecision

UNTESTED = "learned; no gate has tested it"


@dataclass(frozen=True, slots=True)
class Promotion:
    """What became of a candidate."""

    state: PriorState
    """`live` on evidence, `ungated` live without a gate, `rejected` by the gate or a person, or still `candidate`."""
    why: str
    """One line for people; where there was a gate it says what its verdict is about."""
    trial: GateTrial | None = None
    """The trial that it had, if there is a gate."""
    undecided: bool = False
    """The budget ended before there was a verdict."""

    @property
    def passed(self) -> bool:
        """Whether nothing stands against its use: the gate has promoted it, or there was none."""
        if self.trial is None:
            return not self.undecided
        return self.trial.outcome is not None and self.trial.outcome.verdict == "promoted"

    def as_json(self) -> dict[str, JSON]:
        """The figures of the gate."""
        made = self.trial
        figures: dict[str, JSON] = {"state": self.state, "why": self.why}
        if made is None:
            return figures
        figures |= {"attempt": made.number, "level": made.level, "tasks": len(made.tasks), "passes": len(made.passes)}
        figures |= {"claim": made.claim, "statistic": made.statistic}
        names = ("verdict", "e_value", "estimate", "low", "high", "lost", "lost_by_candidate", "failed", "labels")
        figures |= {name: getattr(made.outcome, name, None) for name in names}
        return figures | ({"training": made.outcome.training} if made.outcome and made.outcome.training else {})


def untested(run: Run, candidate: Prior, frame: Frame, store: Store, more: str, *, deploys: bool = True) -> Promotion:
    """Log a candidate that no gate tests: it goes live as it is, or waits for a canary; `more` is added to why."""
    state: PriorState = "ungated" if deploys else "candidate"
    store.add_prior(candidate)
    if (promotion := turned_down(run, candidate, frame, store)) is not None:
        return promotion
    store.set_state(run.namespace, candidate.id, state, frame=frame, run=run.id, why=UNTESTED + more)
    return Promotion(state, UNTESTED)


def turned_down(run: Run, candidate: Prior, frame: Frame, store: Store) -> Promotion | None:
    """That a person has rolled this very prior back, which stands, and is logged; None where nobody has, or where it
    was served again since. Another text is another prior."""
    back = rolled_back_by_a_person(store.lineage(run.namespace), candidate.id)
    if back is None:
        return None
    told = f"learned anew, and {back.by} has rolled it back on {back.at[:10]} ({back.why}), which stands"
    why = f"{told}; to serve it all the same: tfgrpo prior use {candidate.id}"
    store.set_state(run.namespace, candidate.id, "rejected", frame=frame, run=run.id, why=why)
    return Promotion("rejected", why)


async def promote(
    candidacy: Candidacy,
    store: Store,
    make: MakeExecutor,
    observer: Observer,
    *,
    budget: Budget | None = None,
    usable: Callable[[Prior], Prior] = lambda prior: prior,
    caveat: str = "",
    origin: str = "",
) -> Promotion | None:
    """Log the candidate, test it, and make it what it is found to be; None where it is live already.

    `usable` takes from the live prior what this upstream could not honour; `caveat` is added to why it is live,
    `origin` to how it was learned. Raises UpstreamError when no call can succeed, ModelError when a whole pass failed,
    RewardError as the reward does.
    """
    store.add_prior(candidacy.candidate)
    if _live_already(candidacy, store):
        return None
    if (promotion := turned_down(candidacy.run, candidacy.candidate, candidacy.frame, store)) is not None:
        return promotion
    _set_state(candidacy, store, "candidate", "learned; the gate is next" + origin)
    snapshot = store.live(candidacy.run.namespace)
    now = usable(snapshot.prior) if snapshot else Prior()
    goes_on = _was_begun(candidacy, store)
    begun = _begun(candidacy, now, store, budget)
    if begun is None:
        return Promotion("candidate", "the budget allows no pass of the gate", undecided=True)
    same = begun.live == (snapshot.prior.id if snapshot else None)
    live = now if same else usable(store.prior(begun.live)) if begun.live else Prior()
    going = TrialInProgress(candidacy, begun, live, store=store, make=make, observer=observer)
    decision = await _changed(candidacy, going.trial, budget) if goes_on else None
    decision = decision or await going.decision(budget)
    if decision.verdict == "continue":
        return Promotion("candidate", decision.reason, going.trial, undecided=True)
    outcome = going.trial.outcome or going.outcome(decision)
    store.end_trial(begun, outcome)
    state, why = _state(candidacy, store, begun, outcome)
    if state != "candidate":
        _set_state(candidacy, store, state, why + caveat)
    return Promotion(state, why, replace(going.trial, outcome=outcome))


def _set_state(candidacy: Candidacy, store: Store, state: PriorState, why: str) -> None:
    run = candidacy.run
    store.set_state(run.namespace, candidacy.candidate.id, state, frame=candidacy.frame, run=run.id, why=why)


def _live_already(candidacy: Candidacy, store: Store) -> bool:
    """Whether the candidate is what is live, and not by a verdict of this run."""
    snapshot = store.live(candidacy.run.namespace)
    same = snapshot is not None and snapshot.prior.id == candidacy.candidate.id
    return same and not _was_begun(candidacy, store)


def _was_begun(candidacy: Candidacy, store: Store) -> bool:
    """Whether an earlier start of this run has begun the trial."""
    return any(one.candidate == candidacy.candidate.id for one in store.trials(run=candidacy.run.id))


async def _changed(candidacy: Candidacy, begun: GateTrial, budget: Budget | None) -> GateDecision | None:
    """That a trial which goes on ends here, as it would be about two models; None where nothing says so.

    Where the budget allows no call the trial ends undecided anyway.
    """
    no_calls = budget is not None and budget.calls_left == 0
    if begun.outcome or candidacy.what_changed is None or no_calls:
        return None
    changed = await candidacy.what_changed()
    if not changed:
        return None
    made = counted(len(begun.passes), "pass")
    why = (
        f"the upstream has changed since this run began: {changed}; what was learned, and {made} of the gate, are about"
    )
    return GateDecision("reject", f"not promoted: {why} what it was; the same command learns anew")


def _begun(candidacy: Candidacy, usable_live: Prior, store: Store, budget: Budget | None) -> GateTrial | None:
    """The run's trial of this candidate, begun now or before; None where the budget allows no pass of a new one."""
    run, candidate, allowed = candidacy.run, candidacy.candidate.id, budget.calls_left if budget else None
    if allowed is not None and allowed < 2 * len(candidacy.tasks) and not _was_begun(candidacy, store):
        return None
    snapshot = store.live(run.namespace)
    live = snapshot.prior.id if snapshot else None
    tasks = tuple(sorted(task.id for task in candidacy.tasks))
    statistic = candidacy.statistic(usable_live)
    terms = candidacy.alpha, 1 if statistic == "exact" else candidacy.most_passes, candidacy.seed
    wanted = GateTrial(run.namespace, tasks, run.id, candidate, live, *terms)
    return store.begin_trial(replace(wanted, claim=candidacy.claim, statistic=statistic))


def _state(candidacy: Candidacy, store: Store, begun: GateTrial, outcome: TrialOutcome) -> tuple[PriorState, str]:
    """What a verdict makes of the candidate; it was not tested against a prior that has gone live meanwhile."""
    if outcome.verdict == "rejected":
        return "rejected", outcome.reason
    if not candidacy.deploys:
        return "candidate", f"{outcome.reason}; it stays a candidate, for a canary to try"
    snapshot = store.live(candidacy.run.namespace)
    now = snapshot.prior.id if snapshot else None
    if now in (begun.live, candidacy.candidate.id):
        return "live", outcome.reason
    other = f"{now} has gone live meanwhile" if now else "what was live is live no longer"
    advice = f"to serve the candidate all the same: tfgrpo prior use {candidacy.candidate.id}"
    return "candidate", f"{outcome.reason}; not made live, since {other}; {advice}"
