"""How often the gate promotes, on SIMULATED arms whose truth is known. No model is called.

    python -m benchmarks.gate [--runs 1000] [--only WORDS] [--json FILE]

24 tasks, rewards of 0 or 1, at most 24 passes, a look after every pass; the gate is the real one, under its default
claim (tasks like these) unless a row says `these tasks`. Pass rates are spread evenly over tasks. Learning has seen 40
more tasks of the same kind, with 3 rollouts of each under what is live and 8 under the candidate, as a race of three
leaves them; those that look lost are tried again before a candidate goes live (`gate.training`). `before`: the share
promoted by the validation tasks alone; `tried`: calls for that, a run. `covered`: the 95%
interval at the stop holds the true mean effect. `falsely`: promoted, though what is claimed is not so: the mean effect
over the tasks that might be drawn (over just these tasks, in rows that say `these tasks`) is not above zero. Limits,
exit code 1 where one is missed: in the null worlds the share promoted falsely has a 95% upper bound of at most 5%; of
+10 points at equal effects at least 80% are promoted on the first trial; of -10 points, and of a candidate that
crashes, none. Rows without a limit tell what a claim costs or lets in.

The second table is of candidates that differ from what is live by their token prior alone, by rewards and by likelihood
ratios. The third holds what the gate says it can detect, before anything is spent, against simulation; the fourth and
fifth how often intervals over tasks cover.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from math import comb, sqrt
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tfgrpo.evaluation.difference import paired_difference
from tfgrpo.gate.e_process import Gate, GateState
from tfgrpo.gate.power import chance_of_promotion, smallest_effect
from tfgrpo.gate.training import TRIES, Tried, claim_together, look_lost
from tfgrpo.gate.verdict import GateDecision, interval_over_tasks, judge
from tfgrpo.records import Group, Rollout, Task
from tfgrpo.trials import Claim, Statistic

TASKS, PASSES, ALPHA = 24, 24, 0.05
COLLAPSING, LOSS, GAIN = 4, 0.5, 0.1
"""Tasks of 24 that collapse, by how much, and how much the others gain: nothing on average."""
RARE, RARE_LOSS = 0.1, 0.9
"""The same with fewer tasks that lose more: 8% of draws of 24 hold none of them, and look like GAIN on every task."""

TRAINED, SEEN_LIVE, SEEN = 40, 3, 8
"""Training tasks beside 24 for validation, and rollouts of each in learning, under what is live and the candidate."""


@dataclass(frozen=True, slots=True)
class Arms:
    """Pass rates of T tasks under each prior, shapes (T,), and the effect that the interval has to cover."""

    live: NDArray[np.float64]
    candidate: NDArray[np.float64]
    truth: float
    repeats: float = 0.0
    """The chance that what was drawn in the first pass comes again in another; 1: equal requests are answered alike."""

    def is_so(self, claim: Claim) -> bool:
        """Whether what that claim says of the candidate is so."""
        here = float((self.candidate - self.live).mean())
        return (here if claim == "these-tasks" else self.truth) > 1e-9


Draw: TypeAlias = Callable[[np.random.Generator], Arms]


def shifted(effect: float, tasks: int = TASKS, *, repeats: float = 0.0) -> Arms:
    """Pass rates evenly over [0, 1 - |effect|], and the same plus the effect on every task."""
    lower = (np.arange(tasks) + 0.5) / tasks * (1 - abs(effect))
    upper = lower + abs(effect)
    return Arms(lower, upper, effect, repeats) if effect >= 0 else Arms(upper, lower, effect, repeats)


def collapse(rng: np.random.Generator | None = None) -> Arms:
    """Most tasks gain 10 points, a few lose 50: mean 0; with `rng` each task is drawn, and that is the population's."""
    base = (np.arange(TASKS) + 0.5) / TASKS
    if rng is None:
        falls = np.isin(np.arange(TASKS), np.linspace(TASKS // 2, TASKS - 1, COLLAPSING).astype(int))
    else:
        falls = rng.random(TASKS) < COLLAPSING / TASKS
    live = np.where(falls, LOSS + base * (1 - LOSS), base * (1 - GAIN))
    return Arms(live, live + np.where(falls, -LOSS, GAIN), 0.0)


def rarely(rng: np.random.Generator) -> Arms:
    """Each task loses RARE_LOSS with a chance of RARE, and gains GAIN otherwise: nothing on average."""
    base, falls = (np.arange(TASKS) + 0.5) / TASKS, rng.random(TASKS) < RARE
    live = np.where(falls, RARE_LOSS + base * (1 - RARE_LOSS), base * (1 - GAIN))
    return Arms(live, live + np.where(falls, -RARE_LOSS, GAIN), 0.0)


def unlike(rng: np.random.Generator, effect: float = 0.0, spread: float = 0.2) -> Arms:
    """Effects drawn for each task, of that mean and standard deviation over the tasks that could be drawn."""
    middle = rng.uniform(0.35, 0.65, TASKS)
    half = (effect + spread * rng.choice([-1.0, 1.0], TASKS)) / 2
    return Arms(middle - half, middle + half, effect)


def crashing(_: np.random.Generator) -> Arms:
    """A candidate that is 20 points worse and crashes on everything that it would get wrong: failures are 0."""
    return shifted(-0.2)


@dataclass(slots=True)
class Training:
    """Training tasks: pass rates of both arms, shapes (TRAINED,), and what is tried again of them."""

    live: NDArray[np.float64]
    candidate: NDArray[np.float64]
    rng: np.random.Generator
    tried: list[Tried] | None = None
    calls: int = 0

    @classmethod
    def drawn(cls, draw: Draw, rng: np.random.Generator) -> "Training":
        """Tasks from the population of the validation tasks."""
        worlds = [draw(rng) for _ in range(-(-TRAINED // TASKS))]
        live, candidate = (
            np.concatenate(rates) for rates in zip(*((w.live, w.candidate) for w in worlds), strict=True)
        )
        chosen = rng.permutation(len(live))[:TRAINED]
        return cls(live[chosen], candidate[chosen], rng)

    def try_again(self, tries: int) -> list[Tried]:
        """What learning's rollouts name, tried again."""
        groups = [
            Group(task, 0, (*self._made(task, "live", SEEN_LIVE), *self._made(task, "candidate", SEEN)))
            for task in TRAINING_TASKS
        ]
        found = []
        for task in look_lost(groups, "candidate", {"live"}):
            one = Tried.of(task, self._made(task, "candidate", tries), self._made(task, "live", tries))
            found += [one] if one else []
            self.calls += 2 * tries
        return found

    def _made(self, task: Task, arm: str, count: int) -> list[Rollout]:
        rate = (self.live if arm == "live" else self.candidate)[TRAINING_TASKS.index(task)]
        earned = (self.rng.random(count) < rate).astype(float).tolist()
        return [Rollout(task, 0, number, "", variant=arm, reward=reward) for number, reward in enumerate(earned)]

    def objects(self, gate: Gate, state: GateState) -> GateDecision:
        """The verdict on what the validation tasks alone would promote."""
        if self.tried is None:
            self.tried = self.try_again(1 if gate.passes == 1 or state.repeats else TRIES)
        return judge(gate, state, claim_together(gate, state, self.tried, TRAINED).objection if self.tried else None)


TRAINING_TASKS = tuple(Task(f"training task {number}") for number in range(TRAINED))


def play(
    gate: Gate, arms: Arms, rng: np.random.Generator, training: Training | None = None
) -> tuple[GateDecision, GateState]:
    """One trial, pass after pass until it is decided."""
    luck = rng.random((gate.passes, 2, gate.tasks))
    if arms.repeats:
        luck = np.where(rng.random(luck.shape) < arms.repeats, luck[0], luck)
    outcomes = (luck < np.stack([arms.candidate, arms.live])).astype(np.float64)
    state = gate.start
    for candidate, live in outcomes:
        said = [(str(one), str(other)) for one, other in zip(candidate, live, strict=True)] if arms.repeats else ()
        state = state.after(candidate, live, answers=said)
        decision = judge(gate, state)
        if decision.verdict == "promote" and training and gate.claim == "tasks-like-these":
            decision = training.objects(gate, state)
        if decision.verdict != "continue":
            break
    return decision, state  # pyrefly: ignore[unbound-name]  # a gate has at least one pass


@dataclass(slots=True)
class Row:
    """Counts over runs; what is said of intervals and passes is of the last trial of each run."""

    name: str
    limit: str = ""
    """`null`, `power` or `never`: what the share promoted is held against."""
    runs: int = 0
    before: int = 0
    """Promoted by the validation tasks alone."""
    promoted: int = 0
    falsely: int = 0
    covered: int = 0
    passes: int = 0
    calls: int = 0
    """Of trying training tasks again."""


def simulate(name: str, draw: Draw, gates: list[Gate], runs: int, limit: str = "") -> Row:
    """Runs of these trials, one after the other until one promotes."""
    row = Row(name, limit)
    for seed in range(runs):
        rng = np.random.default_rng([seed, 5])
        arms, training = draw(rng), [Training.drawn(draw, np.random.default_rng([seed, 55]))]
        alone = False
        for gate in gates:
            training.append(replace(training[0], tried=None, calls=0))
            decision, state = play(gate, arms, rng, training[-1])
            alone = alone or decision.verdict == "promote" or training[-1].tried is not None
            if decision.verdict == "promote":
                break
        # pyrefly: ignore[unbound-name]  # there is at least one gate
        found, promoted = interval_over_tasks(state), decision.verdict == "promote"
        assert found is not None
        row.runs += 1
        row.before += alone
        row.calls += sum(one.calls for one in training)
        row.promoted += promoted
        row.falsely += promoted and not arms.is_so(gate.claim)
        row.covered += found.low <= arms.truth <= found.high
        row.passes += state.passes
    return row


def trial(number: int, alpha: float = ALPHA, claim: Claim = "tasks-like-these", passes: int = PASSES) -> Gate:
    """The terms of that trial."""
    return Gate(TASKS, passes, alpha, number, claim)


def rows(runs: int, only: str = "") -> list[Row]:
    """The first table."""
    first, whole, once = [trial(1)], [trial(1, 2 * ALPHA)], [trial(1, passes=1)]
    just = [trial(1, claim="these-tasks")]
    five = [trial(number) for number in range(1, 6)]
    five_just = [trial(number, claim="these-tasks") for number in range(1, 6)]
    nothing, better, worse = shifted(0.0), shifted(0.1), shifted(-0.1)
    cached = shifted(0.0, repeats=1.0)

    def at_times(_: np.random.Generator) -> Arms:
        return shifted(0.0, repeats=0.5)

    def mostly(_: np.random.Generator) -> Arms:
        return shifted(0.0, repeats=0.9)

    def slightly(rng: np.random.Generator) -> Arms:
        return unlike(rng, 0.1)

    wanted: list[tuple[str, Draw, list[Gate], str]] = [
        ("no effect, level 0.05", lambda _: nothing, whole, "null"),
        ("no effect, first trial (0.025)", lambda _: nothing, first, "null"),
        ("no effect, five trials in a row", lambda _: nothing, five, "null"),
        ("no effect, five trials in a row, these tasks", lambda _: nothing, five_just, "null"),
        ("-20 points, crashes where it is wrong", crashing, first, "never"),
        ("no effect, the reward raises on wrong texts", lambda _: nothing, first, "null"),
        ("no effect, equal requests answered alike", lambda _: cached, first, "null"),
        ("... these tasks", lambda _: cached, just, "null"),
        ("no effect, half of the answers come again", at_times, first, "null"),
        ("... half, these tasks", at_times, just, "null"),
        ("... nine in ten, these tasks", mostly, just, "null"),
        ("no effect, temperature 0", lambda _: nothing, once, "null"),
        ("few tasks collapse, mean 0, first trial", lambda _: collapse(), first, "null"),
        ("few tasks collapse, mean 0, these tasks", lambda _: collapse(), just, "null"),
        ("such tasks drawn anew", collapse, first, "null"),
        ("such tasks drawn anew, these tasks", collapse, just, "null"),
        ("one task in ten loses 90, drawn anew", rarely, first, "null"),
        ("population null, effects of sd 20", unlike, first, "null"),
        ("population null, effects of sd 20, five trials", unlike, five, "null"),
        ("population null, effects of sd 20, these tasks", unlike, just, "null"),
        ("+10 points, level 0.05", lambda _: better, whole, "power"),
        ("+10 points, first trial (0.025)", lambda _: better, first, "power"),
        ("+10 points, first trial, these tasks", lambda _: better, just, "power"),
        ("+10 points, effects of sd 20", slightly, first, ""),
        ("+10 points, effects of sd 20, these tasks", slightly, just, ""),
        ("+40 points, temperature 0", lambda _: shifted(0.4), once, ""),
        ("-10 points, first trial", lambda _: worse, first, "never"),
    ]
    return [simulate(name, draw, gates, runs, limit) for name, draw, gates, limit in wanted if only in name]


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
    """The third table."""
    found = []
    for tasks, passes in ((24, 1), (5, 32), (12, 32), (24, 8), (24, 24), (48, 16), (100, 8), (300, 4)):
        gate = Gate(tasks, passes, ALPHA, claim="these-tasks")
        effect = smallest_effect(tasks, passes, gate.level)
        assert effect is not None
        arms = shifted(effect, tasks)
        verdicts = [play(gate, arms, np.random.default_rng([seed, 6]))[0].verdict for seed in range(runs)]
        said = chance_of_promotion(tasks, passes, effect, gate.level)
        found.append(Detectable(tasks, passes, effect, said, runs, verdicts.count("promote")))
    return found


# Token priors: labels of which one is right, a policy over them for each task, and biases that are added


@dataclass(frozen=True, slots=True)
class Policies:
    """Probabilities of L labels at T tasks under each prior, shapes (T, L), and which is right, shape (T,)."""

    live: NDArray[np.float64]
    candidate: NDArray[np.float64]
    right: NDArray[np.int64]

    @property
    def effect(self) -> float:
        """Mean gain over these tasks."""
        each = np.arange(len(self.right))
        return float((self.candidate - self.live)[each, self.right].mean())


def biased(effect: float, rng: np.random.Generator, tasks: int = TASKS, labels: int = 3) -> Policies:
    """Policies of which one is the other with biases, by which it gains just that much on these tasks."""
    right = np.arange(tasks) % labels
    logits = rng.normal(0, 1, (tasks, labels)) + 1.5 * np.eye(labels)[right]
    logits[:, 0] += 2.0  # what is said too often

    def with_biases(size: float) -> Policies:
        live, candidate = (np.exp(logits + bias) for bias in (0.0, np.array([-size, 0.5, 0.0])))
        shares = [one / one.sum(axis=1, keepdims=True) for one in (live, candidate)]
        return Policies(shares[0], shares[1], right)

    low, high = -2.0, 2.0  # the gain grows with the bias up to here
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if with_biases(middle).effect < effect else (low, middle)
    return with_biases(high)


def play_biased(gate: Gate, arms: Policies, rng: np.random.Generator) -> tuple[GateDecision, GateState]:
    """One trial by the statistic of the gate's terms; m is 1/2 in the first pass, then the task's mean so far."""
    state, each = gate.start, np.arange(gate.tasks)
    total, count = np.ones(gate.tasks), np.full(gate.tasks, 2.0)
    for _ in range(gate.passes):
        drawn = [
            (rng.random((gate.tasks, 1)) > shares.cumsum(axis=1)).sum(axis=1) for shares in (arms.candidate, arms.live)
        ]
        drawn = [np.minimum(one, arms.live.shape[1] - 1) for one in drawn]
        rewards = [(one == arms.right).astype(np.float64) for one in drawn]
        gains = np.zeros(gate.tasks)
        for said, reward in zip(drawn, rewards, strict=True):
            first, second = arms.candidate[each, said], arms.live[each, said]
            gains += (reward - total / count) * (first - second) / (first + second)
        state = state.after(rewards[0], rewards[1], gains=gains if gate.statistic == "likelihood" else None)
        total, count = total + rewards[0] + rewards[1], count + 2
        decision = judge(gate, state)
        if decision.verdict != "continue":
            break
    return decision, state  # pyrefly: ignore[unbound-name]  # a gate has at least one pass


def by_statistic(runs: int, effects: tuple[float, ...] = (0.0, 0.05, 0.1)) -> list[tuple[float, Statistic, Row]]:
    """The second table: this many runs for each effect and statistic, under the claim about these tasks."""
    found: list[tuple[float, Statistic, Row]] = []
    statistics: tuple[Statistic, ...] = ("rewards", "likelihood")
    for effect in effects:
        for statistic in statistics:
            row = Row(f"{100 * effect:+.0f} points, by {statistic}", "null" if effect == 0 else "")
            gate = Gate(TASKS, PASSES, ALPHA, 1, "these-tasks", statistic)
            for seed in range(runs):
                rng = np.random.default_rng([seed, 8])
                decision, state = play_biased(gate, biased(effect, rng), rng)
                row.runs += 1
                row.promoted += decision.verdict == "promote"
                row.falsely += decision.verdict == "promote" and effect <= 0
                row.passes += state.passes
            found.append((effect, statistic, row))
    return found


def coverage(runs: int = 3_000) -> list[tuple[int, int, float, float]]:
    """The fourth table: tasks, rollouts a task and arm, sd of effects over tasks, share of intervals that cover."""
    found = []
    for tasks in (5, 8, 12, 24, 48):
        for repeats, spread in ((1, 0.0), (1, 0.2), (2, 0.2), (4, 0.0), (4, 0.2), (16, 0.2)):
            rng = np.random.default_rng([tasks, repeats])
            frozen = rng.random((runs, tasks))
            learned = np.clip(frozen + 0.1 + spread * rng.standard_normal((runs, tasks)), 0, 1)
            truth = float((learned - frozen).mean())
            gains = (rng.binomial(repeats, learned) - rng.binomial(repeats, frozen)) / repeats
            intervals = [paired_difference(row, rollouts=repeats) for row in gains]
            found.append((tasks, repeats, spread, float(np.mean([one.low <= truth <= one.high for one in intervals]))))
    return found


@dataclass(frozen=True, slots=True)
class Alike:
    """How often 95% intervals cover where all tasks are alike, over ALIKE: the least, the median, the most."""

    tasks: int
    rollouts: int
    least: float
    median: float
    most: float
    within: float
    """Share of those worlds that cover between 93 and 97%."""


ALIKE = [
    (rate / 100, effect / 100)
    for rate in (5, 15, 25, 35, 45, 55, 65, 75, 85, 95)
    for effect in (0, 10, 20, 40, 60)
    if rate + effect <= 95
]
"""Pass rates of the one arm, and how much more the other's are; no outcome of a task is as sure as these allow."""


def coverage_alike(runs: int = 3_000) -> list[Alike]:
    """The fifth table."""
    found = []
    for tasks in (5, 8, 12, 24, 48):
        for repeats in (1, 2, 4):
            rng, shares = np.random.default_rng([tasks, repeats, 1]), list[float]()
            for rate, effect in ALIKE:
                drawn = [rng.binomial(repeats, chance, (runs, tasks)) for chance in (rate + effect, rate)]
                rows, counts = np.unique(np.sort(drawn[0] - drawn[1], axis=1), axis=0, return_counts=True)
                made = [paired_difference(row / repeats, rollouts=repeats) for row in rows]
                shares.append(float(counts @ [one.low - 1e-9 <= effect <= one.high + 1e-9 for one in made]) / runs)
            within = np.mean([0.93 <= share <= 0.97 for share in shares])
            found.append(Alike(tasks, repeats, min(shares), float(np.median(shares)), max(shares), float(within)))
    return found


def nearest_to_95(tasks: int = 5) -> tuple[float, float]:
    """Between what any rule whatever must let its coverage go, single rollouts of arms that are alike.

    Arms differ on a task with chance 2 r (1 - r), and either wins half of those: a rule that is no lottery says of each
    (s tasks that differ, wins) whether no effect is refuted, so of every s it keeps a sum of binomials over 2^s.
    All such rules are tried, at the pass rates of ALIKE.
    """
    rates = np.array(sorted({rate for rate, _ in ALIKE}))
    differ = 2 * rates * (1 - rates)
    covers = np.zeros((1, len(rates)))
    for s in range(tasks + 1):
        sums = {0}
        for wins in range(s + 1):
            sums |= {one + comb(s, wins) for one in sums}
        chance = comb(tasks, s) * differ**s * (1 - differ) ** (tasks - s)
        kept = np.array(sorted(sums))[:, None] / 2**s * chance
        covers = (covers[:, None] + kept).reshape(-1, len(rates))
    best = covers[np.abs(covers - 0.95).max(axis=1).argmin()]
    return float(best.min()), float(best.max())


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95% interval of a proportion."""
    share, weight = successes / trials, z * z / trials
    reach = z * sqrt(share * (1 - share) / trials + weight / (4 * trials))
    return (share + weight / 2 - reach) / (1 + weight), (share + weight / 2 + reach) / (1 + weight)


def missed(table: list[Row]) -> list[str]:
    """The limits that these figures miss."""
    found = []
    for row in table:
        if row.limit == "null" and wilson(row.falsely, row.runs)[1] > ALPHA:
            found.append(f"{row.name}: upper bound above 5%")
        if row.limit == "power" and row.promoted < 0.8 * row.runs:
            found.append(f"{row.name}: below 80%")
        if row.limit == "never" and row.promoted:
            found.append(f"{row.name}: promoted")
    return found


def _figure(successes: int, trials: int) -> str:
    low, high = wilson(successes, trials)
    return f"{successes / trials:6.1%} [{low:5.1%}, {high:5.1%}]"


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description="The gate on simulated arms.")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--only", default="", help="rows of the first table with these words in their name; no others")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"Simulated arms, {TASKS} tasks, at most {PASSES} passes, {options.runs} runs; 95% Wilson intervals")
    print(f"{'':48} {'before':>6} {'promoted':22} {'falsely':22} {'covered':22} {'passes':>6} {'tried':>5}")
    table = rows(options.runs, options.only)
    for row in table:
        shares = " ".join(f"{_figure(count, row.runs):22}" for count in (row.promoted, row.falsely, row.covered))
        made = f"{row.passes / row.runs:6.1f} {row.calls / row.runs:5.1f}"
        print(f"{row.name:48} {row.before / row.runs:6.1%} {shares} {made}")
    found: dict[str, object] = {"gate": [asdict(row) for row in table]}
    if not options.only:
        found |= _others(options.runs)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if failures := missed(table):
        raise SystemExit("\n".join(failures))


def _others(runs: int) -> dict[str, object]:
    print("\nCandidates that differ from what is live by their token prior alone; these tasks, first trial")
    second = by_statistic(runs)
    for *_, row in second:
        print(f"{row.name:48} {_figure(row.promoted, row.runs):22} {row.passes / row.runs:6.1f} passes")
    print("\nSmallest effect that is detected with 80% power on the first trial, and how often it is promoted")
    print(f"{'tasks':>5} {'passes':>6} {'effect':>7} {'said':>6}  simulated")
    third = detectable(runs)
    for one in third:
        simulated = _figure(one.promoted, one.runs)
        print(f"{one.tasks:5} {one.passes:6} {one.effect:7.1%} {one.said:6.1%} {simulated}")
    print("\nHow often 95% intervals over tasks cover, 3,000 runs a cell")
    fourth = coverage()
    for tasks, repeats, spread, share in fourth:
        print(f"{tasks:5} tasks x {repeats:2} rollouts, effects of sd {spread:.1f} {share:6.1%}")
    print(f"\nThe same where all tasks are alike, {len(ALIKE)} worlds: least, median, most; share within 93 to 97%")
    fifth = coverage_alike()
    for each in fifth:
        shares = f"{each.least:6.1%} {each.median:6.1%} {each.most:6.1%} {each.within:6.1%}"
        print(f"{each.tasks:5} tasks x {each.rollouts:2} rollouts {shares}")
    least, most = nearest_to_95()
    print(f"No rule comes nearer to 95% of 5 tasks tried once each, without effect, than {least:.1%} to {most:.1%}")
    return {
        "statistics": [asdict(row) for *_, row in second],
        "detectable": [asdict(one) for one in third],
        "coverage": fourth,
        "alike": [asdict(one) for one in fifth],
    }


if __name__ == "__main__":
    main()
