"""What a report says of one run, in figures, free of any form; `gather` reads them from the store."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..evaluation.difference import FEWEST, Difference
from ..experiences.credit import effect_interval
from ..records import JSON, Decision, Effect, Experience, Prior, PriorState, Rollout, Usage
from ..rollouts.group import GroupKind
from ..store import RunEntry
from ..trials import GateTrial, Role
from .extremes import MovedTask


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95% interval, in reward units; no interval where a single task stands behind it."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class StepFigures:
    """One step of learning."""

    number: int
    """From 1."""
    reward: Interval | None
    """Mean over the scored rollouts, tasks resampled; None when nothing was scored."""
    scored: int
    failed: int
    """Rollouts without a reward."""
    kinds: Mapping[GroupKind, int]
    """How many groups were mixed, solved, hopeless, flat, unscored."""


@dataclass(frozen=True, slots=True)
class ReportedExperience:
    """An experience that a run proposed, measured or judged."""

    experience: Experience
    effect: Effect | None
    """The run's last estimate."""
    decision: Decision | None
    """The run's last verdict; where it gave none, the one that stood."""
    since: Decision | None
    """What was decided after the run, if anything."""
    in_prior: bool

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval of the effect, in reward units."""
        return effect_interval(self.effect) if self.effect else None


@dataclass(frozen=True, slots=True)
class RefusedProposals:
    """Proposals that were refused for one reason."""

    why: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FailedRollouts:
    """Rollouts that failed in one way."""

    error: str
    count: int


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """What one arm of an evaluation reached."""

    mean: float
    """Mean reward."""
    pass_at_k: float | None
    """Share of tasks with the full reward in at least one rollout; None where an older version did not say."""


@dataclass(frozen=True, slots=True)
class EvaluationFigures:
    """An evaluation: arms on the same tasks, which learning did not see."""

    run: str
    tasks: int
    repeats: int
    arms: Mapping[str, ArmFigures]
    contrasts: Mapping[str, Difference]
    """By name, as `learned - frozen`, which is the first."""
    constant: str | None
    """The answer that scores best when it is always given, where answers repeat."""
    constant_mean: float | None
    lost_tasks: int
    moments: Mapping[str, Mapping[str, float]]
    """By arm at which share of turns a moment `came`, and at which what waits for it was `said`; none without any."""

    @property
    def few(self) -> bool:
        """Too few tasks for an interval to say anything."""
        return self.tasks < FEWEST

    @property
    def gain(self) -> Difference:
        """Learned less frozen."""
        return next(iter(self.contrasts.values()))


@dataclass(frozen=True, slots=True)
class Figures:
    """One run."""

    entry: RunEntry
    stages: Mapping[str, Usage]
    """What the calls of each stage have cost, over all starts of the run."""
    steps: tuple[StepFigures, ...]
    prior: Prior | None
    """What the run made, or, for an evaluation, measured."""
    state: PriorState | None
    """What became of that prior in the namespace, by now."""
    trial: GateTrial | None
    """The trial that this run made of that prior, if it made one."""
    measured: EvaluationFigures | None
    """The evaluation itself, or the last one of the prior that the run made."""
    experiences: tuple[ReportedExperience, ...]
    """Strongest effect first, then in order of arrival."""
    refused: tuple[RefusedProposals, ...]
    """Most frequent first."""
    failures: tuple[FailedRollouts, ...]
    """Most frequent first."""
    held_out: Mapping[Role, int]
    """How many tasks the run kept from learning, by what for."""
    notes: tuple[str, ...]
    race: tuple[Mapping[str, JSON], ...] = ()
    """How the ways to prompt stood after each step; empty where nothing raced."""
    moved: tuple[MovedTask, ...] = ()
    """Tasks that got better or worse, the largest gain first."""
    worst: tuple[Rollout, ...] = ()
    best: tuple[Rollout, ...] = ()
    tokens_a_call: int | None = None
    """Prompt tokens that what was learned adds to a call; None where an older version did not say."""

    @property
    def winner(self) -> str:
        """Who won the race, and why; empty where nothing raced."""
        won = self.race[-1].get("winner") if self.race else None
        if not won:
            return ""
        source = next((row["source"] for row in self.race[-1]["arms"] if row["arm"] == won["arm"]), won["arm"])
        return f"{source}: {won['why']}"

    @property
    def error(self) -> str:
        """What ended a run that failed."""
        return str(self.entry.run.result.get("error") or "")
