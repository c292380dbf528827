"""Whether a candidate prior may go live: a bet, renewed before each pass, that it is better than the live one.

A pass runs every validation task once under each prior, with fresh samples. d_t in [-1, 1] is the candidate's
reward on task t less that of the live prior. The bet lambda in [0, BET_CAP] is fixed before the pass, from earlier
passes alone; after the pass the e-value, which starts at 1, is multiplied by

    prod_t (1 + lambda d_t)

and looked at. The candidate is promoted when the e-value reaches 1 / level.

**Why that is valid.** The tasks are fixed and the samples are random: mu_t = E[d_t] may differ from task to task, and
the null hypothesis is that the mean effect over *these* n tasks, mu = sum_t mu_t / n, is at most 0. Given the past,
lambda is a constant, and the samples of a pass are independent between tasks (the two arms of one task need not be). As
1 + lambda mu_t > 0 for lambda < 1, the inequality of arithmetic and geometric means gives

    E[prod_t (1 + lambda d_t)] = prod_t (1 + lambda mu_t) <= (1 + lambda mu)^n <= 1

so under the null the e-value is a supermartingale, and by Ville's inequality the chance that it *ever* reaches
1 / level is at most the level: one may look after every pass and stop whenever one likes (Waudby-Smith and Ramdas,
2023). A pass that was cut short is left out. Effects that differ between tasks make the e-value smaller still. Nothing
is said of other tasks: for that the interval, with tasks resampled, stands beside it. That interval is of the data at
the stop, and knows nothing of the looks before.

**Two claims.** That is about these tasks (`these-tasks`). Users mean tasks like these, and where effects differ by task
with a standard deviation of 20 points the bet alone promotes 10 to 23% of candidates that are no better on average over
the tasks that might have been drawn. So by default (`tasks-like-these`) the interval over tasks, Student's t at half
the trial's level, must lie above zero as well. Where a task loses at all it must also be so for Student's t corrected
for skewness (`bets.skewed_t`): where one task in six collapses and the others gain, 24 tasks often hold fewer, and t
alone let in 5.4% of candidates that are no better over all tasks that might be drawn; so it is 3.5%. Validation tasks
cannot do more: where one task in ten loses 90 points and the others gain 10, 8 of 100 draws of 24 tasks hold none that
loses, and look just like +10 points on every task, of which 86% are to be promoted. Learning has seen other tasks:
those that look lost there are tried again before anything goes live, and count (`training`).

**Trials.** Trial k on one validation set gets the level alpha / 2^k, so all trials of its life together promote a
candidate that is no better with a chance of at most alpha, even where candidates are chosen after the verdicts on
earlier ones. Samples must be fresh in every pass of every trial.

**An upstream that repeats itself** (temperature 0, a cache in between) gives no fresh samples: its passes are the first
one over again, and what looks like evidence is one draw counted often. At temperature 0 there is one pass. Elsewhere
nothing is promoted before a second pass has shown that some answer came out otherwise; where none did, only the first
pass counts, as a single look, and the null is that tasks like these gain nothing. One look is tested by flipping signs
(`bets.chance_of_one_look`): the level, not the e-value, is what it is held against. Where answers come again only at
times, as from a cache with gaps, or nearly always, the interval over tasks has to lie above zero under either claim:
there each task counts once, however often its draw came again (`GateState.sticks`).

**Failures.** What an arm fails at by itself is a reward of 0. A task of which either arm has no reward in a pass (the
upstream's outage) is lost to both in that pass; its factor is 1, as if they had been equal. The null is then about the
effects weighted by how often each task was scored. An outage hits both arms; where pairs are lost by the candidate
alone much more often than not, they may be what it gets wrong, and it does not go live.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, RewardError
from ..trials import Claim, Statistic, level_of
from .bets import LIKELIHOOD, REWARDS, Guess, next_bet

_LARGEST_LOG = 700.0
"""Of a number that a float holds."""
_BY_LUCK = 2.0
"""Standard deviations that answers may lean towards those of one pass by luck."""
_RARELY = 0.2
"""A share of answers that come out otherwise below which it cannot be told whether they are fresh."""
LookedAt: TypeAlias = tuple[str, str]
"""What the candidate and the live prior answered to a task."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The terms of one trial, fixed before its first pass."""

    tasks: int
    passes: int
    """At most; lower it when the budget allows fewer."""
    alpha: float = 0.05
    """Chance of ever promoting what is no better, over all trials on this validation set."""
    trial: int = 1
    """Number of this trial in the life of (namespace, validation set), from 1."""
    claim: Claim = "tasks-like-these"
    """What a promotion says."""
    statistic: Statistic = "rewards"
    """What is bet on: differences of rewards, or of likelihoods weighted by rewards (`likelihood`)."""

    def __post_init__(self) -> None:
        """Raises InputError for a value out of range."""
        for name in ("tasks", "passes", "trial"):
            if getattr(self, name) < 1:
                raise InputError(f"gate: {name} is {getattr(self, name)}; it must be at least 1")
        if not 0 < self.alpha < 1:
            raise InputError(f"gate: alpha is {self.alpha}; it must be above 0 and below 1")

    @property
    def level(self) -> float:
        """What this trial may spend of alpha: alpha / 2^trial."""
        return level_of(self.alpha, self.trial)

    @property
    def confidence(self) -> float:
        """Of the interval over tasks whose lower end has to be above zero: it may err by half the level there.

        By half, since it is looked at after every pass until it is so, which makes it err nearly twice as often.
        """
        return 1 - self.level

    @property
    def start(self) -> "GateState":
        """The state before the first pass."""
        guess = REWARDS if self.statistic == "rewards" else LIKELIHOOD
        return GateState((0.0,) * self.tasks, (0,) * self.tasks, guess=guess)


@dataclass(frozen=True, slots=True)
class GateState:
    """What is known after a number of passes, and the bet on the next one; T tasks."""

    sums: tuple[float, ...]
    """Sum of the differences of each task, length T, in reward units."""
    pairs: tuple[int, ...]
    """How many they are, length T."""
    squares: float = 0.0
    """Sum of d^2 over all pairs."""
    passes: int = 0
    log_e: float = 0.0
    """Natural logarithm of the e-value."""
    lost: int = 0
    """Pairs in which an arm had no reward."""
    lost_by_candidate: int = 0
    """Those in which only the candidate had none."""
    failed: tuple[int, int] = (0, 0)
    """Rollouts of the candidate and of the live prior that failed by themselves, and have a reward of 0."""
    guess: Guess = REWARDS
    """What the bets begin with."""
    first: tuple[float, ...] = ()
    """The differences of the first pass, length T, 0 where a pair was lost."""
    answered: tuple[LookedAt | None, ...] = ()
    """The answers of the first pass, length T; None where a pair was lost."""
    again: int = 0
    """Answers of later passes that can be held against those of the first."""
    fresh: int = 0
    """Those that differ from them."""
    before: tuple[LookedAt | None, ...] = ()
    """The answers of the latest pass, length T."""
    leans: tuple[int, ...] = ()
    """How much oftener each task's answers were those of the first pass than those of the pass before, length 2 T."""

    @property
    def e_value(self) -> float:
        """Promotes from 1 / level on."""
        return exp(min(self.log_e, _LARGEST_LOG))

    @property
    def bet(self) -> float:
        """lambda of the next pass."""
        return next_bet(sum(self.pairs), sum(self.sums), self.squares, self.guess)

    @property
    def repeats(self) -> bool:
        """Whether not one answer has come out other than in the first pass: nothing here is a fresh sample."""
        return self.again > 0 and self.fresh == 0

    @property
    def sticks(self) -> bool:
        """Whether answers come again as no fresh samples would, or hardly ever come out otherwise.

        Fresh answers are exchangeable: one is as often that of the first pass as that of the pass before. A cache
        gives either the one or the other more often; the difference is held against its own spread over tasks.
        """
        lean, spread = sum(self.leans), sqrt(sum(one**2 for one in self.leans))
        return abs(lean) > _BY_LUCK * spread or self.fresh < self.again * _RARELY

    @property
    def differences(self) -> NDArray[np.float64]:
        """Mean difference of each task that was scored, shape (at most T,), in reward units."""
        means = [total / count for total, count in zip(self.sums, self.pairs, strict=True) if count]
        return np.array(means, dtype=np.float64)

    @property
    def estimate(self) -> float:
        """Mean effect over the scored tasks, in reward units; 0 while there are none."""
        return float(self.differences.mean()) if any(self.pairs) else 0.0

    def after(
        self,
        candidate: NDArray[np.float64],
        live: NDArray[np.float64],
        *,
        gains: NDArray[np.float64] | None = None,
        answers: Sequence[LookedAt | None] = (),
        failed: tuple[int, int] = (0, 0),
    ) -> "GateState":
        """The state after one more pass with these rewards of both arms, shapes (T,) in order of task, NaN for none.

        `gains` are what is bet on where that is not the difference of the rewards, NaN for none; `answers` what was
        said, if that is known. Raises RewardError for a reward outside [0, 1] and for a pass over other than T tasks:
        such bets mean nothing.
        """
        _check_rewards(candidate, len(self.pairs))
        _check_rewards(live, len(self.pairs))
        differences = candidate - live if gains is None else gains
        scored = np.isfinite(differences)
        won = np.where(scored, differences, 0.0)
        held = [(now, then) for now, then in zip(answers, self.answered, strict=False) if now and then]
        return replace(
            self,
            sums=tuple((np.array(self.sums) + won).tolist()),
            pairs=tuple((np.array(self.pairs) + scored).tolist()),
            squares=self.squares + float(won @ won),
            passes=self.passes + 1,
            log_e=self.log_e + float(np.log1p(self.bet * won).sum()),
            lost=self.lost + int((~scored).sum()),
            lost_by_candidate=self.lost_by_candidate + int((np.isnan(candidate) & ~np.isnan(live)).sum()),
            failed=(self.failed[0] + failed[0], self.failed[1] + failed[1]),
            first=self.first or tuple(won.tolist()),
            answered=self.answered or tuple(answers),
            again=self.again + 2 * len(held),
            fresh=self.fresh + sum(new != old for now, then in held for new, old in zip(now, then, strict=True)),
            before=tuple(answers),
            leans=self._leaning(answers) if self.passes > 1 else (),
        )

    def _leaning(self, answers: Sequence[LookedAt | None]) -> tuple[int, ...]:
        """`leans` after a pass: of each answer, +1 where it is that of the first pass, -1 where that of the last."""
        found = []
        for now, first, last in zip(answers, self.answered, self.before, strict=False):
            each = zip(now, first, last, strict=True) if now and first and last else ()
            found += [int(new == old) - int(new == late) for new, old, late in each] or [0, 0]
        return tuple(new + old for new, old in zip(found, self.leans or [0] * len(found), strict=True))


def _check_rewards(rewards: NDArray[np.float64], tasks: int) -> None:
    if rewards.shape != (tasks,):
        raise RewardError(f"a pass of the gate needs one reward for each of {tasks} tasks, not shape {rewards.shape}")
    wrong = rewards[~np.isnan(rewards) & ~((rewards >= 0) & (rewards <= 1))]
    if wrong.size:
        raise RewardError(f"the gate was given a reward of {wrong[0]:g}; it must be a number from 0 to 1")
