"""The gate of a question of the decisions API: what is decided under a candidate and what is live, task by task."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..gate.offsets import offsets_outcome
from ..gate.promote import Promotion, turned_down
from ..records import Prior, PriorState, Run, Task
from ..settings import Settings
from ..store import Store
from ..trials import GateTrial, Pass, TrialOutcome

DecideBoth = Callable[[Prior], Awaitable[Mapping[str, tuple[float, float]]]]
"""The rewards of what is decided under a candidate and under what is live, by task."""


@dataclass(frozen=True, slots=True)
class DecisionGate:
    """What decides on the candidate of a run."""

    store: Store
    run: Run
    live: Prior
    tasks: tuple[Task, ...]
    """What decides; none: the candidate goes live ungated."""
    settings: Settings

    async def promotion(self, candidate: Prior, decided: DecideBoth) -> Promotion:
        """What the gate makes of it, or what is made of it without one."""
        self.store.add_prior(candidate)
        if (promotion := turned_down(self.run, candidate, self.run.frame, self.store)) is not None:
            return promotion
        if not self.tasks:
            return self._set(candidate, "ungated", "learned; no gate has tested it")
        self._set(candidate, "candidate", "learned; the gate is next")
        trial = self.store.begin_trial(self._trial(candidate))
        outcome = trial.outcome or await self._outcome(trial, candidate, decided)
        state: PriorState = "live" if outcome.verdict == "promoted" else "rejected"
        return replace(self._set(candidate, state, outcome.reason), trial=replace(trial, outcome=outcome))

    async def _outcome(self, trial: GateTrial, candidate: Prior, decided: DecideBoth) -> TrialOutcome:
        """How the trial ends; one that had ended when its run was broken off is not held again."""
        rewards = await decided(candidate)
        mine, theirs = (np.array([pair[arm] for pair in rewards.values()]) for arm in (0, 1))
        outcome = offsets_outcome(mine, theirs, trial.level)
        self.store.add_pass(trial, Pass(1, 0.0, rewards, float(np.log(outcome.e_value))))
        self.store.end_trial(trial, outcome)
        return outcome

    def _trial(self, candidate: Prior) -> GateTrial:
        tasks, run, settings = tuple(sorted(task.id for task in self.tasks)), self.run, self.settings
        live = None if self.live.id == Prior().id else self.live.id
        return GateTrial(run.namespace, tasks, run.id, candidate.id, live, settings.gate_alpha, 1, settings.seed)

    def _set(self, candidate: Prior, state: PriorState, why: str) -> Promotion:
        run = self.run
        self.store.set_state(run.namespace, candidate.id, state, frame=run.frame, run=run.id, why=why)
        return Promotion(state, why)
