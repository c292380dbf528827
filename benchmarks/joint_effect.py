"""What judging experiences together adds, on SIMULATED policies where single effects cannot tell. No model is called.

    python -m benchmarks.joint_effect [--runs 200] [--json FILE]

Eight experiences on trial, 16 tasks, groups of 8, one group a task and step, shown what the product shows; a look (for
retiring) after every step. In the first world any one of them takes the pass rate from 0 to 45%; in the second there
are two kinds, four of each, and it takes one of either kind to go from 0 to 60%; in the third they do nothing to a pass
rate of 45%. A row gives the pass rate (percent, mean over runs) under what is kept by single effects, and under what is
kept in all, with the share of the experiences kept either way.
"""

import argparse
import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks.credit import figure
from tfgrpo.experiences.credit import estimate, to_keep, to_keep_together, to_retire
from tfgrpo.experiences.dealing import included
from tfgrpo.records import Experience, Group, Rollout, Task
from tfgrpo.settings import Settings

TASKS = tuple(Task(f"simulated task {number}") for number in range(16))
EXPERIENCES = tuple(Experience(f"When in case {number}, do it.") for number in range(8))
IDS = tuple(experience.id for experience in EXPERIENCES)
STEPS = (2, 3, 4, 6)

World = Callable[[Collection[str]], float]
"""The pass rate when the experiences with these ids are shown."""
WORLDS: dict[str, World] = {
    "any one is enough": lambda shown: 0.45 * (not set(IDS).isdisjoint(shown)),
    "one of either kind is needed": lambda shown: (
        0.6 * all(not set(kind).isdisjoint(shown) for kind in (IDS[:4], IDS[4:]))
    ),
    "all are useless": lambda _: 0.45,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run keeps, as if it ended there: shares of the experiences, and pass rates with what is kept."""

    alone: float
    all: float
    rate_alone: float
    rate_all: float
    together: bool


def run(world: World, seed: int) -> dict[int, Outcome]:
    """One run, judged after each number of steps of STEPS."""
    rng, settings = np.random.default_rng([seed, 11]), Settings(seed=seed)
    groups: list[Group] = []
    on_trial, outcomes = list(EXPERIENCES), dict[int, Outcome]()
    for step in range(max(STEPS)):
        for task in TASKS:
            attempts = []
            for sample, luck in enumerate(rng.random(settings.group_size)):
                shown = included(on_trial, (), settings, task=task.id, step=step, sample=sample)
                ids = tuple(entry.id for entry in shown)
                attempts.append(Rollout(task, step, sample, "simulated", ids, reward=float(luck < world(ids))))
            groups.append(Group(task, step, tuple(attempts)))
        gone = {effect.experience for effect in to_retire(groups, on_trial, settings)}
        on_trial = [experience for experience in on_trial if experience.id not in gone]
        if step + 1 in STEPS:
            outcomes[step + 1] = _outcome(world, groups, on_trial, settings)
    return outcomes


def _outcome(world: World, groups: list[Group], on_trial: list[Experience], settings: Settings) -> Outcome:
    alone = {effect.experience for effect in to_keep(estimate(groups, on_trial, settings), settings)}
    joint = to_keep_together(groups, [entry for entry in on_trial if entry.id not in alone], settings)
    every = alone | set(joint.kept if joint else ())
    return Outcome(len(alone) / len(IDS), len(every) / len(IDS), world(alone), world(every), joint is not None)


def main() -> None:
    """Print a table a world."""
    parser = argparse.ArgumentParser(description="Keeping experiences together, on simulated policies.")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, dict[int, list[Outcome]]] = {}
    for name, world in WORLDS.items():
        print(f"\nSimulated policy, {name}; {options.runs} runs")
        print("rollouts  kept alone  pass rate  kept in all  pass rate  kept something together (95% Wilson)")
        runs = [run(world, seed) for seed in range(options.runs)]
        found[name] = {steps: [outcomes[steps] for outcomes in runs] for steps in STEPS}
        for steps, outcomes in found[name].items():
            shares = ("alone", "rate_alone", "all", "rate_all")
            means = [100 * fmean(getattr(outcome, share) for outcome in outcomes) for share in shares]
            rollouts = steps * len(TASKS) * Settings().group_size
            together = figure(sum(outcome.together for outcome in outcomes), len(outcomes))
            print(
                f"{rollouts:8}  {means[0]:10.1f}  {means[1]:9.1f}  {means[2]:11.1f}  {means[3]:9.1f}  {together}",
                flush=True,
            )
    if options.json:
        written = {
            name: {steps: [asdict(outcome) for outcome in outcomes] for steps, outcomes in cells.items()}
            for name, cells in found.items()
        }
        options.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
