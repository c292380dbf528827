"""A candidate goes live only on evidence: the gate's passes, made, written down and resumed; and what becomes of it.

Each pass attempts every validation task once under the candidate and once under the prior that was live when the
attempt began, in the request frame of learning. Samples are fresh: seeds hash run, attempt, arm, pass and task. An
attempt is written down before its first pass, and each pass when it is complete, so that a killed run goes on in the
pass that it was in. A budget that ends leaves the candidate undecided, not rejected: with a larger one it goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import BudgetEnded, ModelError
from ..evaluation.difference import Difference
from ..hashing import derive_seed
from ..model.budget import Budget
from ..observer import Observer
from ..records import JSON, Frame, Prior, PriorState, Rollout, Run, Task
from ..rollouts.concurrently import concurrently
from ..rollouts.executor import Executor
from ..rollouts.rewards.reward import Reward, score
from ..store import Store
from ..text import counted
from ..trials import GateTrial, Pass, TrialOutcome
from .e_process import Gate
from .verdict import GateDecision, enough, interval_over_tasks, judge

MakeExecutor: TypeAlias = Callable[[str, int], Executor]
"""From the stage (for keys of calls) and a seed to what makes attempts."""
UNTESTED = "learned; no gate has tested it"


@dataclass(frozen=True, slots=True)
class Candidacy:
    """A candidate and what it is tested on."""

    run: Run
    candidate: Prior
    tasks: tuple[Task, ...]
    """Validation tasks; none: it goes live untested."""
    reward: Reward
    frame: Frame
    alpha: float
    passes: int
    """At most."""
    seed: int
    clip: bool = False
    """Take a reward outside [0, 1] for its bound."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What became of a candidate."""

    state: PriorState
    """`live` on evidence, `ungated` live without a gate, `rejected`, or still `candidate`."""
    why: str
    """One line for people; where there was a gate it says what its verdict is about."""
    validation: GateTrial | None = None
    """The attempt of the gate, if there was one."""
    undecided: bool = False
    """The budget ended before there was a verdict."""

    def as_json(self) -> dict[str, JSON]:
        """The figures of the gate."""
        made = self.validation
        figures: dict[str, JSON] = {"state": self.state, "why": self.why}
        if made is None:
            return figures
        figures |= {"attempt": made.attempt, "level": made.level, "tasks": len(made.tasks), "passes": len(made.passes)}
        names = ("verdict", "e_value", "estimate", "low", "high", "lost", "lost_by_candidate")
        return figures | {name: getattr(made.outcome, name, None) for name in names}


async def promote(
    trial: Candidacy,
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
    run, candidate = trial.run, trial.candidate
    store.add_prior(candidate)
    if not trial.tasks:
        store.set_state(
            run.namespace, candidate.id, "ungated", frame=trial.frame, run=run.id, why=UNTESTED + caveat + origin
        )
        return Promotion("ungated", UNTESTED)
    if _live_already(trial, store):
        return None
    store.set_state(
        run.namespace,
        candidate.id,
        "candidate",
        frame=trial.frame,
        run=run.id,
        why="learned; the gate is next" + origin,
    )
    begun = _begun(trial, store, budget)
    if begun is None:
        return Promotion("candidate", "the budget allows no pass of the gate", undecided=True)
    opponent = usable(store.prior(begun.live)) if begun.live else Prior()
    gate = _Gating(trial, begun, opponent, store=store, make=make, observer=observer)
    decision = await gate.decision(budget)
    if decision.verdict == "continue":
        return Promotion("candidate", decision.reason, gate.validation, undecided=True)
    outcome = gate.validation.outcome or gate.outcome(decision)
    store.end_validation(begun, outcome)
    state, why = _state(trial, store, begun, outcome)
    if state != "candidate":
        store.set_state(run.namespace, candidate.id, state, frame=trial.frame, run=run.id, why=why + caveat)
    return Promotion(state, why, replace(gate.validation, outcome=outcome))


def _live_already(trial: Candidacy, store: Store) -> bool:
    """Whether the candidate is what is live, and not by a verdict of this run."""
    snapshot = store.live(trial.run.namespace)
    return snapshot is not None and snapshot.prior.id == trial.candidate.id and not _attempts(trial, store)


def _attempts(trial: Candidacy, store: Store) -> list[GateTrial]:
    return [one for one in store.validations(run=trial.run.id) if one.candidate == trial.candidate.id]


def _begun(trial: Candidacy, store: Store, budget: Budget | None) -> GateTrial | None:
    """The run's attempt at this candidate, begun now or before; None where the budget allows no pass of a new one."""
    allowed = budget.calls_left if budget else None
    if allowed is not None and allowed < 2 * len(trial.tasks) and not _attempts(trial, store):
        return None
    run, snapshot = trial.run, store.live(trial.run.namespace)
    live = snapshot.prior.id if snapshot else None
    tasks = tuple(sorted(task.id for task in trial.tasks))
    return store.begin_validation(
        GateTrial(run.namespace, tasks, run.id, trial.candidate.id, live, trial.alpha, trial.passes, trial.seed)
    )


def _state(trial: Candidacy, store: Store, begun: GateTrial, outcome: TrialOutcome) -> tuple[PriorState, str]:
    """What a verdict makes of the candidate; it was not tested against a prior that has gone live meanwhile."""
    if outcome.verdict == "rejected":
        return "rejected", outcome.reason
    snapshot = store.live(trial.run.namespace)
    now = snapshot.prior.id if snapshot else None
    if now in (begun.live, trial.candidate.id):
        return "live", outcome.reason
    other = f"{now} has gone live meanwhile" if now else "what was live is live no longer"
    advice = f"to serve the candidate all the same: tfgrpo prior use {trial.candidate.id}"
    return "candidate", f"{outcome.reason}; not made live, since {other}; {advice}"


class _Gating:
    """One attempt of the gate, pass by pass."""

    def __init__(
        self,
        trial: Candidacy,
        begun: GateTrial,
        opponent: Prior,
        *,
        store: Store,
        make: MakeExecutor,
        observer: Observer,
    ) -> None:
        self.trial, self.store, self.observer, self.validation = trial, store, observer, begun
        self.gate = Gate(len(trial.tasks), begun.most_passes, begun.alpha, begun.attempt)
        self.priors: Mapping[str, Prior] = {"candidate": trial.candidate, "live": opponent}
        seed = derive_seed(begun.seed, "gate", trial.run.id, begun.attempt)
        self.executors = {arm: make(f"gate {begun.attempt} {arm}", seed) for arm in self.priors}
        self.state = self.gate.start
        for made in begun.passes:
            self.state = self.state.after(*self._arrays(made))

    async def decision(self, budget: Budget | None) -> GateDecision:
        """The first verdict that is final, or `continue` where the budget ends before there is one."""
        left = self.gate.passes - self.state.passes
        self.observer.stage("gate, at most", 0 if self.validation.outcome else left * 2 * self.gate.tasks)
        while True:
            decision = judge(self.gate, self.state)
            if decision.verdict != "continue":
                return decision
            if out := self._out_of_reach(budget):
                return out
            try:
                await self._pass()
            except BudgetEnded as ended:
                return GateDecision("continue", f"{decision.reason}; {ended}; {enough(self.gate, self.state)}")

    def outcome(self, decision: GateDecision) -> TrialOutcome:
        """The verdict with its figures."""
        state, found = self.state, interval_over_tasks(self.state, self.trial.seed)
        return TrialOutcome(
            "promoted" if decision.verdict == "promote" else "rejected",
            decision.reason + _beside(found),
            state.passes,
            state.e_value,
            state.estimate,
            found.low if found else None,
            found.high if found else None,
            state.lost,
            state.lost_by_candidate,
        )

    def _out_of_reach(self, budget: Budget | None) -> GateDecision | None:
        """Why the passes that the budget allows could not promote, though more of them could; nothing is spent then."""
        allowed = budget.calls_left if budget else None
        if allowed is None or (most := self.state.passes + allowed // (2 * self.gate.tasks)) >= self.gate.passes:
            return None
        reason, enough_to_tell = judge(self.gate, self.state).reason, enough(self.gate, self.state)
        if most == self.state.passes:
            return GateDecision("continue", f"{reason}; the budget allows no further pass; {enough_to_tell}")
        if judge(replace(self.gate, passes=most), self.state).verdict == "reject":
            more = counted(most - self.state.passes, "more pass")
            why = f"the budget allows {more}, which could hardly show it"
            return GateDecision("continue", f"{reason}; {why}; {enough_to_tell}")
        return None

    async def _pass(self) -> None:
        """Every task once under each arm, committed when it is complete."""
        number, bet, tasks = self.state.passes + 1, self.state.bet, self.trial.tasks
        rollouts = await concurrently(self._attempt(arm, task, number) for task in tasks for arm in self.priors)
        rewards = {
            task.id: (pair[0].reward, pair[1].reward)
            for task, pair in zip(tasks, zip(rollouts[::2], rollouts[1::2], strict=True), strict=True)
        }
        if not any(None not in pair for pair in rewards.values()):
            first = next(rollout.error for rollout in rollouts if rollout.error)
            raise ModelError(f"no task could be compared in pass {number} of the gate; the first error: {first}")
        candidate, live = self._columns(rewards)
        state = self.state.after(candidate, live)
        made = Pass(number, bet, rewards, state.log_e)
        self.store.add_pass(self.validation, made)
        self.state, self.validation = state, replace(self.validation, passes=(*self.validation.passes, made))

    async def _attempt(self, arm: str, task: Task, number: int) -> Rollout:
        rollout = await self.executors[arm](task, self.priors[arm], number, 0)
        scored = await score(self.trial.reward, rollout, clip=self.trial.clip)
        self.observer.landed(scored)
        return scored

    def _arrays(self, made: Pass) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._columns(made.rewards)

    def _columns(
        self, rewards: Mapping[str, tuple[float | None, float | None]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rewards of both arms in order of the tasks, NaN for none."""
        pairs: Sequence[tuple[float | None, float | None]] = [rewards[task.id] for task in self.trial.tasks]
        table = np.array([[np.nan if one is None else one for one in pair] for pair in pairs], dtype=np.float64)
        return table[:, 0], table[:, 1]


def _beside(found: Difference | None) -> str:
    """The interval that stands beside a verdict."""
    if found is None:
        return ""
    return f"; over tasks like these: 95% interval {100 * found.low:+.1f} to {100 * found.high:+.1f} points"
