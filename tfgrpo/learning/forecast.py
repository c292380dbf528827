"""Whether more of the same run would pay: the reward at twice the rollouts, with how sure that is. Pure.

The mean reward after C rollouts is taken to follow (ScaleRL, arXiv 2510.13786)

    R(C) = R0 + (A - R0) / (1 + (Cmid / C)^B)

with R0 the reward before anything was learned, A the asymptote, Cmid the rollouts to half of the gain and B how sudden
it is. A posterior over a grid takes the place of a fit, since a handful of steps seldom identifies four numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import JSON, Group
from ..rollouts.group import visited
from ..settings import Settings
from .curves import Curves, Span

FEWEST_STEPS = 3
"""With fewer there is no curve to speak of."""
WORTH = 0.02
"""A gain of the mean reward that more rollouts are worth."""
LEARNED = 0.97
"""A mean reward above which nothing worth a step is left to learn."""
UNLIKELY = 0.15
"""A run is flat where the chance of such a gain, by doubling its rollouts, is below this."""
_IDENTIFIED = 0.1
"""The asymptote is identified where its 80% interval is no wider than this."""
_FALLING_Z = 1.645
_LARGEST_VARIANCE = 0.25
"""Of a reward in [0, 1]; weighs as one observation, so that groups without any spread give no false certainty."""


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """How the mean reward of a run went, step by step."""

    rollouts: NDArray[np.float64]
    """Made before each step, shape (K,): its reward shows what these have taught."""
    rewards: NDArray[np.float64]
    """The mean over tasks in each step, shape (K,); a task that was left out counts as it was last seen."""
    error: float
    """Standard deviation of one such mean, clustered by task."""
    total: int
    """Rollouts in all, those of the last step too."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What twice the rollouts would bring."""

    steps: int
    rollouts: int
    """That were made so far."""
    fell: bool
    """The rewards fall from step to step: no curve of learning was fitted to them."""
    doubled: Span | None = None
    """The mean reward at twice as many; None where the rewards fall."""
    gains: float = 0.0
    """The chance that doubling gains at least WORTH."""
    asymptote: Span | None = None
    """The reward that no number of rollouts would pass; None where the steps do not identify it."""

    @property
    def flat(self) -> bool:
        """More rollouts are unlikely to pay."""
        return self.gains < UNLIKELY


def course(groups: Sequence[Group]) -> Course:
    """The course of a run, from its groups."""
    steps = sorted({group.step for group in groups})
    place = {task: row for row, task in enumerate(dict.fromkeys(group.task.id for group in groups))}
    means, made = np.full((len(place), len(steps)), np.nan), np.zeros(len(steps))
    for group in groups:
        column = steps.index(group.step)
        made[column] += len(group.rollouts)
        if group.scored:
            means[place[group.task.id], column] = group.mean
    seen = _as_last_seen(means)
    return Course(np.cumsum(made) - made, seen.mean(axis=0), _error(seen), int(made.sum()))


def of_whole_steps(groups: Sequence[Group], settings: Mapping[str, JSON]) -> tuple[Group, ...]:
    """The groups of a run with these settings, by step, less those of a last step that was cut short or still goes on.

    The tasks of such a step that were not visited would count as they were last seen, and the rewards as level.
    """
    last = max((group.step for group in groups), default=0)
    earlier = tuple(group for group in groups if group.step < last)
    made = {group.task.id for group in groups if group.step == last}
    visits = Settings(**{name: settings[name] for name in ("seed", "rest_tasks") if name in settings})
    tasks = tuple({group.task.id: group.task for group in groups}.values())
    wanted = {task.id for task in visited(tasks, earlier, last, visits)}
    return tuple(groups) if wanted <= made or not earlier else earlier


def sure_reward(groups: Sequence[Group]) -> float:
    """What the mean reward over these tasks is at least, by their last visits: Wilson's bound, 95% sure."""
    last = {group.task.id: group for group in groups if group.scored}.values()
    mean, rollouts = sum(group.mean for group in last) / len(last), sum(len(group.scored) for group in last)
    if all(group.is_exact for group in last):
        return mean
    share = _FALLING_Z**2 / rollouts
    middle, width = mean + share / 2, _FALLING_Z * (mean * (1 - mean) / rollouts + share / (4 * rollouts)) ** 0.5
    return float((middle - width) / (1 + share))


def _as_last_seen(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means by task and step, shape (T, K): without a visit as they last were; tasks never scored are left out."""
    known = means[~np.isnan(means).all(axis=1)]
    for seen in (known, known[:, ::-1]):
        for column in range(1, known.shape[1]):
            seen[:, column] = np.where(np.isnan(seen[:, column]), seen[:, column - 1], seen[:, column])
    return known


def _error(means: NDArray[np.float64]) -> float:
    """Standard deviation of the mean over tasks: what neither the task nor the step explains, over T tasks."""
    tasks, steps = means.shape
    left = means - means.mean(axis=1, keepdims=True) - means.mean(axis=0) + means.mean()
    return float(np.sqrt((np.square(left).sum() + _LARGEST_VARIANCE) / ((tasks - 1) * (steps - 1) + 1) / tasks))


def forecast(seen: Course) -> Forecast | None:
    """What twice the rollouts would bring; None where there are too few steps to say."""
    steps = len(seen.rewards)
    if steps < FEWEST_STEPS:
        return None
    if _falls(seen):
        return Forecast(steps, seen.total, fell=True)
    curves = _curves(seen)
    doubled = curves.at(2 * seen.total)
    gains = float(curves.weight[doubled - curves.at(seen.total) >= WORTH].sum())
    limit = curves.span(curves.top)
    asymptote = limit if limit.high - limit.low <= _IDENTIFIED else None
    return Forecast(steps, seen.total, False, curves.span(doubled), gains, asymptote)


def predicted(seen: Course, rollouts: int) -> Span:
    """The mean reward after so many rollouts, up to twice those that were made, whether the rewards fall or not."""
    curves = _curves(seen)
    return curves.span(curves.at(rollouts))


def _curves(seen: Course) -> Curves:
    return Curves.of(seen.rollouts, seen.rewards, seen.error, seen.total)


def _falls(seen: Course) -> bool:
    """Whether a line through the rewards falls, beyond what chance explains."""
    centred = np.arange(len(seen.rewards)) - (len(seen.rewards) - 1) / 2
    return float(centred @ seen.rewards) < -_FALLING_Z * seen.error * float(np.sqrt(np.square(centred).sum()))


def forecast_line(found: Forecast) -> str:
    """A forecast in a sentence."""
    if found.doubled is None:
        return "forecast: the mean reward falls from step to step, so more rollouts are not expected to pay"
    span = f"{found.doubled.median:.2f} [{found.doubled.low:.2f}, {found.doubled.high:.2f}]"
    gains = f"the chance that doubling gains {100 * WORTH:.0f} points is {100 * found.gains:.0f}%"
    limit = f"asymptote {found.asymptote.median:.2f}" if found.asymptote else "asymptote not identified"
    return f"forecast: mean reward {span} (80%) at {2 * found.rollouts:,} rollouts; {gains}; {limit}"
