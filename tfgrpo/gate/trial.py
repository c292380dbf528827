"""One trial of the gate, pass by pass: made, written down, and resumed in the pass that it was in.

Each pass runs every validation task once under the candidate and once under the prior that was live when the trial
began, in the request frame of learning. Samples are fresh: seeds hash run, trial, arm, pass and task. A budget that
ends leaves the candidate undecided, not rejected: with a larger one the trial goes on.
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
from ..records import Frame, Prior, Rollout, Run, Task
from ..rollouts.executor import Executor
from ..rollouts.group import concurrently
from ..rollouts.rewards.reward import Reward, score
from ..store import Store
from ..text import counted
from ..trials import GateTrial, Pass, TrialOutcome
from .e_process import Gate
from .verdict import GateDecision, enough, interval_over_tasks, judge

MakeExecutor: TypeAlias = Callable[[str, int], Executor]
"""From the stage (for keys of calls) and a seed to what makes rollouts."""


@dataclass(frozen=True, slots=True)
class Candidacy:
    """A candidate, and all that its trial will need."""

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


class TrialInProgress:
    """A trial that was begun, with the passes made so far."""

    def __init__(
        self,
        candidacy: Candidacy,
        begun: GateTrial,
        live: Prior,
        *,
        store: Store,
        make: MakeExecutor,
        observer: Observer,
    ) -> None:
        """`begun` is what the store has of the trial; `live` the prior to beat, as this upstream can honour it."""
        self.trial = begun
        self._candidacy, self._store, self._observer = candidacy, store, observer
        self._gate = Gate(len(candidacy.tasks), begun.most_passes, begun.alpha, begun.number)
        self._priors: Mapping[str, Prior] = {"candidate": candidacy.candidate, "live": live}
        seed = derive_seed(begun.seed, "gate", candidacy.run.id, begun.number)
        self._executors = {arm: make(f"gate {begun.number} {arm}", seed) for arm in self._priors}
        self._state = self._gate.start
        for made in begun.passes:
            self._state = self._state.after(*self._columns(made.rewards))

    async def decision(self, budget: Budget | None) -> GateDecision:
        """Make passes until the first verdict that is final; `continue` where the budget ends before there is one."""
        left = self._gate.passes - self._state.passes
        self._observer.stage("gate, at most", 0 if self.trial.outcome else left * 2 * self._gate.tasks)
        while True:
            decision = judge(self._gate, self._state)
            if decision.verdict != "continue":
                return decision
            if out := self._out_of_reach(budget):
                return out
            try:
                await self._pass()
            except BudgetEnded as ended:
                return GateDecision("continue", f"{decision.reason}; {ended}; {enough(self._gate, self._state)}")

    def outcome(self, decision: GateDecision) -> TrialOutcome:
        """The verdict with its figures."""
        state, found = self._state, interval_over_tasks(self._state)
        return TrialOutcome(
            "promoted" if decision.verdict == "promote" else "rejected",
            decision.reason + _interval_in_words(found),
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
        allowed, gate, state = budget.calls_left if budget else None, self._gate, self._state
        if allowed is None or (most := state.passes + allowed // (2 * gate.tasks)) >= gate.passes:
            return None
        reason, enough_to_tell = judge(gate, state).reason, enough(gate, state)
        if most == state.passes:
            return GateDecision("continue", f"{reason}; the budget allows no further pass; {enough_to_tell}")
        if judge(replace(gate, passes=most), state).verdict == "reject":
            more = counted(most - state.passes, "more pass")
            why = f"the budget allows {more}, which could hardly show it"
            return GateDecision("continue", f"{reason}; {why}; {enough_to_tell}")
        return None

    async def _pass(self) -> None:
        """Every task once under each arm, committed when it is complete."""
        number, bet, tasks = self._state.passes + 1, self._state.bet, self._candidacy.tasks
        rollouts = await concurrently(self._rollout(arm, task, number) for task in tasks for arm in self._priors)
        rewards = {
            task.id: (pair[0].reward, pair[1].reward)
            for task, pair in zip(tasks, zip(rollouts[::2], rollouts[1::2], strict=True), strict=True)
        }
        if not any(None not in pair for pair in rewards.values()):
            first = next(rollout.error for rollout in rollouts if rollout.error)
            raise ModelError(f"no task could be compared in pass {number} of the gate; the first error: {first}")
        state = self._state.after(*self._columns(rewards))
        made = Pass(number, bet, rewards, state.log_e)
        self._store.add_pass(self.trial, made)
        self._state, self.trial = state, replace(self.trial, passes=(*self.trial.passes, made))

    async def _rollout(self, arm: str, task: Task, number: int) -> Rollout:
        rollout = await self._executors[arm](task, self._priors[arm], number, 0)
        scored = await score(self._candidacy.reward, rollout, clip=self._candidacy.clip)
        self._observer.landed(scored)
        return scored

    def _columns(
        self, rewards: Mapping[str, tuple[float | None, float | None]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rewards of both arms in order of the tasks, NaN for none."""
        pairs: Sequence[tuple[float | None, float | None]] = [rewards[task.id] for task in self._candidacy.tasks]
        table = np.array([[np.nan if one is None else one for one in pair] for pair in pairs], dtype=np.float64)
        return table[:, 0], table[:, 1]


def _interval_in_words(found: Difference | None) -> str:
    """The interval that stands beside a verdict; empty where there is none."""
    if found is None:
        return ""
    return f"; over tasks like these: 95% interval {100 * found.low:+.1f} to {100 * found.high:+.1f} points"
