"""What decisions by measured effects get right, on a SIMULATED policy whose effects are known. No model is called.

    python -m benchmarks.credit [--runs 200] [--first-seed 0] [--json FILE]

Eight experiences on trial: two are worth +10 points, one -10, five nothing. 24 tasks with pass rates near 0.5,
rollouts in groups of 8, one group a task and step, shown what the product shows; a look (for retiring) after every
step, and at each size of the curve the decision what to keep, alone and together, as if the run ended there. In the
second table each effect differs from task to task with standard deviation 0.2 around the same means; pass rates are
clipped to [0, 1], so the means before clipping are scaled up until the means after it are as stated. The truth that
intervals have to cover is the mean over all tasks that could have been drawn, not over the 24.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfgrpo.experiences.credit import effect_interval, estimate, to_keep, to_keep_together, to_retire
from tfgrpo.experiences.dealing import included
from tfgrpo.records import Experience, Group, Origin, Rollout, Task
from tfgrpo.settings import Settings

EFFECTS = (0.10, 0.10, -0.10, 0.0, 0.0, 0.0, 0.0, 0.0)
TASKS, GROUP_SIZE = 24, 8
CURVE = (400, 800, 1_600, 3_200)
SIMULATED_TASKS = tuple(Task(f"simulated task {number}") for number in range(TASKS))
EXPERIENCES = tuple(
    Experience(f"When in case {number}, do it.", origin=Origin(tasks=(SIMULATED_TASKS[number].id,)))
    for number in range(len(EFFECTS))
)
"""Each has a source task, which is left out of its own estimate."""


@dataclass(frozen=True, slots=True)
class SimulatedPolicy:
    """Pass rates of T tasks without experiences (T,), and what each of K experiences adds to them (T, K)."""

    base: NDArray[np.float64]
    effects: NDArray[np.float64]

    def pass_rates(self, shown: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The chance of a reward of 1 on each task (T,) when these experiences are shown there (T, K)."""
        rates: NDArray[np.float64] = np.clip(self.base + (shown * self.effects).sum(axis=1), 0.0, 1.0)
        return rates

    def reward(self, place: int, shown: Sequence[Experience], luck: float) -> float:
        """The reward of one attempt at one task; `luck` is uniform in [0, 1)."""
        there = np.array([experience in shown for experience in EXPERIENCES])
        return float(luck < np.clip(self.base[place] + there @ self.effects[place], 0.0, 1.0))


def simulated_policy(rng: np.random.Generator, spread: float, scale: float, tasks: int = TASKS) -> SimulatedPolicy:
    """Effects with the means EFFECTS * scale and that standard deviation between tasks."""
    means = np.array(EFFECTS) * scale
    base = rng.uniform(0.4, 0.6, tasks) - means.sum() / 2
    return SimulatedPolicy(base, means + spread * rng.standard_normal((tasks, len(EFFECTS))))


def mean_effects(spread: float, scale: float, tasks: int = 20_000) -> NDArray[np.float64]:
    """The means after clipping, shape (K,), from many simulated tasks with one random subset each."""
    rng = np.random.default_rng(1)
    policy = simulated_policy(rng, spread, scale, tasks)
    shown = rng.random((tasks, len(EFFECTS))) < 0.5
    means = []
    for number in range(len(EFFECTS)):
        only = np.arange(len(EFFECTS)) == number
        means.append((policy.pass_rates(shown | only) - policy.pass_rates(shown & ~only)).mean())
    return np.array(means)


def scale_for(spread: float) -> float:
    """How much larger the means must be before clipping for the helpful ones to be worth EFFECTS[0] after it."""
    low, high = 1.0, 2.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_effects(spread, middle)[:2].mean() < EFFECTS[0] else (low, middle)
    return high


@dataclass(slots=True)
class Cell:
    """Counts over runs at one number of rollouts."""

    rollouts: int
    runs: int = 0
    both_kept: int = 0
    harmful_retired: int = 0
    together: int = 0
    """Runs that kept what was undecided together."""
    nulls_kept: int = 0
    nulls: int = 0
    covered: int = 0
    intervals: int = 0


def run(seed: int, spread: float, scale: float, cells: dict[int, Cell]) -> None:
    """One simulated run up to the longest size of the curve, counted into the cells."""
    rng, settings = np.random.default_rng([seed, 7]), Settings(seed=seed)
    policy = simulated_policy(rng, spread, scale)
    groups: list[Group] = []
    on_trial = list(EXPERIENCES)
    for number in range(max(CURVE) // GROUP_SIZE):
        step, place = divmod(number, TASKS)
        task, attempts = SIMULATED_TASKS[place], []
        for sample, luck in enumerate(rng.random(GROUP_SIZE)):
            shown = included(on_trial, (), settings, task=task.id, step=step, sample=sample)
            ids = tuple(entry.id for entry in shown)
            attempts.append(Rollout(task, step, sample, "simulated", ids, reward=policy.reward(place, shown, luck)))
        groups.append(Group(task, step, tuple(attempts)))
        size = len(groups) * GROUP_SIZE
        if size in cells or place == TASKS - 1:
            gone = {effect.experience for effect in to_retire(groups, on_trial, settings)}
            left = [experience for experience in on_trial if experience.id not in gone]
            if size in cells:
                _count(cells[size], groups, left, settings)
            if place == TASKS - 1:
                on_trial = left


def _count(cell: Cell, groups: list[Group], left: list[Experience], settings: Settings) -> None:
    effects = estimate(groups, EXPERIENCES, settings)
    unretired = {experience.id for experience in left}
    kept = {effect.experience for effect in to_keep(effects, settings)} & unretired
    joint = to_keep_together(groups, [experience for experience in left if experience.id not in kept], settings)
    if joint:
        kept |= set(joint.kept)
    ids = [experience.id for experience in EXPERIENCES]
    cell.runs += 1
    cell.both_kept += kept.issuperset(ids[:2])
    cell.harmful_retired += ids[2] not in unretired
    cell.together += joint is not None
    cell.nulls_kept += len(kept.intersection(ids[3:]))
    cell.nulls += len(ids[3:])
    for effect, truth in zip(effects, EFFECTS, strict=True):
        low, high = effect_interval(effect)
        cell.covered += low <= truth <= high
        cell.intervals += 1


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95% interval of a proportion."""
    share, weight = successes / trials, z * z / trials
    reach = z * sqrt(share * (1 - share) / trials + weight / (4 * trials))
    return (share + weight / 2 - reach) / (1 + weight), (share + weight / 2 + reach) / (1 + weight)


def simulate(runs: int, spread: float, first_seed: int) -> list[Cell]:
    """The cells of one table."""
    scale = scale_for(spread) if spread else 1.0
    cells = {size: Cell(size) for size in CURVE}
    for seed in range(first_seed, first_seed + runs):
        run(seed, spread, scale, cells)
    return list(cells.values())


def figure(successes: int, trials: int) -> str:
    """A proportion with its interval, in percent."""
    low, high = wilson(successes, trials)
    return f"{successes / trials:6.1%} [{low:5.1%}, {high:5.1%}]"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="Decisions by measured effects, on a simulated policy.")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    tables: dict[str, list[dict[str, int]]] = {}
    for spread in (0.0, 0.2):
        name = f"effects differ between tasks with sd {spread}" if spread else "effects equal over tasks"
        print(f"\nSimulated policy, {name}; {options.runs} runs; 95% Wilson intervals")
        heads = ("both helpful kept", "harmful retired", "nulls kept", "coverage", "rest kept together")
        print("rollouts  " + " ".join(f"{head:22}" for head in heads))
        cells = simulate(options.runs, spread, options.first_seed)
        for cell in cells:
            figures = (
                (cell.both_kept, cell.runs),
                (cell.harmful_retired, cell.runs),
                (cell.nulls_kept, cell.nulls),
                (cell.covered, cell.intervals),
                (cell.together, cell.runs),
            )
            print(f"{cell.rollouts:8}  " + " ".join(f"{figure(*each):22}" for each in figures), flush=True)
        tables[name] = [asdict(cell) for cell in cells]
    if options.json:
        options.json.write_text(json.dumps(tables, indent=2) + "\n")


if __name__ == "__main__":
    main()
