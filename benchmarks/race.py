"""How often the race of variants ends near the best of them, on a SIMULATED policy whose truth is known. No model.

    python -m benchmarks.race [--runs 400] [--first-seed 0] [--tasks 30] [--steps 2]

Twelve arms, 30 tasks, groups of 8, two steps: 480 rollouts whoever decides. A rollout earns 1 with the probability

    clip(0.3 + arm + task, 0, 1)      task ~ N(0, 0.2^2), arm from 0 to 0.4 (how they lie is the world)

else 0. What counts is the arm's mean over all tasks that could have been drawn. Beside the race of the product, which
is called as the loop calls it (dealing, sums, standings, shares, survivors, winner; all arms cost the same tokens):
uniform allocation and successive halving, both by plain means; and a bound, the race of one who was told before the
first rollout which arms lie within ten points of the best, and spends all rollouts on them. All deal alike.

The second table asks whether the race knows how sure it is, also where an arm's worth differs from task to task.
"""

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.credit import figure
from tfgrpo.experiences.credit import Sums, summed
from tfgrpo.experiences.dealing import dealt, rounds
from tfgrpo.experiences.race import Standing, chance_of_overtaking, ranked, shares, survivors, winner

ARMS = tuple(f"arm {number:02}" for number in range(12))
BASE, TASK_SD, GROUP_SIZE = 0.3, 0.2, 8
CLOSE, TOLD = 0.03, 0.10
"""Reward within which an arm is as good as the best here; and what the bound is told."""

Draw = Callable[[np.random.Generator], NDArray[np.float64]]
WORLDS: dict[str, Draw] = {
    "drawn from 0 to 40 points": lambda rng: rng.uniform(0, 0.4, 12),
    "evenly spaced from 0 to 40": lambda rng: rng.permutation(np.linspace(0, 0.4, 12)),
    "3 from 35 to 40, 9 below 15": lambda rng: rng.permutation([*rng.uniform(0.35, 0.4, 3), *rng.uniform(0, 0.15, 9)]),
    "one at 40, 11 below 25": lambda rng: rng.permutation([0.4, *rng.uniform(0, 0.25, 11)]),
}

SURENESS = tuple((world, spread) for world in (*WORLDS,)[::2] for spread in (0.0, 0.2))
"""Worlds of the second table, and standard deviations of an arm's worth between tasks."""


@dataclass(slots=True)
class SimulatedRace:
    """The policy of one run, and all groups that it has made: T tasks, 12 arms."""

    seed: int
    draw: Draw
    tasks: int = 30
    spread: float = 0.0
    """Standard deviation of an arm's worth between tasks."""
    rates: NDArray[np.float64] = field(init=False)
    """Chance of a reward of 1, shape (T, 12)."""
    truth: NDArray[np.float64] = field(init=False)
    """Mean reward of each arm over all tasks that could be drawn, shape (12,)."""
    tables: list[tuple[int, NDArray[np.float64], NDArray[np.float64]]] = field(init=False, default_factory=list)
    """What `summed` takes."""
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, 13])
        arms = self.draw(self.rng)
        worth = arms + self.spread * self.rng.standard_normal((self.tasks, len(arms)))
        self.rates = np.clip(BASE + worth + TASK_SD * self.rng.standard_normal((self.tasks, 1)), 0, 1)
        self.truth = mean_rates(BASE + arms, float(np.hypot(TASK_SD, self.spread)))

    @property
    def names(self) -> tuple[str, ...]:
        """Ids of the tasks."""
        return tuple(f"task {number}" for number in range(self.tasks))

    def roll(self, deal: dict[str, tuple[str, ...]]) -> None:
        """Make the groups of a round."""
        for task, group in deal.items():
            row, arms = int(task.split()[1]), [ARMS.index(arm) for arm in group]
            rewards = (self.rng.random(len(arms)) < self.rates[row, arms]).astype(np.float64)
            self.tables.append((row, np.eye(len(ARMS))[arms], rewards))

    def sums(self) -> Sums:
        """The sums of the regression over all groups so far."""
        return summed(ARMS, self.names, self.tables)

    def plain_means(self) -> NDArray[np.float64]:
        """Mean reward of each arm's rollouts; -1 without any. Shape (12,)."""
        made = sum(indicators.sum(axis=0) for _, indicators, _ in self.tables)
        won = sum(indicators.T @ rewards for _, indicators, rewards in self.tables)
        return np.where(made > 0, won / np.maximum(made, 1), -1.0)

    def lost(self, arm: str) -> float:
        """Reward that this arm lacks to the best."""
        return float(self.truth.max() - self.truth[ARMS.index(arm)])


def mean_rates(centres: NDArray[np.float64], sd: float) -> NDArray[np.float64]:
    """E[clip(N(centre, sd^2), 0, 1)] for each centre, by sums over a grid."""
    grid = np.linspace(-5, 5, 1_001)
    weights = np.exp(-(grid**2) / 2) / np.exp(-(grid**2) / 2).sum()
    means: NDArray[np.float64] = np.clip(centres[:, None] + sd * grid, 0, 1) @ weights
    return means


Rule = Callable[[SimulatedRace, int], str]
"""Makes all rollouts of so many steps, and names an arm."""


def uniform(race: SimulatedRace, steps: int) -> str:
    """All arms get the same in every step; the best plain mean wins."""
    for step in range(steps):
        race.roll(dealt(ARMS, seed=race.seed, step=step, tasks=race.names, size=GROUP_SIZE))
    return ARMS[int(np.argmax(race.plain_means()))]


def halving(race: SimulatedRace, steps: int) -> str:
    """After each step but the last the worse half by plain means leaves."""
    arms: Sequence[str] = ARMS
    for step in range(steps):
        race.roll(dealt(arms, seed=race.seed, step=step, tasks=race.names, size=GROUP_SIZE))
        means = race.plain_means()
        arms = sorted(arms, key=lambda arm: -means[ARMS.index(arm)])[: (len(arms) + 1) // 2]
    return arms[0]


def raced(race: SimulatedRace, steps: int, *, parts: int = 2) -> tuple[Standing, ...]:
    """The product's own race, in so many rounds a step; how the arms stand at its end."""
    table: tuple[Standing, ...] = ()
    arms, share = ARMS, None
    for step in range(steps):
        for tasks in rounds(race.names, parts, seed=race.seed, step=step):
            race.roll(dealt(arms, share, seed=race.seed, step=step, tasks=tasks, size=GROUP_SIZE))
            table = ranked(race.sums(), arms, ARMS)
            share = shares(table, arms)
        if step < steps - 1 and len(arms) > 1:
            arms = survivors(table, frozen=ARMS[0], step=step)
            share = shares(table, arms)
    return table


def won(table: Sequence[Standing]) -> str:
    """The arm that the product would take."""
    return winner(table, dict.fromkeys(ARMS, 0)).arm


def told(race: SimulatedRace, steps: int) -> str:
    """The bound: only arms within ten points of the best are in the race, all alike, from the first rollout."""
    arms = [arm for arm in ARMS if race.lost(arm) <= TOLD]
    for step in range(steps):
        race.roll(dealt(arms, seed=race.seed, step=step, tasks=race.names, size=GROUP_SIZE))
    return won(ranked(race.sums(), arms, ARMS))


RULES: dict[str, Rule] = {
    "uniform, plain means": uniform,
    "halving, plain means": halving,
    "race, 1 round a step": lambda race, steps: won(raced(race, steps, parts=1)),
    "race, 2 rounds a step": lambda race, steps: won(raced(race, steps)),
    "race, 4 rounds a step": lambda race, steps: won(raced(race, steps, parts=4)),
    "told who is close": told,
}


@dataclass(slots=True)
class Cell:
    """What came of one rule in one world."""

    runs: int = 0
    close: int = 0
    """Runs that ended within three points of the best arm."""
    lost: float = 0.0
    """Reward lost to the best, summed."""

    def count(self, lost: float) -> None:
        """One run more."""
        self.runs, self.close, self.lost = self.runs + 1, self.close + (lost <= CLOSE + 1e-9), self.lost + lost

    def __str__(self) -> str:
        return f"{figure(self.close, self.runs)} {100 * self.lost / self.runs:4.1f}"


def simulate(rule: str, world: str, seeds: Sequence[int], *, tasks: int = 30, steps: int = 2) -> Cell:
    """As many runs as seeds; under every rule the same seed has the same arms and tasks."""
    cell = Cell()
    for seed in seeds:
        race = SimulatedRace(seed, WORLDS[world], tasks)
        cell.count(race.lost(RULES[rule](race, steps)))
        assert sum(len(rewards) for _, _, rewards in race.tables) == tasks * steps * GROUP_SIZE
    return cell


@dataclass(slots=True)
class Sureness:
    """What races said of themselves, and what was true."""

    runs: int = 0
    said_best: float = 0.0
    was_best: int = 0
    said_overtaken: float = 0.0
    was_overtaken: int = 0
    covered: int = 0
    intervals: int = 0

    def count(self, race: SimulatedRace, table: Sequence[Standing]) -> None:
        """One run more."""
        truth = np.array([race.truth[ARMS.index(entry.arm)] for entry in table])
        self.runs += 1
        self.said_best += table[0].best
        self.was_best += int(truth[0] == truth.max())
        self.said_overtaken += chance_of_overtaking(table)
        self.was_overtaken += int(truth.max() - truth[0] > 0.01)
        self.intervals += len(table)
        for entry, mean in zip(table, truth - truth.mean(), strict=True):
            self.covered += int(abs(entry.mean - mean) <= 1.96 * entry.sd)

    def __str__(self) -> str:
        best = f"{self.said_best / self.runs:6.1%} {figure(self.was_best, self.runs)}"
        overtaken = f"{self.said_overtaken / self.runs:6.1%} {figure(self.was_overtaken, self.runs)}"
        return f"{best}   {overtaken}   {self.covered / self.intervals:6.1%}"


def sureness(world: str, spread: float, seeds: Sequence[int], *, tasks: int = 30, steps: int = 2) -> Sureness:
    """The race of the product, with arms whose worth differs by `spread` between tasks."""
    said = Sureness()
    for seed in seeds:
        race = SimulatedRace(seed, WORLDS[world], tasks, spread)
        said.count(race, raced(race, steps))
    return said


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="How often the race of variants ends near the best, simulated.")
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--tasks", type=int, default=30)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    same = {
        "seeds": range(options.first_seed, options.first_seed + options.runs),
        "tasks": options.tasks,
        "steps": options.steps,
    }
    with ProcessPoolExecutor() as pool:
        cells = [[pool.submit(simulate, rule, world, **same) for world in WORLDS] for rule in RULES]
        said = [(world, spread, pool.submit(sureness, world, spread, **same)) for world, spread in SURENESS]
        print(f"12 arms, {options.tasks} tasks, {options.steps} steps, {options.runs} runs: share that ends within 3")
        print("points of the best arm [95% Wilson interval], and the points lost to it on average\n")
        print(f"{'':24}" + "".join(f"{world:31}" for world in WORLDS))
        for rule, row in zip(RULES, cells, strict=True):
            print(f"{rule:24}" + "".join(f"{cell.result()!s:31}" for cell in row), flush=True)
        print("\nWhat the race of 2 rounds says at its end on average, and what was true; 95% intervals that cover\n")
        print(f"{'':50}{'the leader is the best':32}{'another is better by > 1 point':33}intervals")
        for world, spread, figures in said:
            where = f"{world}, sd {spread} between tasks" if spread else world
            print(f"{where:50}{figures.result()}", flush=True)


if __name__ == "__main__":
    main()
