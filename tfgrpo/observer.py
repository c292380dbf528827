"""Who watches a run while it goes: a progress display, a plot in a notebook, a test, or nobody."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from .records import JSON, Group, Rollout, Usage


@dataclass(frozen=True, slots=True)
class StepSummary:
    """One step in figures."""

    step: int
    mean_reward: float
    groups: Mapping[str, int]
    """How many were mixed, solved, hopeless, flat, unscored."""
    failed: int
    """Rollouts without a reward."""
    proposed: int
    """Edits that the distiller proposed."""
    undistilled: tuple[str, ...]
    """Why groups that could teach proposed nothing usable."""
    rested: int = 0
    """Tasks left out, since their pass rate was 0 or 1 twice in a row."""
    first_error: str | None = None
    """Why the first of the failed rollouts failed."""
    exact: int = 0
    """Groups whose answers' probabilities are all known: their mean is what is expected, not what was drawn."""


class Observer(Protocol):
    """Told what happens, in order of happening; never asked. What it raises ends the run, whose calls are kept.

    Whoever wants to be told of a part only derives from `Silent`.
    """

    def stage(self, name: str, rollouts: int, groups: int = 0) -> None:
        """A stage of that many rollouts begins, and of that many groups to be distilled."""
        ...

    def landed(self, rollout: Rollout) -> None:
        """One rollout is complete and scored."""
        ...

    def distilled(self, group: Group) -> None:
        """One group has been distilled."""
        ...

    def step(self, summary: StepSummary) -> None:
        """One step of learning is complete: its rollouts are scored, and what they teach is taken in."""
        ...

    def note(self, line: str) -> None:
        """Something a person should know: a parameter dropped, a prior left out, a group that failed."""
        ...


Watch: TypeAlias = Callable[[Callable[[], Usage]], AbstractContextManager[Observer]]
"""Makes the observer of one run, from a function that tells what the run has spent so far."""


class Silent:
    """An observer that keeps quiet."""

    def stage(self, name: str, rollouts: int, groups: int = 0) -> None:
        """Nothing."""

    def landed(self, rollout: Rollout) -> None:
        """Nothing."""

    def distilled(self, group: Group) -> None:
        """Nothing."""

    def step(self, summary: StepSummary) -> None:
        """Nothing."""

    def note(self, line: str) -> None:
        """Nothing."""


def laps_in(result: Mapping[str, JSON]) -> tuple[Mapping[str, JSON], ...]:
    """The race in a run's result, lap by lap; one over decisions has no laps."""
    race = result.get("race")
    return tuple(lap for lap in race if "arms" in lap) if isinstance(race, list) else ()


def last_looks(race: Sequence[Mapping[str, JSON]]) -> list[tuple[int, Mapping[str, JSON]]]:
    """Each way to prompt of a race as it stood when it was last looked at, and after which step (from 0) that was.

    Those that stayed come first, the best of them at the head; then those that left, the last to leave first.
    """
    latest: dict[str, tuple[int, Mapping[str, JSON]]] = {}
    for lap in race:
        latest |= {row["arm"]: (lap["step"], row) for row in lap["arms"]}
    return sorted(latest.values(), key=lambda entry: (entry[1]["left"], -entry[0], -entry[1]["reward"]))
