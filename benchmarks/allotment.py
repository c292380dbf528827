"""Rollouts allotted to tasks by p (1 - p), beside as many for each: what it does for the effects of experiences.

    python -m benchmarks.allotment [--runs 300] [--kept cells.jsonl]

SIMULATED: 24 tasks, four steps of 192 rollouts, base pass rates whose logits have the standard deviation of the row.
Of eight experiences on trial two help (+0.6 in logits), one harms (-0.6) and five do nothing; each is in half of a
task's rollouts. Effects and decisions are those of `experiences/credit.py`. The arms spend the same:

- uniform: eight rollouts for each task;
- rest: tasks that were all right or all wrong twice in a row are left out of every other step, as in `learn`, and their
  rollouts go to the others, alike;
- p (1 - p): sizes in proportion to p (1 - p) of the pass rate so far, (right + 1) / (made + 2), fixed before the step,
  two at least;
- root: in proportion to its square root.

`kept` is the share of helpful experiences that are kept, `retired` of harmful ones, `wrong` of idle ones that are kept;
`error` is the root mean square of an effect's error in points, the truth being its mean over all tasks.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.kept import KeptCells
from tfgrpo.experiences.credit import chance_of_help, column_effect, summed
from tfgrpo.settings import Settings

TASKS, SIZE, STEPS = 24, 8, 4
TRUE = np.array([0.6, 0.6, -0.6, 0.0, 0.0, 0.0, 0.0, 0.0])
NAMES = tuple(f"e{place}" for place in range(len(TRUE)))
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(slots=True)
class Seen:
    """What the steps so far have shown of each task."""

    right: Floats
    made: Floats
    dull: Counts
    """Visits in a row that were all right or all wrong."""


Allot = Callable[[Seen, int, np.random.Generator], Counts]


def uniform(seen: Seen, step: int, draw: np.random.Generator) -> Counts:
    """As many for each task."""
    return np.full(TASKS, SIZE)


def rest(seen: Seen, step: int, draw: np.random.Generator) -> Counts:
    """As many for each task that is awake."""
    asleep = (seen.dull >= 2) & ((np.arange(TASKS) + step) % 2 == 1)
    return apportioned(np.where(asleep, 0.0, 1.0), 0)


def by_variance(seen: Seen, step: int, draw: np.random.Generator) -> Counts:
    """In proportion to p (1 - p)."""
    rate = (seen.right + 1) / (seen.made + 2)
    return apportioned(rate * (1 - rate), 2)


def by_root(seen: Seen, step: int, draw: np.random.Generator) -> Counts:
    """In proportion to the square root of p (1 - p)."""
    rate = (seen.right + 1) / (seen.made + 2)
    return apportioned(np.sqrt(rate * (1 - rate)), 2)


ARMS: dict[str, Allot] = {"uniform": uniform, "rest": rest, "p (1 - p)": by_variance, "root": by_root}


def apportioned(weights: Floats, least: int) -> Counts:
    """A step's rollouts in proportion to weights, so many at least."""
    if not weights.any():
        weights = np.ones(TASKS)
    free = TASKS * SIZE - least * TASKS
    quotas = weights / weights.sum() * free
    sizes: Counts = quotas.astype(np.int64)
    sizes[np.argsort(sizes - quotas, kind="stable")[: free - int(sizes.sum())]] += 1
    sizes += least
    return sizes


def inclusions(size: int, draw: np.random.Generator) -> Floats:
    """Each experience in half of a group's rollouts, drawn anew."""
    half = np.arange(size) < size / 2
    return np.stack([draw.permutation(half) for _ in TRUE], axis=1).astype(np.float64)


def run(allot: Allot, logits: Floats, draw: np.random.Generator) -> tuple[Floats, Floats]:
    """The estimates of all effects and the chances that they help."""
    seen, tables = Seen(np.zeros(TASKS), np.zeros(TASKS), np.zeros(TASKS, dtype=np.int64)), []
    for step in range(STEPS):
        for task, size in enumerate(allot(seen, step, draw)):
            if size < 2:
                continue
            shown = inclusions(int(size), draw)
            rewards = (draw.random(size) < 1 / (1 + np.exp(-(logits[task] + shown @ TRUE)))).astype(np.float64)
            tables.append((task, shown, rewards))
            seen.right[task] += rewards.sum()
            seen.made[task] += size
            seen.dull[task] = seen.dull[task] + 1 if rewards.std() == 0 else 0
    names = tuple(f"t{task:02}" for task in range(TASKS))
    evidence = summed(NAMES, names, tables)
    found = [column_effect(evidence, name, frozenset(names), Settings().effect_scale) for name in NAMES]
    return np.array([effect.mean for effect in found]), np.array([chance_of_help(effect) for effect in found])


def truth(logits: Floats) -> Floats:
    """The mean effect of each experience over the tasks, the others being in half of the rollouts."""
    draw = np.random.default_rng(0)
    shown = (draw.random((400, len(TRUE))) < 1 / 2).astype(np.float64)
    found = []
    for place, effect in enumerate(TRUE):
        others = (shown * TRUE).sum(axis=1) - shown[:, place] * effect
        with_it, without = (1 / (1 + np.exp(-(logits[:, None] + others + add))) for add in (effect, 0.0))
        found.append(float((with_it - without).mean()))
    return np.array(found)


def row(name: str, allot: Allot, spread: float, runs: int) -> str:
    """What an arm gets right."""
    settings, kept, errors = Settings(), [], []
    retired = []
    for seed in range(runs):
        draw = np.random.default_rng([seed, int(10 * spread)])
        logits = draw.normal(0.0, spread, TASKS)
        means, chances = run(allot, logits, draw)
        kept.append(chances > settings.keep_above)
        retired.append(chances < settings.retire_below)
        errors.append(means - truth(logits))
    good, gone, off = (np.array(values).astype(np.float64) for values in (kept, retired, errors))
    error = 100 * float(np.sqrt((off**2).mean()))
    share = f"{good[:, :2].mean():.1%} | {gone[:, 2].mean():.1%} | {good[:, 3:].mean():.1%} | {error:.2f}"
    bias = 100 * float(off[:, :2].mean())
    return f"| {spread:g} | {name} | {share} | {bias:+.2f} |"


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--kept", type=Path, help="a file of the rows that were made")
    asked = parser.parse_args()
    cells = KeptCells(asked.kept)
    print("| spread | arm | kept | retired | wrong | error | bias of helpful |\n|---|---|---|---|---|---|---|")
    for spread in (1.0, 2.0, 3.0):
        for name, allot in ARMS.items():
            of = (name, allot, spread, asked.runs)
            print(cells(f"{name} {spread} {asked.runs}", partial(row, *of)), flush=True)


if __name__ == "__main__":
    main()
