"""How far a forecast of a run can be trusted: on SIMULATED learners whose curve is known, and on runs of a store.

    python -m benchmarks.forecast [--runs 200] [--kept cells.jsonl] [--store FILE ...]

Simulated: 30 tasks of unequal difficulty, groups of 8, rewards of 0 or 1 drawn at a known mean reward R(C), in which
`any` learners may gain up to all that is left, `small` ones up to ten points, `flat` ones nothing. `held`: the 80%
interval of the mean reward at twice the rollouts holds the true one. Errors, in points, are those of the forecast's
median, of the last value, and of a power law a + b C^c fitted to all steps but the first. `flat`: runs that
--stop-when-flat would have ended there, and how many of these would have gained two points. Limit, exit code 1 where it
is missed: over all learners at least 75% are held.

Runs of a store with four or more steps: each later step is forecast from the first half of them, three at least, as
far as twice its rollouts; the interval that is counted is that of the curve and the noise of one step.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.kept import KeptCells
from tfgrpo.learning.curves import Span
from tfgrpo.learning.forecast import Course, course, forecast, predicted
from tfgrpo.records import JSON, Group, Rollout, Task
from tfgrpo.store import Store

TASKS, GROUP = 30, 8
KINDS = ("any", "small", "flat")
STEPS = (3, 4, 6, 8)
NAMES = tuple(Task(f"task {number}") for number in range(TASKS))
HELD = 0.75


@dataclass(frozen=True, slots=True)
class Learner:
    """A mean reward that saturates over rollouts, on tasks of unequal difficulty."""

    start: float
    top: float
    middle: float
    sudden: float
    levels: NDArray[np.float64]
    """Of each task, in logits, shape (TASKS,)."""

    def reward(self, rollouts: float) -> float:
        """R after so many rollouts."""
        grown = 1 / (1 + (self.middle / rollouts) ** self.sudden) if rollouts else 0.0
        return self.start + (self.top - self.start) * grown

    def rates(self, mean: float) -> NDArray[np.float64]:
        """Pass rates of the tasks that have this mean."""
        low, high = -15.0, 15.0
        for _ in range(40):
            middle = (low + high) / 2
            below = (1 / (1 + np.exp(-self.levels - middle))).mean() < mean
            low, high = (middle, high) if below else (low, middle)
        return 1 / (1 + np.exp(-self.levels - low))

    def groups(self, steps: int, rng: np.random.Generator) -> list[Group]:
        """So many steps of it."""
        return [
            _group(task, step, rng.random(GROUP) < rate)
            for step in range(steps)
            for task, rate in zip(NAMES, self.rates(self.reward(step * TASKS * GROUP)), strict=True)
        ]


def _group(task: Task, step: int, right: NDArray[np.bool_]) -> Group:
    return Group(task, step, tuple(Rollout(task, step, n, "", reward=float(one)) for n, one in enumerate(right)))


def drawn(kind: str, steps: int, rng: np.random.Generator) -> Learner:
    """A learner of one kind; half of its gain lies anywhere from half a step to four times the run."""
    start, size = rng.uniform(0.05, 0.6), TASKS * GROUP
    gain = {"any": rng.uniform(0, 1 - start), "small": rng.uniform(0, 0.1), "flat": 0.0}[kind]
    middle = float(np.exp(rng.uniform(np.log(size / 2), np.log(4 * size * steps))))
    return Learner(start, start + gain, middle, rng.uniform(0.7, 3), rng.normal(0, 1.5, TASKS))


def power_law(seen: Course, rollouts: int) -> float:
    """a + b C^c by least squares over all steps but the first, at so many rollouts, within [0, 1]."""
    cost, reward = seen.rollouts[1:], seen.rewards[1:]
    best, at = np.inf, float(reward[-1])
    for power in np.linspace(-2, 1, 31):
        if abs(power) < 1e-9:
            continue
        columns = np.stack([np.ones_like(cost), cost**power], axis=1)
        weights, *_ = np.linalg.lstsq(columns, reward, rcond=None)
        left = float(np.square(columns @ weights - reward).sum())
        if left < best - 1e-12:
            best, at = left, float(weights[0] + weights[1] * rollouts**power)
    return min(1.0, max(0.0, at))


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of forecasts whose outcome is known; errors are sums."""

    runs: int = 0
    fell: int = 0
    held: int = 0
    forecast: float = 0.0
    last: float = 0.0
    power: float = 0.0
    flat: int = 0
    flat_wrong: int = 0

    @property
    def share(self) -> float:
        """Of those that were forecast, how many were held."""
        return self.held / max(1, self.runs - self.fell)

    def line(self) -> str:
        """The same for a table."""
        errors = (100 * total / self.runs for total in (self.forecast, self.last, self.power))
        told = " | ".join(f"{error:.1f}" for error in errors)
        return f"{self.runs} | {self.fell} | {100 * self.share:.0f}% | {told} | {self.flat} ({self.flat_wrong})"


def tried(tally: Tally, learner: Learner, steps: int, rng: np.random.Generator) -> Tally:
    """One more learner, forecast after so many steps."""
    seen = course(learner.groups(steps, rng))
    found, doubled = forecast(seen), 2 * seen.total
    truth, last = learner.reward(doubled), float(seen.rewards[-1])
    assert found is not None
    span = found.doubled
    return replace(
        tally,
        runs=tally.runs + 1,
        fell=tally.fell + found.fell,
        held=tally.held + (span is not None and span.low - 1e-9 <= truth <= span.high + 1e-9),
        forecast=tally.forecast + abs((span.median if span else last) - truth),
        last=tally.last + abs(last - truth),
        power=tally.power + abs(power_law(seen, doubled) - truth),
        flat=tally.flat + found.flat,
        flat_wrong=tally.flat_wrong + (found.flat and truth - learner.reward(seen.total) >= 0.02),
    )


def simulate(kind: str, steps: int, runs: int, seed: int = 0) -> Tally:
    """So many learners of a kind."""
    rng, tally = np.random.default_rng([seed, KINDS.index(kind), steps]), Tally()
    for _ in range(runs):
        tally = tried(tally, drawn(kind, steps, rng), steps, rng)
    return tally


def row(kind: str, steps: int, runs: int) -> dict[str, JSON]:
    """A row of the table, to be kept."""
    return asdict(simulate(kind, steps, runs))


def halved(groups: Sequence[Group]) -> Iterator[tuple[Span, float, float, float]]:
    """Of each later step within twice the first half: its span, its mean reward, the last value and the power law's."""
    whole, half = course(groups), max(3, len({group.step for group in groups}) // 2)
    seen = course([group for group in groups if group.step < half])
    for rollouts, reward in zip(whole.rollouts[half:], whole.rewards[half:], strict=True):
        if rollouts <= 2 * seen.total:
            span, wide = predicted(seen, int(rollouts)), 1.2816 * seen.error
            noisy = Span(
                span.median - np.hypot(span.median - span.low, wide),
                span.median,
                span.median + np.hypot(span.high - span.median, wide),
            )
            yield noisy, float(reward), float(seen.rewards[-1]), power_law(seen, int(rollouts))


def recorded(path: Path) -> str:
    """All runs of a store with four steps or more, as one line."""
    with Store(path) as store:
        runs = [store.groups(entry.run.id) for entry in store.runs() if entry.run.kind == "learn"]
    found = [one for groups in runs if len({group.step for group in groups}) >= 4 for one in halved(groups)]
    if not found:
        return f"{path}: no learning of four steps"
    held = sum(span.low <= reward <= span.high for span, reward, _, _ in found)
    errors = [
        100 * sum(abs(guess - reward) for guess, reward in pairs) / len(found)
        for pairs in (
            [(span.median, reward) for span, reward, _, _ in found],
            [(last, reward) for _, reward, last, _ in found],
            [(power, reward) for _, reward, _, power in found],
        )
    ]
    told = "forecast {:.1f}, last value {:.1f}, power law {:.1f}".format(*errors)
    return f"{path}: {held} of {len(found)} later steps held; mean error in points: {told}"


def main() -> None:
    """The tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--kept", type=Path, help="a file of the rows that were made")
    parser.add_argument("--store", type=Path, action="append", default=[])
    asked = parser.parse_args()
    for path in asked.store:
        print(recorded(path))
    if asked.store:
        return
    print("| learners | steps | runs | fell | held | error | last value | power law | flat (wrongly) |")
    print("|---|---|---|---|---|---|---|---|---|")
    tallies, cells = [], KeptCells(asked.kept)
    for kind in KINDS:
        for steps in STEPS:
            cell = cells(f"{kind} {steps} {asked.runs}", partial(row, kind, steps, asked.runs))
            tallies.append(Tally(**cell))
            print(f"| {kind} | {steps} | {tallies[-1].line()} |", flush=True)
    held = sum(one.held for one in tallies) / sum(one.runs - one.fell for one in tallies)
    made = sum(one.runs - one.fell for one in tallies)
    wide = 1.96 * (held * (1 - held) / made) ** 0.5
    print(f"\nheld over all: {100 * held:.1f}% +- {100 * wide:.1f} of {made:,}")
    raise SystemExit(held < HELD)


if __name__ == "__main__":
    main()
