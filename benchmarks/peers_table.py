"""The tables of `peers`, from the lines of its results file. Pure."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import NormalDist, fmean, stdev

from tfgrpo.records import JSON

OURS = "learner"
FROZEN = "frozen"
FEWEST = 3
"""Values behind an interval at least."""
WORST_MEAN = -0.05
"""A difference below this is flagged, significant or not."""
SPLITS = 200
"""Random halves of the tasks by which a difference to the best other is freed of its choice."""
CAVEAT = (
    "The best of several noisy arms is flattered: it is chosen by the same held-out rollouts that it is measured by, so"
    " `to the best other` leans against every arm, the more the more arms there are. A difference to one single method,"
    " named beforehand, does not."
)
CLUSTERED = (
    "In percent. Intervals: Student's t, 95%, over the means of tasks (a task measured under several seeds is one)."
)

UNFLATTERED = (
    "The best other method is found on one half of a set's held-out tasks and compared on the other half, over"
    f" {SPLITS} random halves; those of one seed count alike. Means alone: values of random halves are no sample."
)

Row = Mapping[str, JSON]
"""One line of the results file."""
Rewards = Mapping[str, float]
"""Mean reward by task."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95% interval; without bounds where there are too few values."""

    mean: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def has_width(self) -> bool:
        """Whether there is an interval to show: values that are all alike say nothing of how others would spread."""
        return 0 < self.high - self.low < math.inf

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return ""
        bounds = f" [{100 * self.low:+.0f}, {100 * self.high:+.0f}]" if self.has_width else ""
        return f"{100 * self.mean:+.1f}{bounds}"

    @property
    def share(self) -> str:
        """The same for what is from 0 to 1."""
        low, high = max(0.0, self.low), min(1.0, self.high)
        bounds = f" [{100 * low:.0f}, {100 * high:.0f}]" if self.has_width else ""
        return f"{100 * self.mean:.1f}{bounds}"


def student(values: Sequence[float]) -> Interval:
    """The mean with Student's t interval over independent values."""
    if len(values) < FEWEST:
        return Interval(fmean(values))
    half = _quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Interval(fmean(values), fmean(values) - half, fmean(values) + half)


def _quantile(df: int) -> float:
    """The 97.5% quantile of Student's t by the expansion of Abramowitz and Stegun 26.7.5, within 1% from df = 2 on."""
    z = NormalDist().inv_cdf(0.975)
    return (
        z
        + (z**3 + z) / (4 * df)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * df**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * df**4)
    )


def tables(rows: Sequence[Row]) -> Iterator[str]:
    """All tables, for each model and set of terms that the file holds."""
    for (model, calls, training, held_out, repeats), here in _grouped(
        rows, "model", "calls", "training", "held_out", "repeats"
    ).items():
        yield f"# {model}: {calls} calls, {training} training tasks, {held_out} held out x {repeats}"
        yield f"\n{CLUSTERED}\n{CAVEAT}"
        for (name,), of_set in _grouped(here, "set").items():
            yield from ("", f"## {name}", "", *_of_set(of_set))
        yield from ("", "## Over the sets", "", *_over_sets(here))
        yield from ("", "## To the best other, not flattered", "", UNFLATTERED, "", *_unflattered(here))
        yield from ("", "## What to look at", "", *_flags(here), "")


def _grouped(rows: Sequence[Row], *names: str) -> dict[tuple[JSON, ...], list[Row]]:
    found: dict[tuple[JSON, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(row[name] for name in names)].append(row)
    return found


def _of_set(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each method; differences are over the tasks and seeds that both have."""
    by_method = {str(method): of_method for (method,), of_method in _grouped(rows, "method").items()}
    best = sorted(by_method, key=lambda method: -student(_by_task(by_method[method])).mean)
    yield "| method | mean | to frozen | to the best other | seeds | calls | tokens | prompt tokens a call | minutes |"
    yield f"|{'---|' * 9}"
    for method, here in by_method.items():
        other = next((one for one in best if one != method), None)
        cells = [
            method,
            student(_by_task(here)).share,
            str(_paired(here, by_method[FROZEN])) if FROZEN in by_method and method != FROZEN else "",
            f"{_paired(here, by_method[other])} ({other})" if other else "",
            str(len(here)),
            f"{fmean(row['spent']['calls'] for row in here):,.0f}",
            f"{fmean(row['spent']['prompt_tokens'] + row['spent']['completion_tokens'] for row in here):,.0f}",
            f"{fmean(row['measured']['prompt_tokens'] / max(1, row['measured']['calls']) for row in here):,.0f}",
            f"{fmean(row['minutes'] for row in here):.1f}",
        ]
        yield f"| {' | '.join(cells)} |"


def _by_task(rows: Sequence[Row]) -> list[float]:
    """The mean of each task over seeds."""
    return _means((task, reward) for row in rows for task, reward in row["rewards"].items())


def _means(pairs: Iterator[tuple[str, float]]) -> list[float]:
    found: dict[str, list[float]] = defaultdict(list)
    for task, value in pairs:
        found[task].append(value)
    return [fmean(values) for values in found.values()]


def _paired(one: Sequence[Row], other: Sequence[Row]) -> Interval:
    """The one less the other over tasks, of the seeds that both have; NaN where there is none."""
    beside = {row["seed"]: row["rewards"] for row in other}
    pairs = [(row["rewards"], beside[row["seed"]]) for row in one if row["seed"] in beside]
    values = _means((task, mine[task] - theirs[task]) for mine, theirs in pairs for task in mine if task in theirs)
    return student(values) if values else Interval(math.nan)


def _unflattered(rows: Sequence[Row]) -> Iterator[str]:
    """This learner less the method that is best elsewhere, of each set."""
    yield f"| set | {OURS} less the best other |"
    yield "|---|---|"
    for (name,), of_set in _grouped(rows, "set").items():
        by_method = {str(method): of_method for (method,), of_method in _grouped(of_set, "method").items()}
        ours, draw = by_method.pop(OURS, ()), Random(0)
        found = [each for _ in range(SPLITS) for each in _halves_apart(ours, by_method, draw)]
        if found:
            yield f"| {name} | {Interval(fmean(found))} |"


def _halves_apart(ours: Sequence[Row], others: Mapping[str, Sequence[Row]], draw: Random) -> Iterator[float]:
    """The difference to what is best on one half of the tasks, on the other half; and the other way round."""
    tasks = sorted({task for row in ours for task in row["rewards"]})
    first = set(draw.sample(tasks, len(tasks) // 2))
    by_half = [_by_half(ours, here, first) for here in others.values()]
    by_half = [each for each in by_half if each]
    for here in (0, 1) if by_half else ():
        yield min(by_half, key=lambda each: each[1 - here])[here]


def _by_half(ours: Sequence[Row], other: Sequence[Row], first: Collection[str]) -> tuple[float, float] | None:
    """The mean difference to another method on the tasks of a half and on the rest, None where one has none."""
    beside = {row["seed"]: row["rewards"] for row in other}
    halves: tuple[list[float], list[float]] = ([], [])
    for row in ours:
        for task, reward in row["rewards"].items():
            if task in beside.get(row["seed"], {}):
                halves[task not in first].append(reward - beside[row["seed"]][task])
    return (fmean(halves[0]), fmean(halves[1])) if all(halves) else None


def _over_sets(rows: Sequence[Row]) -> Iterator[str]:
    """This learner less each other method, over sets: the mean of the seeds that both have is one value of a set."""
    cells = {(row["set"], row["seed"], row["method"]): fmean(row["rewards"].values()) for row in rows}
    yield f"| {OURS} less | mean over sets | sets | better | worse |"
    yield f"|{'---|' * 5}"
    for method in dict.fromkeys(str(row["method"]) for row in rows if row["method"] != OURS):
        values = _means(
            (name, cells[name, seed, OURS] - mean)
            for (name, seed, one), mean in cells.items()
            if one == method and (name, seed, OURS) in cells
        )
        if values:
            better, worse = sum(value > 0 for value in values), sum(value < 0 for value in values)
            yield f"| {method} | {student(values)} | {len(values)} | {better} | {worse} |"


def _flags(rows: Sequence[Row]) -> Iterator[str]:
    """The cells and sets in which this learner is below the best other arm, or below frozen, more than it may be."""
    told: list[str] = []
    if all(row["method"] != OURS for row in rows):
        told.append("No cell of this learner is made yet.")
    places = [(f"{name}, seed {seed}", here) for (name, seed), here in _grouped(rows, "set", "seed").items()]
    places += [(f"{name}, all seeds", here) for (name,), here in _grouped(rows, "set").items()]
    for place, here in places:
        by_method = {str(method): of_method for (method,), of_method in _grouped(here, "method").items()}
        mine, others = by_method.pop(OURS, None), by_method
        if mine is None or not others:
            continue
        best = max(others, key=lambda method: fmean(_by_task(others[method])))
        for method in dict.fromkeys((best, *([FROZEN] if FROZEN in others else []))):
            found = _paired(mine, others[method])
            if found.high < 0 or (method == best and found.mean < WORST_MEAN):
                how = "significantly below" if found.high < 0 else "more than 5 points below, not significantly,"
                told.append(f"- {place}: {how} {method}: {found}")
    yield from told or ["Nowhere is this learner significantly below the best other arm or frozen, or 5 points below."]
