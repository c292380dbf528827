"""What is remembered of the gate: its trials, their passes and how they ended; and who opened which test tasks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .hashing import content_id
from .records import JSON

Role: TypeAlias = Literal["validation", "test"]
"""What tasks are held out from learning for."""
Reached: TypeAlias = Literal["promoted", "rejected"]
Claim: TypeAlias = Literal["tasks-like-these", "these-tasks"]
"""What a promotion says: that the mean effect is above zero over tasks like the validation tasks, or over just them."""
Statistic: TypeAlias = Literal["rewards", "likelihood", "exact"]
"""What the gate decides by: two rewards, likelihood ratios (`gate.likelihood`), or expected rewards (`gate.listed`)."""


def task_set_id(tasks: Iterable[str]) -> str:
    """The id of a set of tasks, in any order, from their ids."""
    return content_id("set", sorted(set(tasks)))


def level_of(alpha: float, number: int) -> float:
    """What trial k may spend of alpha: alpha / 2^k, so that all of them together spend at most alpha."""
    return float(alpha * 0.5**number)


@dataclass(frozen=True, slots=True)
class Pass:
    """Every validation task once under the candidate and once under the live prior."""

    number: int
    """From 1."""
    bet: float
    """Fixed before the pass."""
    rewards: Mapping[str, tuple[float | None, float | None]]
    """By task id: the candidate's and the live prior's; None where a rollout has no reward."""
    log_e: float
    """Natural logarithm of the e-value after the pass."""
    gains: Mapping[str, float] = field(default_factory=dict)
    """By task id what was bet on, where that is not the difference of the rewards."""
    answers: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By task id what both answered: short answers as they are compared, longer ones by their hash."""
    failed: tuple[int, int] = (0, 0)
    """Rollouts of the candidate and of the live prior that failed by themselves, and have a reward of 0."""


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """How a trial ended; effects in reward units."""

    verdict: Reached
    reason: str
    """One sentence for people, with the figures."""
    passes: int
    e_value: float
    estimate: float
    """Mean effect over the validation tasks."""
    low: float | None
    """95% interval over tasks like these; None where too few were scored to stand for others."""
    high: float | None
    lost: int = 0
    """Pairs in which an arm had no reward."""
    lost_by_candidate: int = 0
    """Those in which only the candidate had none."""
    failed: tuple[int, int] = (0, 0)
    """Rollouts of the candidate and of the live prior that failed by themselves: a reward of 0."""
    labels: Mapping[str, JSON] = field(default_factory=dict)
    """Where answers repeat: the best constant answer, recalls and confusions (`gate.labels`)."""
    training: Mapping[str, JSON] = field(default_factory=dict)
    """Where training tasks looked lost: what trying them again has shown (`gate.training`)."""


@dataclass(frozen=True, slots=True)
class GateTrial:
    """One try of the gate at one candidate: its terms, written down before the first pass, and what came of it."""

    namespace: str
    tasks: tuple[str, ...]
    """Ids of the validation tasks, sorted."""
    run: str
    candidate: str
    """Id of the prior under test."""
    live: str | None
    """Id of the prior that it has to beat; None: the frozen model."""
    alpha: float
    most_passes: int
    seed: int
    number: int = 1
    """Counts the trials of (namespace, validation set) over their whole life, from 1; sets are told by their inputs."""
    claim: Claim = "these-tasks"
    statistic: Statistic = "rewards"
    passes: tuple[Pass, ...] = ()
    outcome: TrialOutcome | None = None
    """None while it is undecided."""
    at: str = ""
    """When it began, UTC in ISO 8601, for people."""

    @property
    def task_set(self) -> str:
        """Id of the set of its tasks."""
        return task_set_id(self.tasks)

    @property
    def level(self) -> float:
        """What this trial may spend of alpha; an e-value of 1 / level promotes."""
        return level_of(self.alpha, self.number)


@dataclass(frozen=True, slots=True)
class Opening:
    """An evaluation that measured on tasks of a test split."""

    run: str
    task_set: str
    tasks: int
    """How many of the set's tasks were measured."""
    at: str
    """UTC in ISO 8601, for people."""
