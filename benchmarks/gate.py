"""How often the gate promotes, on SIMULATED arms whose truth is known. No model is called.

    python -m benchmarks.gate [--runs 1000] [--json FILE]

24 tasks, rewards of 0 or 1, at most 24 passes, a look after every pass; the gate is the real one. Pass rates are spread
evenly over tasks, and are the same in every run but in the last row. `covered`: the 95% interval at the stop holds the
true mean effect; `above 0`: it lies above zero. Limits, exit code 1 where one is missed: where the mean effect is zero
the share promoted has a 95% upper bound of at most 5%, five trials in a row on one validation set included; of +10
points at least 80% are promoted on the first trial; of -10 points none. In the last row the mean is zero over the
tasks that could be drawn, not over the 24 that were: no null of the gate.

The second table holds what the gate says it can detect, before anything is spent, against simulation.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tfgrpo.gate.e_process import Gate, GateState
from tfgrpo.gate.power import chance_of_promotion, smallest_effect
from tfgrpo.gate.verdict import GateDecision, interval_over_tasks, judge

TASKS, PASSES, ALPHA = 24, 24, 0.05
COLLAPSING, LOSS, GAIN = 4, 0.5, 0.1
"""Tasks of 24 that collapse, by how much, and how much the others gain: nothing on average."""


@dataclass(frozen=True, slots=True)
class Arms:
    """Pass rates of T tasks under each prior, shapes (T,), and the effect that the interval has to cover."""

    live: NDArray[np.float64]
    candidate: NDArray[np.float64]
    truth: float


Draw: TypeAlias = Callable[[np.random.Generator], Arms]


def shifted(effect: float, tasks: int = TASKS) -> Arms:
    """Pass rates evenly over [0, 1 - |effect|], and the same plus the effect on every task."""
    lower = (np.arange(tasks) + 0.5) / tasks * (1 - abs(effect))
    upper = lower + abs(effect)
    return Arms(lower, upper, effect) if effect >= 0 else Arms(upper, lower, effect)


def collapse(rng: np.random.Generator | None = None) -> Arms:
    """Most tasks gain 10 points, a few lose 50: mean 0; with `rng` each task is drawn, and that is the population's."""
    base = (np.arange(TASKS) + 0.5) / TASKS
    if rng is None:
        falls = np.isin(np.arange(TASKS), np.linspace(TASKS // 2, TASKS - 1, COLLAPSING).astype(int))
    else:
        falls = rng.random(TASKS) < COLLAPSING / TASKS
    live = np.where(falls, LOSS + base * (1 - LOSS), base * (1 - GAIN))
    return Arms(live, live + np.where(falls, -LOSS, GAIN), 0.0)


def play(gate: Gate, arms: Arms, rng: np.random.Generator) -> tuple[GateDecision, GateState]:
    """One trial, pass after pass until it is decided."""
    luck = rng.random((gate.passes, 2, gate.tasks))
    outcomes = (luck < np.stack([arms.candidate, arms.live])).astype(np.float64)
    state = gate.start
    for candidate, live in outcomes:
        state = state.after(candidate, live)
        decision = judge(gate, state)
        if decision.verdict != "continue":
            break
    return decision, state


@dataclass(slots=True)
class Row:
    """Counts over runs; what is said of intervals and passes is of the last trial of each run."""

    name: str
    runs: int = 0
    promoted: int = 0
    above: int = 0
    promoted_above: int = 0
    covered: int = 0
    passes: int = 0


def simulate(name: str, draw: Draw, gates: list[Gate], runs: int) -> Row:
    """Runs of these trials, one after the other until one promotes."""
    row = Row(name)
    for seed in range(runs):
        rng = np.random.default_rng([seed, 5])
        arms = draw(rng)
        for gate in gates:
            decision, state = play(gate, arms, rng)
            if decision.verdict == "promote":
                break
        found = interval_over_tasks(state)
        assert found is not None
        promoted, above = decision.verdict == "promote", found.low > 0
        row.runs += 1
        row.promoted += promoted
        row.above += above
        row.promoted_above += promoted and above
        row.covered += found.low <= arms.truth <= found.high
        row.passes += state.passes
    return row


def trial(number: int, alpha: float = ALPHA) -> Gate:
    """The terms of that trial."""
    return Gate(TASKS, PASSES, alpha, number)


def rows(runs: int) -> list[Row]:
    """The first table."""
    first, whole, strict = [trial(1)], [trial(1, 2 * ALPHA)], [trial(1, 0.02)]
    five = [trial(number) for number in range(1, 6)]
    nothing, better, worse = shifted(0.0), shifted(0.1), shifted(-0.1)
    return [
        simulate("no effect, level 0.05", lambda _: nothing, whole, runs),
        simulate("no effect, first trial (0.025)", lambda _: nothing, first, runs),
        simulate("no effect, five trials in a row", lambda _: nothing, five, runs),
        simulate("+10 points, level 0.05", lambda _: better, whole, runs),
        simulate("+10 points, first trial (0.025)", lambda _: better, first, runs),
        simulate("+10 points, level 0.01", lambda _: better, strict, runs),
        simulate("-10 points, first trial", lambda _: worse, first, runs),
        simulate("few tasks collapse, mean 0, level 0.05", lambda _: collapse(), whole, runs),
        simulate("few tasks collapse, mean 0, first trial", lambda _: collapse(), first, runs),
        simulate("such tasks drawn anew, first trial", collapse, first, runs),
    ]


@dataclass(frozen=True, slots=True)
class Detectable:
    """What the gate says it can detect with 80% power on the first trial, and how often that is promoted."""

    tasks: int
    passes: int
    effect: float
    said: float
    runs: int
    promoted: int


def detectable(runs: int) -> list[Detectable]:
    """The second table."""
    found = []
    for tasks, passes in ((5, 32), (12, 32), (24, 8), (24, 24), (48, 16), (100, 8), (300, 4)):
        gate = Gate(tasks, passes, ALPHA)
        effect = smallest_effect(tasks, passes, gate.level)
        assert effect is not None
        arms = shifted(effect, tasks)
        verdicts = [play(gate, arms, np.random.default_rng([seed, 6]))[0].verdict for seed in range(runs)]
        said = chance_of_promotion(tasks, passes, effect, gate.level)
        found.append(Detectable(tasks, passes, effect, said, runs, verdicts.count("promote")))
    return found


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95% interval of a proportion."""
    share, weight = successes / trials, z * z / trials
    reach = z * sqrt(share * (1 - share) / trials + weight / (4 * trials))
    return (share + weight / 2 - reach) / (1 + weight), (share + weight / 2 + reach) / (1 + weight)


def missed(table: list[Row]) -> list[str]:
    """The limits that these figures miss."""
    found = []
    for row in table:
        if row.name.startswith(("no effect", "few tasks collapse")) and wilson(row.promoted, row.runs)[1] > ALPHA:
            found.append(f"{row.name}: upper bound above 5%")
        if row.name.startswith("+10 points, first") and row.promoted < 0.8 * row.runs:
            found.append(f"{row.name}: below 80%")
        if row.name.startswith("-10") and row.promoted:
            found.append(f"{row.name}: promoted")
    return found


def _figure(successes: int, trials: int) -> str:
    low, high = wilson(successes, trials)
    return f"{successes / trials:6.1%} [{low:5.1%}, {high:5.1%}]"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="The gate on simulated arms.")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"Simulated arms, {TASKS} tasks, at most {PASSES} passes, {options.runs} runs; 95% Wilson intervals")
    print(f"{'':42} {'promoted':22} {'above 0':22} {'promoted and above 0':22} {'covered':22} {'passes':>6}")
    table = rows(options.runs)
    for row in table:
        counts = (row.promoted, row.above, row.promoted_above, row.covered)
        shares = " ".join(f"{_figure(count, row.runs):22}" for count in counts)
        print(f"{row.name:42} {shares} {row.passes / row.runs:6.1f}")
    print("\nSmallest effect that is detected with 80% power on the first trial, and how often it is promoted")
    print(f"{'tasks':>5} {'passes':>6} {'effect':>7} {'said':>6}  simulated")
    second = detectable(options.runs)
    for one in second:
        simulated = _figure(one.promoted, one.runs)
        print(f"{one.tasks:5} {one.passes:6} {one.effect:7.1%} {one.said:6.1%} {simulated}")
    if options.json:
        found = {"gate": [asdict(row) for row in table], "detectable": [asdict(one) for one in second]}
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if failures := missed(table):
        raise SystemExit("\n".join(failures))


if __name__ == "__main__":
    main()
