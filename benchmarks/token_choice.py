"""How often a token prior is kept, on SIMULATED policies whose gain by it is known exactly. No model is called.

    python -m benchmarks.token_choice [--runs 400] [--json FILE]
    python -m benchmarks.token_choice --curve 8 --runs 40

One-word answers from an exact softmax over eight words: two labels, and six that are never right. A task's logits are
the row's `start`, noise of standard deviation 1 for each task and word, and `signal` on its own label. 20 tasks, drawn
anew in every run, 4 steps of 8 attempts; learning and choosing are the real ones. The truth is the change of the
expected reward over 4,000 other tasks. Beside what is kept stands what would be if the answers were not known, so that
folds are dealt by hash alone. `worse`: kept, though the expected reward falls by more than a point. With --curve: the
gain of what is learned, and of what is chosen, after each of so many steps of the same runs.

Limits, exit code 1 where one is missed: what is chosen costs no more than a point on average where training tasks are
drawn from the same ones that count; where what is learned is worth more than twenty points, it is kept in nine runs of
ten; on the curve, what is chosen after the last step is worth no more than a point less than what was after any other.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.gate import wilson
from tfgrpo.records import Backend, Frame, Group, Rollout, Task, TokenBias, TokenTrace
from tfgrpo.settings import Settings
from tfgrpo.token_prior.estimators import TokenLearning

TASKS, WORDS, OTHERS = 20, 8, 4_000
FRAME = Frame("simulated")
BACKEND = Backend(logit_bias="honoured", logprobs=True, token_ids=True)
PIECES = {word: b"w%d" % word for word in range(WORDS)}
ORDERS = [np.array([[said, *(word for word in range(WORDS) if word != said)]]) for said in range(WORDS)]
"""Token ids at a position, by what was sampled."""
WORTH_LITTLE, WORTH_MUCH = 0.01, 0.20


@dataclass(frozen=True, slots=True)
class World:
    """One row: what the policy is like, and how labels are spread over tasks."""

    name: str
    share: float = 0.5
    """Of tasks whose label is the first word, where training tasks are drawn from."""
    start: tuple[float, float, float] = (0.0, 0.0, -9.0)
    """Logits of the first label, of the second, and of each word that is never right."""
    signal: float = 1.0
    luck: bool = False
    """Rewards are drawn with a chance of a half, whatever is said."""
    counts: float | None = None
    """The share among the tasks that count, where it is another."""
    clings: bool = False
    """The first word that is never right is said by a fifth of the tasks at times, and by a seventh nearly always."""


WORLDS = (
    World("rewards are luck", luck=True),
    World("to lean to a label changes nothing", signal=0.0),
    World("to lean to a label hurts a little", signal=0.5),
    World("to lean to a label hurts", signal=1.0),
    World("a label is said too rarely", start=(1.0, -1.0, -9.0), signal=1.5),
    World("three of four tasks have one label", 0.75, signal=0.5),
    World("words that are never right are common", start=(0.0, 0.0, 0.0), signal=1.5),
    World("three of four in training only", 0.75, signal=0.5, counts=0.5),
    World("a few tasks cling to a wrong word", signal=1.5, clings=True),
)
CURVE = (WORLDS[4], WORLDS[6], WORLDS[8], WORLDS[1], WORLDS[3])
"""Where a gain may be lost again, and where there is none."""


@dataclass(frozen=True, slots=True)
class Tasks:
    """Labels (0 or 1), shape (T,), and logits, shape (T, WORDS); `luck` as in World."""

    labels: NDArray[np.int64]
    logits: NDArray[np.float64]
    luck: bool

    def chances(self, biases: Sequence[TokenBias]) -> NDArray[np.float64]:
        """The policy under biases, shape (T, WORDS)."""
        moved = self.logits.copy()
        for entry in biases:
            moved[:, entry.token] += entry.bias
        return np.asarray(np.exp(_log_softmax(moved / FRAME.temperature)))

    def expected(self, biases: Sequence[TokenBias]) -> float:
        """The mean chance of the right label."""
        return float(self.chances(biases)[np.arange(len(self.labels)), self.labels].mean())


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))


def drawn(world: World, count: int, share: float, rng: np.random.Generator) -> Tasks:
    """That many tasks, with that chance of the first label."""
    labels = (rng.random(count) >= share).astype(np.int64)
    first, second, other = world.start
    logits = np.array([first, second, *[other] * (WORDS - 2)]) + rng.standard_normal((count, WORDS))
    logits[np.arange(count), labels] += world.signal
    if world.clings:
        logits[:, 2] += rng.choice([12.0, 9.5, 6.0], count, p=[0.15, 0.2, 0.65])
    return Tasks(labels, logits, world.luck)


def attempts(
    tasks: Tasks,
    names: Sequence[Task],
    step: int,
    biases: Sequence[TokenBias],
    rng: np.random.Generator,
    *,
    size: int = Settings().group_size,
) -> list[Group]:
    """One step's groups, with log-probabilities at temperature 1 and before the bias, as llama.cpp reports them."""
    reported, upto = _log_softmax(tasks.logits), tasks.chances(biases).cumsum(axis=1)
    groups = []
    for place, task in enumerate(names):
        rollouts = []
        for sample, draw in enumerate(rng.random(size)):
            said = int(np.searchsorted(upto[place, :-1], draw))
            right = rng.random() < 0.5 if tasks.luck else said == tasks.labels[place]
            trace = TokenTrace(ORDERS[said], reported[place][ORDERS[said]], PIECES)
            rollouts.append(Rollout(task, step, sample, "simulated", reward=float(right), trace=trace))
        groups.append(Group(task, step, tuple(rollouts)))
    return groups


def learned(world: World, seed: int, steps: int, *, told: bool) -> Iterator[tuple[TokenLearning, float]]:
    """After each step all that is learned, and what it changes; `told`: tasks come with their answers."""
    rng = np.random.default_rng([seed, 11])
    tasks = drawn(world, TASKS, world.share, rng)
    others = drawn(world, OTHERS, world.share if world.counts is None else world.counts, rng)
    answers = tasks.labels.tolist() if told else [None] * TASKS
    names = [Task(f"{seed} {place}", answer) for place, answer in enumerate(answers)]
    learning = TokenLearning((), FRAME, BACKEND, Settings(seed=seed, steps=steps))
    for step in range(steps):
        learning.learn(attempts(tasks, names, step, learning.working, rng), FRAME.temperature)
        yield learning, 0.0 if world.luck else others.expected(learning.result()) - others.expected(())


def run(world: World, seed: int, *, told: bool) -> tuple[bool, float]:
    """Whether what was learned is kept, and what it changes."""
    *_, (learning, worth) = learned(world, seed, Settings().steps, told=told)
    kept, _ = learning.choose({})
    return bool(kept), worth


def curve(world: World, seed: int, steps: int) -> list[tuple[bool, float]]:
    """The same after each step."""
    found = learned(world, seed, steps, told=True)
    return [(bool(learning.choose({})[0]), worth) for learning, worth in found]


@dataclass(frozen=True, slots=True)
class Row:
    """What came of the runs in one world; gains in reward units."""

    name: str
    runs: int
    learned: float
    """Mean gain of all that was learned."""
    kept: int
    chosen: float
    """Mean gain of what was chosen, 0 where none was."""
    worse: int
    by_chance: int
    """Kept where folds are dealt by hash alone."""


def simulate(world: World, runs: int) -> Row:
    """All runs of a world."""
    found = [run(world, seed, told=True) for seed in range(runs)]
    return Row(
        world.name,
        runs,
        float(np.mean([worth for _, worth in found])),
        sum(kept for kept, _ in found),
        float(np.mean([worth * kept for kept, worth in found])),
        sum(kept and worth < -WORTH_LITTLE for kept, worth in found),
        sum(run(world, seed, told=False)[0] for seed in range(runs)),
    )


def missed(rows: Sequence[Row]) -> list[str]:
    """The limits that these figures miss."""
    same = {world.name for world in WORLDS if world.counts is None}
    found = [f"{row.name}: costs {-row.chosen:.1%}" for row in rows if row.name in same and row.chosen < -WORTH_LITTLE]
    found += [f"{row.name}: kept too rarely" for row in rows if row.learned > WORTH_MUCH and row.kept < 0.9 * row.runs]
    return found


def fallen(name: str, gains: NDArray[np.float64]) -> list[str]:
    """That the last of the mean gains by step, shape (runs, steps), is less than the best by WORTH_LITTLE."""
    by_step = gains.mean(axis=0)
    lost = float(by_step.max() - by_step[-1])
    return [f"{name}: {lost:.1%} are lost after step {1 + int(by_step.argmax())}"] if lost > WORTH_LITTLE else []


def _curves(steps: int, runs: int) -> list[str]:
    """Print the table of the curve; the limits that it misses."""
    print("| world | | " + " | ".join(str(step) for step in range(1, steps + 1)) + " | last less first | worst fall |")
    print("|---" * (steps + 4) + "|")
    missing = []
    for world in CURVE:
        found = np.array([curve(world, seed, steps) for seed in range(runs)])  # kept, gain
        for name, gains in (("learned", found[:, :, 1]), ("chosen", found[:, :, 0] * found[:, :, 1])):
            change, fall = gains[:, -1] - gains[:, 0], (gains[:, 1:] - gains[:, :-1]).min()
            told = f"{100 * change.mean():+.1f} ({100 * change.std(ddof=1) / runs**0.5:.1f}) | {100 * fall:+.1f}"
            cells = " | ".join(f"{100 * gain:+.1f}" for gain in gains.mean(axis=0))
            print(f"| {world.name} | {name} | {cells} | {told} |", flush=True)
        missing += fallen(world.name, gains)
        kept = " | ".join(f"{share:.0%}" for share in found[:, :, 0].mean(axis=0))
        print(f"| | kept | {kept} | | |", flush=True)
    return missing


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="The choice of a token prior on simulated policies.")
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--curve", type=int, metavar="STEPS")
    options = parser.parse_args()
    if options.curve:
        raise SystemExit("\n".join(_curves(options.curve, options.runs)) or 0)
    rows = []
    print("| world | gain of all learned | kept | gain of what is chosen | worse | kept, folds by hash |")
    print("|---|---|---|---|---|---|")
    for world in WORLDS:
        rows.append(row := simulate(world, options.runs))
        kept, worse, by_chance = (
            f"{count / row.runs:.1%} [{100 * low:.1f}, {100 * high:.1f}]"
            for count in (row.kept, row.worse, row.by_chance)
            for low, high in [wilson(count, row.runs)]
        )
        gains = [f"{100 * gain:+.1f}" for gain in (row.learned, row.chosen)]
        print(f"| {row.name} | {gains[0]} | {kept} | {gains[1]} | {worse} | {by_chance} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    if failures := missed(rows):
        raise SystemExit("\n".join(failures))


if __name__ == "__main__":
    main()
