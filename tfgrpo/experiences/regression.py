"""The sums of a regression within groups, by task; credit and the race are both estimated from them. Pure.

For rollout i of group g, with z_gik the value of column k there (1 where it was made with k, else 0),

    r_gi - mean_g = sum_k beta_k (z_gik - mean_g z_k) + noise

X (n, K) are the centred columns and y (n,) the centred rewards of all groups. What an estimate needs of them is a few
sums for each task, so that errors can be clustered by task and single tasks left out. What columns mean, which prior
their effects have and whose variance counts is for `credit.py` and `race.py` to say.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..records import Group, Rollout
from ..rollouts.executor import with_failure

_LARGEST_VARIANCE = 0.25
"""Of a reward in [0, 1]; weighs as one observation, so that groups without any spread give no false certainty."""
FEWEST_TASKS = 4
"""With fewer there is no variance between tasks to speak of."""
ROUNDING = 6
"""Decimals of the figures that are reported, so that machines that sum in another way agree on them."""


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """The sums of the regression over T tasks and K columns."""

    columns: tuple[str, ...]
    """Ids of what was compared, length K."""
    tasks: tuple[str, ...]
    """Ids of the tasks, length T."""
    grams: NDArray[np.float64]
    """X_t'X_t, shape (T, K, K)."""
    moments: NDArray[np.float64]
    """X_t'y_t in reward units, shape (T, K)."""
    counts: NDArray[np.int64]
    """Scored rollouts in groups that saw the column both in and out, shape (T, K)."""
    shown: NDArray[np.int64]
    """Scored rollouts made with the column, shape (T, K)."""
    rewards: NDArray[np.float64]
    """Rewards of all scored rollouts, summed, shape (T,)."""
    sizes: NDArray[np.int64]
    """How many these are, shape (T,)."""
    squares: float
    """y'y, and the one observation of the largest variance."""
    freedom: int
    """Degrees of freedom of `squares`: rollouts less groups, and that one."""

    @property
    def variance(self) -> float:
        """s2: variance of the reward within groups, whatever explains it."""
        return self.squares / self.freedom


def gather(groups: Sequence[Group], made_with: Callable[[Rollout], Iterable[str]], asked: Iterable[str]) -> Sums:
    """The sums over groups in order of task and step, whatever the order in which they are given.

    `made_with` names the columns of a rollout. Columns that nobody asks about (what was retired, who left) are there
    too, for they explain rollouts. What failed by itself has the reward 0; other rollouts without a reward are left
    out, then groups with fewer than two.
    """
    whole = (replace(group, rollouts=tuple(map(with_failure, group.rollouts))) for group in groups)
    ordered = sorted((group for group in whole if len(group.scored) > 1), key=lambda group: (group.task.id, group.step))
    made = [[tuple(made_with(rollout)) for rollout in group.scored] for group in ordered]
    columns = tuple(sorted({name for group in made for names in group for name in names} | set(asked)))
    tasks = tuple(sorted({group.task.id for group in ordered}))
    place = {column: number for number, column in enumerate(columns)}
    rows = {task: row for row, task in enumerate(tasks)}
    tables = (
        (rows[group.task.id], _indicators(names, place), group.rewards)
        for group, names in zip(ordered, made, strict=True)
    )
    return summed(columns, tasks, tables)


def summed(
    columns: tuple[str, ...],
    tasks: tuple[str, ...],
    tables: Iterable[tuple[int, NDArray[np.float64], NDArray[np.float64]]],
) -> Sums:
    """The sums over groups given as arrays: row of the task, indicators (n, K), rewards (n,); n >= 2 in each."""
    shape = (len(tasks), len(columns))
    grams, moments = np.zeros((*shape, len(columns))), np.zeros(shape)
    counts, shown = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    rewards, sizes = np.zeros(len(tasks)), np.zeros(len(tasks), dtype=np.int64)
    squares, freedom = _LARGEST_VARIANCE, 1
    for row, indicators, scores in tables:
        size, made, earned = len(scores), indicators.sum(axis=0), float(scores.sum())
        centred, gains = indicators - made / size, scores - earned / size
        grams[row] += centred.T @ centred
        moments[row] += centred.T @ gains
        counts[row] += size * ((made > 0) & (made < size))
        shown[row] += made.astype(np.int64)
        rewards[row] += earned
        sizes[row] += size
        squares += float(gains @ gains)
        freedom += size - 1
    return Sums(columns, tasks, grams, moments, counts, shown, rewards, sizes, squares, freedom)


def _indicators(made: Sequence[Iterable[str]], place: dict[str, int]) -> NDArray[np.float64]:
    """1 where a rollout was made with a column, shape (n, K)."""
    indicators = np.zeros((len(made), len(place)))
    for row, names in enumerate(made):
        indicators[row, [place[name] for name in names]] = 1.0
    return indicators
