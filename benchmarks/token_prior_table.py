"""What the results of `token_prior` add up to: tables in Markdown, and which of its limits are missed. No I/O."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from tfgrpo.token_prior.choice import Choice

ARMS = ("frozen", "log-odds", "few-shot", "this one")
DRIFT = 3.0
"""Points that the last step may lie below the best one, on average."""
RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Result:
    """One seed of one set; shares of right answers by test task, lists of length T."""

    name: str
    seed: int
    arms: dict[str, list[float]]
    steps: list[list[float]]
    """Under what would be kept after each step, whatever is chosen."""
    choice: Choice
    training_reward: list[float]
    """Mean reward of each step's attempts."""
    constant: float | None
    """Share of test tasks that the best constant answer is right on."""
    biases: list[tuple[str, float, float]]
    """Token, bias and z of what was learned."""
    shots: list[tuple[str, str]]

    def as_json(self) -> dict[str, object]:
        """All of it."""
        return asdict(self)


def by_task(results: Sequence[Result], name: str, arm: str) -> NDArray[np.float64]:
    """Mean over seeds of each test task of a set, shape (T,)."""
    return np.asarray(np.mean([result.arms[arm] for result in results if result.name == name], axis=0))


def interval(differences: Sequence[NDArray[np.float64]], seed: int = 0) -> tuple[float, float, float]:
    """Mean over sets of the mean over tasks, in points, and its 95% interval: tasks resampled within their sets."""
    rng = np.random.default_rng(seed)
    means = [found[rng.integers(len(found), size=(RESAMPLES, len(found)))].mean(axis=1) for found in differences]
    low, high = np.percentile(np.mean(means, axis=0), [2.5, 97.5])
    return 100 * float(np.mean([found.mean() for found in differences])), 100 * float(low), 100 * float(high)


def difference(results: Sequence[Result], names: Sequence[str], arm: str) -> tuple[float, float, float]:
    """This one less another arm, over sets."""
    return interval([by_task(results, name, "this one") - by_task(results, name, arm) for name in names])


def helped(results: Sequence[Result]) -> list[str]:
    """The sets that a token prior can help: on which some token prior, chosen or not, is better than frozen."""
    return [name for name in sets(results) if any(interval([gain])[1] > 0 for gain in _gains(results, name))]


def _gains(results: Sequence[Result], name: str) -> list[NDArray[np.float64]]:
    """What each estimator's last token prior gains over frozen, whatever was chosen, shape (T,) each."""
    last = np.mean([result.steps[-1] for result in results if result.name == name], axis=0)
    return [found - by_task(results, name, "frozen") for found in (by_task(results, name, "log-odds"), last)]


def sets(results: Sequence[Result]) -> list[str]:
    """Names in order."""
    return list(dict.fromkeys(result.name for result in results))


def shown(found: tuple[float, float, float]) -> str:
    """A difference in points with its interval."""
    return f"{found[0]:+.1f} [{found[1]:+.1f}, {found[2]:+.1f}]"


def main_table(results: Sequence[Result]) -> list[str]:
    """A row a set, and their means."""
    others = [arm for arm in ARMS if arm != "this one"]
    head = ["set", *ARMS, "best constant", "kept in", *(f"this one - {arm}" for arm in others)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name in sets(results):
        mine = [result for result in results if result.name == name]
        kept = sum(result.choice.scope == "whole answer" for result in mine)
        constant = "-" if mine[0].constant is None else f"{100 * mine[0].constant:.1f}"
        cells = [name, *(f"{100 * by_task(results, name, arm).mean():.1f}" for arm in ARMS)]
        cells += [
            constant,
            f"{kept} of {len(mine)} seeds",
            *(shown(difference(results, [name], arm)) for arm in others),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    for title, names in (("mean, all sets", sets(results)), ("mean, sets it can help", helped(results))):
        if names:
            means = [f"{100 * np.mean([by_task(results, name, arm).mean() for name in names]):.1f}" for arm in ARMS]
            gains = [shown(difference(results, names, arm)) for arm in others]
            lines.append("| " + " | ".join([title, *means, "", "", *gains]) + " |")
    return lines


def step_table(results: Sequence[Result]) -> list[str]:
    """Held-out score after each step, mean over seeds, and how far the last lies below the best."""
    count = len(results[0].steps)
    head = ["set", *(f"step {number + 1}" for number in range(count)), "best - last"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name in [*sets(results), "all"]:
        mine = [result for result in results if name in (result.name, "all")]
        scores = 100 * np.mean([np.mean(result.steps, axis=1) for result in mine], axis=0)
        lines.append(f"| {name} | " + " | ".join(f"{score:.1f}" for score in scores) + f" | {drift(mine):.1f} |")
    return lines


def drift(results: Sequence[Result]) -> float:
    """Points between the best step and the last, mean over sets and seeds."""
    scores = [100 * np.mean(result.steps, axis=1) for result in results]
    return float(np.mean([found.max() - found[-1] for found in scores]))


def missed(results: Sequence[Result]) -> list[str]:
    """The limits that these figures miss."""
    found, names = [], helped(results)
    for arm in (arm for arm in ARMS if arm != "this one"):
        if names and difference(results, names, arm)[0] < 0:
            found.append(f"{arm} is better in the mean over the sets that a token prior can help")
    found += [f"{name}: worse than frozen" for name in sets(results) if difference(results, [name], "frozen")[2] < 0]
    if drift(results) > DRIFT:
        found.append(f"the last step is {drift(results):.1f} points below the best one on average")
    return found
