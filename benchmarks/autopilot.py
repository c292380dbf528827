"""What the autopilot's trial of a canary gets right, on SIMULATED feedback; and a scripted day on a real model.

    python -m benchmarks.autopilot [--runs 200] [--lives 200]
    python -m benchmarks.autopilot real [--calls 400] [--rounds 4] [--model http://127.0.0.1:9000/v1 --name NAME]

Simulated: each call is of another key, unless a world says otherwise; a share of the keys has the canary, three calls
in ten are fed back, each after a delay of its own. The functions are the product's (`deployment.comparison`); a look
after each feedback is what the highest e-value of the path is held against.

1. *A planted harmful prior*: how often it is rolled back within 200 feedbacks, of its own and of both sides.
2. *No effect*: how many lives of a namespace promote anything, ten canaries in a row, to the end of each; in worlds
   that try the proof: hours that differ, graded rewards, one loud key, feedback from more of one side's calls.
3. *Power*: how often a canary that helps goes live, and after how much feedback.
4. *Drift*: false alarms of a live prior that goes on to help, and how long one that has ended stays.

`real`: calls of a routing task through the proxy to the embedded model, frozen at first; feedback late, noisy (one in
twenty is wrong) and partial (three in ten), the autopilot beside it, and offline learning on the same tasks.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import product
from math import log

import numpy as np
from numpy.typing import NDArray

from benchmarks.autopilot_real import Day, real_day
from tfgrpo.deployment.comparison import (
    HARM_LEVEL,
    Blocks,
    Comparison,
    Heard,
    canary_level,
    compared_in_use,
    differences,
    drifted,
)

SHARE = 0.2
MOST_PAIRS = 2_000
CANARIES = 10
FED_BACK = 0.3
DELAY = 500.0
"""Calls that come meanwhile, on average, until feedback is given."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """How rewards come about: the chance of a reward of 1, by the number of a call and whether it is the canary's."""

    base: float = 0.5
    effect: float = 0.0
    hours: float = 0.0
    """By how much the worth of all calls swings within 1,000 calls."""
    loud: float = 0.0
    """The share of calls that one key makes."""
    graded: bool = False
    eager: float = 1.0
    """How much more of the canary's calls are fed back."""

    def feedback(self, count: int, random: np.random.Generator, share: float = SHARE) -> list[Heard]:
        """Of so many calls that could be fed back, in the order of its coming."""
        loud = random.random(count) < self.loud
        arm = np.where(loud, random.random() < share, random.random(count) < share)
        mean = self.base + self.effect * arm + self.hours * np.sin(np.arange(count) / 160)
        mean = np.where(loud, np.where(random.random() < 0.5, 0.9, 0.1), mean)
        reward = random.beta(4 * mean, 4 * (1 - mean)) if self.graded else (random.random(count) < mean).astype(float)
        given = random.random(count) < np.where(arm, min(1.0, FED_BACK * self.eager), FED_BACK)
        order = np.argsort(np.arange(count) + random.exponential(DELAY, count), kind="stable")
        return [
            Heard(bool(arm[place]), "loud" if loud[place] else str(place), float(reward[place]))
            for place in order
            if given[place]
        ]


NO_EFFECT = {
    "right half the time": World(),
    "right 19 times in 20": World(base=0.95),
    "hours that differ by 60 points": World(hours=0.3),
    "graded rewards": World(graded=True),
    "one key gives a third of the feedback": World(loud=0.33),
    "twice as much feedback on the canary": World(eager=2.0),
}


def trial(world: World, random: np.random.Generator, share: float, pairs: int) -> tuple[Comparison, list[Heard]]:
    """A canary to so many pairs, and its feedback."""
    blocks = Blocks.at(share)
    calls = int(1.15 * pairs * (blocks.tried + blocks.control) / FED_BACK) + 200
    heard = world.feedback(calls, random, share)
    return compared_in_use(heard, blocks), heard


def first(path: tuple[float, ...], level: float) -> int | None:
    """The pair, from 1, at which a bet decides."""
    above = np.flatnonzero(np.array(path) >= log(1 / level))
    return int(above[0]) + 1 if len(above) else None


def arrival(heard: list[Heard], blocks: Blocks, pair: int) -> int:
    """How much feedback of both sides there was when a pair was whole."""
    needed = {True: pair * blocks.tried, False: pair * blocks.control}
    seen = {True: 0, False: 0}
    for count, one in enumerate(heard, 1):
        seen[one.tried] += 1
        if all(seen[side] >= needed[side] for side in needed):
            return count
    return len(heard)


def harmful(runs: int) -> None:
    print(f"1. A harmful prior, rolled back at {1 / HARM_LEVEL:g} ({runs} runs; right half the time without it)")
    print("   effect  share   within 200 of its own   within 200 of both   median of both")
    for effect, share in product((-0.1, -0.15, -0.2, -0.3), (0.1, 0.2, 0.5)):
        own, both = [], []
        for seed in range(runs):
            found, heard = trial(World(effect=effect), np.random.default_rng([1, seed]), share, 400)
            pair = first(found.harm.path, HARM_LEVEL)
            own.append(pair * Blocks.at(share).tried if pair else 10**9)
            both.append(arrival(heard, Blocks.at(share), pair) if pair else 10**9)
        told = np.mean(np.array(own) <= 200), np.mean(np.array(both) <= 200), np.median(both)
        print(f"   {100 * effect:+5.0f}   {share:.1f}     {told[0]:17.1%}   {told[1]:18.1%}   {told[2]:14.0f}")


def lives(count: int) -> None:
    print(f"2. No effect: lives of {CANARIES} canaries that promote anything, at alpha 0.05 ({count} lives)")
    for name, world in NO_EFFECT.items():
        promoted = harmed = 0
        for seed in range(count):
            random = np.random.default_rng([2, seed])
            for number in range(1, CANARIES + 1):
                found, _ = trial(world, random, SHARE, MOST_PAIRS // 4)
                good = first(found.benefit.path, canary_level(0.05, number))
                bad = first(found.harm.path, HARM_LEVEL)
                harmed += bad is not None and (good is None or bad <= good)
                if good is not None and (bad is None or good < bad):
                    promoted += 1
                    break
        print(f"   {name:40} {promoted / count:6.1%}   rolled back as harmful {harmed / count / CANARIES:6.1%}")


def power(runs: int) -> None:
    print(f"3. A canary that helps, share {SHARE} ({runs} runs)")
    print("   effect  canary   goes live   median feedback of both sides")
    for effect, number in ((0.1, 1), (0.1, 5), (0.2, 1), (0.05, 1)):
        both, live = [], 0
        for seed in range(runs):
            found, heard = trial(World(effect=effect), np.random.default_rng([3, seed]), SHARE, 1_000)
            good = first(found.benefit.path, canary_level(0.05, number))
            bad = first(found.harm.path, HARM_LEVEL)
            if good is not None and (bad is None or good < bad):
                live += 1
                both.append(arrival(heard, Blocks.at(SHARE), good))
        print(f"   {100 * effect:+5.0f}   {number:6}   {live / runs:9.1%}   {np.median(both) if both else 0:10.0f}")


def drift(runs: int) -> None:
    print(f"4. A live prior against a holdback of one in twenty ({runs} runs)")
    blocks = Blocks.at(0.95)
    for effect in (0.1, 0.05, 0.02):
        alarms = sum(
            drifted(World(effect=effect).feedback(150_000, np.random.default_rng([4, seed]), 0.95), blocks)[0]
            for seed in range(runs // 10)
        )
        pairs = int(150_000 * FED_BACK * 0.05)
        print(f"   gains {100 * effect:.0f} points for {pairs:,} pairs: {alarms} of {runs // 10} called back")
    for effect in (0.0, -0.1):
        delays = []
        for seed in range(runs // 10):
            random = np.random.default_rng([5, seed])
            heard = [*World(effect=0.1).feedback(60_000, random, 0.95)]
            heard += [
                Heard(one.tried, f"late {one.key}", one.reward)
                for one in World(effect=effect).feedback(150_000, random, 0.95)
            ]
            begun = len(differences(heard[: int(60_000 * FED_BACK)], blocks))
            _, bet = drifted(heard, blocks)
            found = first(bet.path[begun:], 1e-4)
            delays.append(found if found else 10**9)
        print(f"   ended at {100 * effect:+.0f} points: called back after {np.median(delays):,.0f} of the held back")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", nargs="?", choices=["simulated", "real"], default="simulated")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--lives", type=int, default=200)
    day = parser.add_argument_group("real")
    for one in fields(Day):
        day.add_argument(f"--{one.name.replace('_', '-')}", type=type(one.default), default=one.default)
    given = parser.parse_args()
    if given.mode == "real":
        return real_day(Day(**{one.name: getattr(given, one.name) for one in fields(Day)}))
    tables: tuple[Callable[[], None], ...] = (
        lambda: harmful(given.runs),
        lambda: lives(given.lives),
        lambda: power(given.runs),
        lambda: drift(given.runs),
    )
    for table in tables:
        table()


if __name__ == "__main__":
    main()
