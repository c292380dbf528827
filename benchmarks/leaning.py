"""What the race comes to where ways to prompt only lean to one of two answers, whatever is asked: SIMULATED, no model.

    python -m benchmarks.leaning [--runs 400]

That is `facts` of `peers`, at which no prompt makes the models better than chance. Twelve arms each say yes with a
chance of their own, Beta(0.7, 0.7); 24 training and 32 held-out tasks are of a pool of 32 yes and 32 no; the product's
race makes 384 rollouts in two steps. Printed are the held-out worth of the arm that it takes, and what `peers` would
make of it: its 64 held-out rollouts less those of the best of seven other arms.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from benchmarks.race import ARMS, GROUP_SIZE
from tfgrpo.experiences.credit import summed
from tfgrpo.experiences.dealing import dealt, rounds
from tfgrpo.experiences.race import ranked, shares, survivors, winner

TRAINING, HELD_OUT, EACH, OTHERS, REPEATS = 24, 32, 32, 7, 2


def leaning(seed: int, *, quotas: bool) -> tuple[float, float]:
    """The worth of what is taken, and its difference to the best of the others as measured; in points."""
    rng = np.random.default_rng([seed, 7])
    pool = rng.permutation(np.repeat([0, 1], EACH))
    held, train = pool[:HELD_OUT], pool[HELD_OUT : HELD_OUT + TRAINING]
    if quotas:
        held, train = np.repeat([0, 1], HELD_OUT // 2), np.repeat([0, 1], TRAINING // 2)
    yes = rng.beta(0.7, 0.7, len(ARMS))
    worth = yes * held.mean() + (1 - yes) * (1 - held.mean())
    taken = ARMS.index(_raced(seed, yes, train, rng))
    measured = rng.binomial(REPEATS * HELD_OUT, [worth[taken], *rng.permutation(worth)[:OTHERS]]) / HELD_OUT / REPEATS
    return 100 * worth[taken], 100 * (measured[0] - max(measured[1:]))


def _raced(seed: int, yes: NDArray[np.float64], answers: NDArray[np.int64], rng: np.random.Generator) -> str:
    """The arm that the race of the product takes, after two steps of two rounds."""
    names, tables, arms, share = tuple(str(task) for task in range(TRAINING)), [], ARMS, None
    table = ranked(summed(ARMS, names, []), ARMS, ARMS)
    for step in range(2):
        for tasks in rounds(names, 2, seed=seed, step=step):
            for task, group in dealt(arms, share, seed=seed, step=step, tasks=tasks, size=GROUP_SIZE).items():
                places = [ARMS.index(arm) for arm in group]
                right = (rng.random(GROUP_SIZE) < yes[places]) == answers[int(task)]
                tables.append((int(task), np.eye(len(ARMS))[places], right.astype(np.float64)))
            table = ranked(summed(ARMS, names, tables), arms, ARMS)
            share = shares(table, arms)
        arms = survivors(table, frozen=ARMS[0], step=step) if step == 0 else arms
        share = shares(table, arms)
    return winner(table, dict.fromkeys(ARMS, 0)).arm


def main() -> None:
    """Print a line for each way to divide the tasks."""
    parser = argparse.ArgumentParser(description="A race of arms that only lean, simulated.")
    parser.add_argument("--runs", type=int, default=400)
    runs = parser.parse_args().runs
    for quotas in (False, True):
        found = np.array([leaning(seed, quotas=quotas) for seed in range(runs)])
        means, errors = found.mean(axis=0), found.std(axis=0) / np.sqrt(runs)
        split = "each side its share of both answers" if quotas else "drawn from the pool as it comes"
        print(
            f"{split:36} worth {means[0]:.1f} (+-{errors[0]:.1f})  to the best other {means[1]:.1f} (+-{errors[1]:.1f})"
        )


if __name__ == "__main__":
    main()
