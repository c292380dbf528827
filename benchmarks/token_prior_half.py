"""What half of the rollouts teach: the token prior after 160 and 320 of them, beside what 640 once taught.

    nice -n 10 python -m benchmarks.token_prior_half [--sets labels,format] [--seeds 5] [--first-seed 3] [--steps 2]
        [--store FILE]

The policy gradient of `token_prior` on the embedded model, two steps of 160 rollouts in place of four (--steps 4: all,
for both in the same runs), on the same tasks as its check (`fresh_parts`), measured on held-out ones after each. One
slot, and the rollouts of a task one after the other: the prompt is read once, so that a set takes one to three minutes
of two cores. Every call is journalled in the store, a line is printed as each set is done, and an interrupted benchmark
goes on from there. Gains are points of exact match over the frozen model; beside them stands what four steps of 160 had
taught before rollouts of earlier steps were used again (seeds 3 to 5, the table in docs/benchmarks.md).
Exit code 1 where the mean over the sets
is less.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.token_prior import Place
from benchmarks.token_prior_sets import SETS, SetOfTasks, fresh_parts
from tfgrpo.model.local import upstream as endpoint
from tfgrpo.model.local.server import ONE_AFTER_THE_OTHER
from tfgrpo.model.upstream import Upstream
from tfgrpo.probe.backend import probe
from tfgrpo.records import Run
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.token_prior.estimators import TokenLearning

STEPS = 2
BEFORE: Mapping[str, tuple[float, float]] = {
    "labels": (51.0, 72.9),
    "format": (34.4, 86.5),
    "extraction": (25.0, 41.7),
    "gym:syllogism": (46.4, 54.7),
}
"""Exact match of the frozen model, and after four steps, in percent."""


@dataclass(frozen=True, slots=True)
class Half:
    """One seed of one set: exact match on held-out tasks, in percent."""

    name: str
    seed: int
    scores: tuple[float, ...]
    """Frozen, and after each step."""

    @property
    def gain(self) -> float:
        """Of all steps, in points."""
        return self.scores[-1] - self.scores[0]


async def taught(place: Place) -> tuple[float, ...]:
    """Held-out scores, frozen and after each step."""
    learning = TokenLearning((), place.run.frame, place.backend, place.settings)
    scores = [await place.right("frozen")]
    for step in range(place.settings.steps):
        learning.learn(await place.groups("policy gradient", step, learning.working), place.run.frame.temperature)
        scores.append(await place.right(f"step {step}", learning.result()))
    return tuple(100 * float(found.mean()) for found in scores)


async def measure(wanted: SetOfTasks, seed: int, at: tuple[str, str], store: Store, steps: int = STEPS) -> Half:
    """One seed of one set, from the journal where it holds the calls; `at` are base URL and model."""
    url, model = at
    settings, divided = Settings(seed=seed, steps=steps, concurrency=1), fresh_parts(wanted, seed)
    tasks = (*divided.train, *divided.test)
    store.add_tasks(tasks)
    told = {"benchmark": "token prior, half", "seed": seed, "steps": steps}
    run, _ = store.begin(
        Run("eval", wanted.name, wanted.frame(model), told, tuple(task.id for task in tasks), "graded")
    )
    async with Upstream(url, settings=settings, journal=store) as calls:
        backend = await probe(calls, model, run=run.id)
        return Half(wanted.name, seed, await taught(Place(wanted, divided, run, calls, backend, settings)))


def table(results: Sequence[Half]) -> list[str]:
    """A row a set: means over seeds."""
    counts = [160 * step for step in range(1, max(len(one.scores) for one in results))]
    head = ["set", "seeds", "frozen", *(f"{count} rollouts" for count in counts), f"gain by {counts[-1]}"]
    lines = ["| " + " | ".join([*head, "gain by 640, before"]) + " |", "|---" * (len(head) + 1) + "|"]
    for name in dict.fromkeys(one.name for one in results):
        mine = [one for one in results if one.name == name]
        frozen, *steps = np.mean([one.scores for one in mine], axis=0)
        cells = [
            name,
            str(len(mine)),
            f"{frozen:.1f}",
            *(f"{step:.1f}" for step in steps),
            f"{steps[-1] - frozen:+.1f}",
        ]
        lines.append("| " + " | ".join([*cells, f"{before(name):+.1f}"]) + " |")
    return lines


def before(name: str) -> float:
    """What 640 rollouts gained."""
    frozen, learned = BEFORE[name]
    return learned - frozen


def reached(results: Sequence[Half]) -> tuple[float, float]:
    """The mean gain over sets, and the one before."""
    names = list(dict.fromkeys(one.name for one in results))
    now = [np.mean([one.gain for one in results if one.name == name]) for name in names]
    return float(np.mean(now)), float(np.mean([before(name) for name in names]))


def main() -> int:
    """Seed by seed, and the table at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(BEFORE))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--store", type=Path, default=Path("token-prior-half.db"))
    given = parser.parse_args()
    chosen, results = [wanted for wanted in SETS if wanted.name in given.sets.split(",")], list[Half]()
    with Store(given.store) as store, endpoint("local", ONE_AFTER_THE_OTHER) as at:
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            for wanted in chosen:
                results.append(found := asyncio.run(measure(wanted, seed, at, store, given.steps)))
                scores = ", ".join(f"{score:.1f}" for score in found.scores)
                print(f"{wanted.name}, seed {seed}: {scores} ({found.gain:+.1f})", file=sys.stderr, flush=True)
    now, then = reached(results)
    print(
        "\n".join(
            [*table(results), "", f"mean over sets {now:+.1f} by {160 * given.steps} rollouts, {then:+.1f} before"]
        )
    )
    return int(now < then)


if __name__ == "__main__":
    sys.exit(main())
