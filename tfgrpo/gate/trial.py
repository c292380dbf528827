"""One trial of the gate, pass by pass: made, written down, and resumed in the pass that it was in.

Each pass runs every validation task once under the candidate and once under the prior that was live when the trial
began, in the request frame of learning. Samples are fresh: seeds hash run, trial, arm, pass and task. A budget that
ends leaves the candidate undecided, not rejected: with a larger one the trial goes on.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from ..errors import BudgetEnded, ModelError
from ..evaluation.arms import best_constant
from ..evaluation.difference import Difference
from ..hashing import derive_seed
from ..model.budget import Budget
from ..model.pace import asked_once
from ..observer import Observer
from ..records import Backend, CallKey, Frame, Prior, Rollout, Run, Task
from ..rollouts.executor import Executor, with_failure
from ..rollouts.group import concurrently
from ..rollouts.rewards.reward import Reward, score
from ..settings import Settings
from ..store import Store
from ..text import counted
from ..trials import Claim, GateTrial, Pass, Statistic, TrialOutcome
from .e_process import Gate
from .labels import Labels, Objection, label_table
from .likelihood import differ_by_tokens_alone
from .passes import Arms, Likelihoods, after, compares_rewards, gains_by_likelihood, pass_of
from .verdict import GateDecision, enough, interval_over_tasks, judge

if TYPE_CHECKING:
    from ..token_prior.listing import Listing
    from .training import Together, Tried

MakeExecutor: TypeAlias = Callable[[str, int, int], Executor]
"""From the stage (for keys of calls), a seed and the alternatives a token that are asked for to what makes rollouts."""
_MOST_CALLS = 8
"""That the answers to a task under one arm may take; what is not listed by then counts against the candidate."""
_TOP_LOGPROBS = 20
"""Alternatives a token that the likelihood-ratio statistic asks for."""
_UNTRIED = "undecided: training tasks that look lost could not be tried again"


@dataclass(frozen=True, slots=True)
class Candidacy:
    """A candidate, and all that its trial will need."""

    run: Run
    candidate: Prior
    tasks: tuple[Task, ...]
    """Validation tasks."""
    reward: Reward
    frame: Frame
    alpha: float
    passes: int
    """At most."""
    seed: int
    clip: bool = False
    """Take a reward outside [0, 1] for its bound."""
    claim: Claim = "tasks-like-these"
    allow_collapse: bool = False
    """Let go live what is no better than a constant answer, or has lost a label."""
    backend: Backend | None = None
    """What the upstream honours, where rollouts are plain calls to it; None: probabilities of answers are not used."""
    deploys: bool = True
    """What passes goes live; else it stays a candidate, for a canary to try."""
    listing: "Listing | None" = None
    """What lists the answers to requests, where learning has shown that all of them can be listed."""
    what_changed: Callable[[], Awaitable[str]] | None = None
    """Says how the upstream has changed since the run began, empty where it has not; asked where a trial goes on."""
    look_lost: Callable[[], tuple[Task, ...]] | None = None
    """Gives the training tasks that look lost under the candidate, the worst first; None: where it was not learned."""

    @classmethod
    def under(
        cls,
        settings: Settings,
        run: Run,
        candidate: Prior,
        *,
        tasks: tuple[Task, ...],
        reward: Reward,
        frame: Frame,
        backend: Backend | None = None,
    ) -> "Candidacy":
        """One that is tested as the settings say."""
        return cls(
            run,
            candidate,
            tasks,
            reward,
            frame,
            settings.gate_alpha,
            settings.gate_passes,
            settings.seed,
            settings.clip_rewards,
            settings.gate_claim,
            settings.allow_collapse,
            backend,
        )

    @property
    def most_passes(self) -> int:
        """One where nothing is sampled: a second pass would say the same again."""
        return 1 if self.frame.temperature == 0 else self.passes

    def statistic(self, live: Prior) -> Statistic:
        """What is decided by against a live prior."""
        backend, frame = self.backend, self.frame
        if self.listing and frame.temperature > 0 and frame.top_p == 1:
            return "exact"
        known = backend is not None and backend.logprobs and backend.logit_bias == "honoured"
        sampled = frame.temperature > 0 and frame.top_p == 1
        return "likelihood" if known and sampled and differ_by_tokens_alone(self.candidate, live) else "rewards"


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
        self._gate = Gate(
            len(candidacy.tasks), begun.most_passes, begun.alpha, begun.number, begun.claim, begun.statistic
        )
        self._priors: Mapping[str, Prior] = {"candidate": candidacy.candidate, "live": live}
        seed = derive_seed(begun.seed, "gate", candidacy.run.id, begun.number)
        listed = _TOP_LOGPROBS if begun.statistic == "likelihood" else 0
        self._executors = {arm: make(f"gate {begun.number} {arm}", seed, listed) for arm in self._priors}
        self._state = self._gate.start
        for made in begun.passes:
            self._state = after(self._state, made, candidacy.tasks)
        self._constant: tuple[str, float] | None = None
        self._tried: list[Tried] | None = None
        self._seen_before = _seen_before(begun, store)

    async def decision(self, budget: Budget | None) -> GateDecision:
        """Make passes until the first verdict that is final; `continue` where the budget ends before there is one."""
        left = self._gate.passes - self._state.passes
        self._observer.stage("gate, at most", 0 if self.trial.outcome else left * 2 * self._gate.tasks)
        self._constant = await _constant(self._candidacy)
        await self._catch_up()
        while True:
            decision = judge(self._gate, self._state, self._objection())
            try:
                if decision.verdict == "promote":
                    decision = await self._with_training(decision)
                if decision.verdict != "continue":
                    return decision
                if out := self._out_of_reach(budget):
                    return out
                await self._pass()
            except BudgetEnded as ended:
                said = _UNTRIED if decision.verdict == "promote" else decision.reason
                return GateDecision("continue", f"{said}; {ended}; {enough(self._gate, self._state)}")

    def outcome(self, decision: GateDecision) -> TrialOutcome:
        """The verdict with its figures."""
        state, found, labels = self._state, interval_over_tasks(self._state), self._labels()
        together = self._together()
        told = "".join(f"; {one}" for one in (labels, together) if one)
        return TrialOutcome(
            "promoted" if decision.verdict == "promote" else "rejected",
            decision.reason + _interval_in_words(found) + told,
            state.passes,
            state.e_value,
            state.estimate,
            found.low if found else None,
            found.high if found else None,
            state.lost,
            state.lost_by_candidate,
            state.failed,
            labels.as_json() if labels else {},
            together.as_json() if together else {},
        )

    def _labels(self) -> Labels | None:
        return label_table(self._candidacy.tasks, self.trial.passes, self._constant)

    def _objection(self, passes: int | None = None) -> Objection | None:
        """What speaks against the candidate though it may be better, after so many passes (None: all that are made);
        what earlier trials saw of both counts."""
        if self._candidacy.allow_collapse:
            return None
        seen = (*self._seen_before, *self.trial.passes[:passes])
        labels = label_table(self._candidacy.tasks, seen, self._constant)
        return labels.objection if labels else None

    async def _catch_up(self) -> None:
        """What was tried again before a pass that the trial was resumed after; the journal has it."""
        state = self._gate.start
        for number, made in enumerate(self.trial.passes[:-1], start=1):
            state = after(state, made, self._candidacy.tasks)
            decision = judge(self._gate, state, self._objection(number))
            if decision.verdict == "promote":
                with suppress(BudgetEnded):  # it is not in the journal, then, and is said when it is needed
                    await self._with_training(decision)
                return

    def _out_of_reach(self, budget: Budget | None) -> GateDecision | None:
        """Why the passes that the budget allows could not promote, though more of them could; nothing is spent then."""
        allowed, gate, state = budget.calls_left if budget else None, self._gate, self._state
        if allowed is None or (most := state.passes + allowed // (2 * gate.tasks)) >= gate.passes:
            return None
        reason, enough_to_tell = judge(gate, state).reason, enough(gate, state)
        if most == state.passes:
            return GateDecision("continue", f"{reason}; the budget allows no further pass; {enough_to_tell}")
        if judge(replace(gate, passes=max(most, 2)), state).verdict == "reject":
            more = counted(most - state.passes, "more pass")
            why = f"the budget allows {more}, which could hardly show it"
            return GateDecision("continue", f"{reason}; {why}; {enough_to_tell}")
        return None

    async def _with_training(self, decision: GateDecision) -> GateDecision:
        """A promotion, unless training tasks are lost with which the claim does not hold."""
        candidacy, just_these = self._candidacy, self._gate.claim == "these-tasks"
        if candidacy.look_lost is None or candidacy.allow_collapse or just_these or self.trial.outcome:
            return decision
        if self._tried is None:
            self._tried = await self._tried_again(candidacy.look_lost())
        together = self._together()
        return judge(self._gate, self._state, together.objection) if together else decision

    def _together(self) -> "Together | None":
        """The claim with the training tasks that were tried again; None where none was."""
        if not self._tried:
            return None
        from .training import claim_together

        return claim_together(self._gate, self._state, self._tried, len(self._candidacy.run.tasks))

    async def _tried_again(self, tasks: Sequence[Task]) -> "list[Tried]":
        """Training tasks that look lost, tried again under both priors; in keys of calls that is before the passes."""
        from .training import TRIES, Tried

        tries = 1 if self._candidacy.frame.temperature == 0 or self._state.repeats else TRIES
        made = [(task, arm, sample) for task in tasks for arm in self._priors for sample in range(tries)]
        with asked_once():
            rollouts = await concurrently(self._rollout(arm, task, 0, sample) for task, arm, sample in made)
        pairs = [rollouts[start : start + 2 * tries] for start in range(0, len(rollouts), 2 * tries)]
        found = (Tried.of(task, pair[:tries], pair[tries:]) for task, pair in zip(tasks, pairs, strict=True))
        tried = [one for one in found if one]
        if tasks and not tried:
            first = next((one.error for one in rollouts if one.error), "no reward")
            raise ModelError(f"no training task that looks lost could be tried again; the first error: {first}")
        return tried

    async def _pass(self) -> None:
        """Every task once under each arm, committed when it is complete."""
        number, bet, tasks = self._state.passes + 1, self._state.bet, self._candidacy.tasks
        if self.trial.statistic == "exact" and self._candidacy.listing:
            with asked_once():
                self._commit(await self._listed(self._candidacy.listing))
            return
        with asked_once():
            rollouts = await concurrently(self._rollout(arm, task, number) for task in tasks for arm in self._priors)
        arms = list(zip(rollouts[::2], rollouts[1::2], strict=True))
        if not any(one.reward is not None and other.reward is not None for one, other in arms) or all(
            rollout.error for rollout in rollouts
        ):
            first = next(rollout.error for rollout in rollouts if rollout.error)
            raise ModelError(f"no task could be compared in pass {number} of the gate; the first error: {first}")
        made = pass_of(number, bet, tasks, arms, self._gains(arms))
        self._commit(made)

    def _commit(self, made: Pass) -> None:
        """Write down a complete pass."""
        state = after(self._state, made, self._candidacy.tasks)
        made = replace(made, log_e=state.log_e)
        self._store.add_pass(self.trial, made)
        self._state, self.trial = state, replace(self.trial, passes=(*self.trial.passes, made))

    async def _listed(self, listing: "Listing") -> Pass:
        """The one pass where answers are listed: what both arms are expected to earn, task by task."""
        from .listed import Expected, exact_pass, expected_of

        stage, heat = f"gate {self.trial.number} listed", self._candidacy.frame.temperature

        async def expected(task: Task) -> "tuple[Expected, Expected]":
            key = CallKey(self._candidacy.run.id, stage, 1, task.id)
            found = [
                expected_of(await listing.answers(task, prior, heat, replace(key, sample=arm), calls=_MOST_CALLS))
                for arm, prior in enumerate(self._priors.values())
            ]
            return found[0], found[1]

        tasks = self._candidacy.tasks
        made = await concurrently(expected(task) for task in tasks)
        return exact_pass(self._state.bet, tasks, made)

    def _gains(self, arms: Sequence[Arms]) -> Mapping[str, float] | None:
        """What is bet on where that is not the difference of rewards."""
        candidacy, passes = self._candidacy, self.trial.passes
        if candidacy.backend is None or compares_rewards(self._gate, passes, candidacy.tasks):
            return None
        priors = self._priors["candidate"], self._priors["live"]
        known = Likelihoods.between(*priors, candidacy.frame, candidacy.backend)
        return gains_by_likelihood(candidacy.tasks, arms, passes, known)

    async def _rollout(self, arm: str, task: Task, number: int, sample: int = 0) -> Rollout:
        rollout = await self._executors[arm](task, self._priors[arm], number, sample)
        scored = with_failure(await score(self._candidacy.reward, rollout, clip=self._candidacy.clip))
        self._observer.landed(scored)
        return scored


def _seen_before(begun: GateTrial, store: Store) -> tuple[Pass, ...]:
    """The passes of earlier trials of the same candidate against the same live prior on the same tasks."""
    same = [one for one in store.trials(begun.namespace) if one.number < begun.number]
    between = begun.candidate, begun.live, begun.tasks
    return tuple(made for one in same if (one.candidate, one.live, one.tasks) == between for made in one.passes)


async def _constant(candidacy: Candidacy) -> tuple[str, float] | None:
    """The best constant answer; None where no answer repeats, and where a reward would have to ask somebody."""
    called = getattr(candidacy.reward, "__call__", None)  # noqa: B004 - of an object that can be called
    if inspect.iscoroutinefunction(candidacy.reward) or inspect.iscoroutinefunction(called):
        return None
    return await best_constant(candidacy.tasks, candidacy.reward, clip=candidacy.clip)


def _interval_in_words(found: Difference | None) -> str:
    """The interval that stands beside a verdict; empty where there is none."""
    if found is None:
        return ""
    return f"; over tasks like these: 95% interval {100 * found.low:+.1f} to {100 * found.high:+.1f} points"
