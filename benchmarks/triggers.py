"""Advice at the right moment, beside advice always, at random moments and none: a SIMULATED policy on a tool task.

    python -m benchmarks.triggers [--tasks 60] [--samples 16] [--kept cells.jsonl]

A task takes eight calls of a tool, of which each fails at a rate of its own (20% on average) and is then called
again, at most twice. The policy sees what `with_prior` makes of its messages, and no more; what it makes of that is
assumed, after the finding that models know how and not when (arXiv 2510.07364): it mends a failed call in 35% of
cases, in 85% where the advice stands in the last message, in 80% where it stands in the system message; a call that
did not fail goes wrong in 1% of cases, in 3% where the advice stands in the last message. A task is solved where
every call is right in the end. How sure it is of a call is assumed too: a part of 1, uniform in [0, .3], is of other
tokens; of what is left the likeliest token has more than the second by Beta(8, 2) in a right call, and by Beta(3, 3) in
a wrong one.

`pattern`, `likeness`, `entropy` and `margin` wait for other signs than `tool error` does. The thresholds of the last
two are what `experience add --quantile .75` learns, from rollouts of other tasks.

The arms differ by the prior alone. At random moments: at each turn by a coin of the hash, at the rate at which the
trigger fires. Intervals are over tasks. `a moment`: the effect of saying it at a moment where the trigger fires, on
solving the task, by a micro-randomised trial, in which a coin decides at each of these moments; from centred least
squares clustered by task. Nothing is analysed by when it was said, since that changes which moments follow.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.kept import KeptCells
from tfgrpo.evaluation.moment_arms import worth_of_a_moment
from tfgrpo.experiences.moments import Turn, learned_trigger
from tfgrpo.hashing import coin
from tfgrpo.records import JSON, Experience, Message, Prior, message_text
from tfgrpo.surfaces.chat import token_estimate, with_prior
from tfgrpo.surfaces.parts import said_at_ends
from tfgrpo.surfaces.sureness import sureness_of
from tfgrpo.surfaces.surface import PLAIN, Sureness
from tfgrpo.surfaces.triggers import said_where

ADVICE = "Read what the tool says before you call it again, and change what it names."
QUANTILE = 0.75
FROZEN = Prior()
ALWAYS = Prior((Experience(ADVICE),), template="simulated")
CALLS, RETRIES = 8, 2
MENDS, MENDS_TOLD, MENDS_BEFORE = 0.35, 0.85, 0.8
SLIPS, SLIPS_TOLD = 0.01, 0.03
ARMS = ("frozen", "always on", "triggered", "random timing", "coin", "pattern", "likeness", "entropy", "margin")
Draw: TypeAlias = np.random.Generator


@dataclass(frozen=True, slots=True)
class Episode:
    """One task done once."""

    solved: bool
    tokens: int
    """Of advice, over all requests."""
    turns: int
    fired: int
    coins: tuple[bool, ...] = ()
    """Whether it was said, at each moment where a coin decided."""


def waiting(trigger: str) -> Prior:
    """The advice at its moment."""
    return Prior((Experience(f"[on {trigger}] {ADVICE}"),))


TOOL_ERROR = waiting("tool error")


@cache
def other_signs() -> Mapping[str, Prior]:
    """The advice at the moments that other triggers tell, by arm."""
    turns: list[Turn] = []
    for task in range(20):
        for sample in range(4):
            episode(
                "frozen", task, sample, failing=0.2, rate=0, draw=np.random.default_rng([1, task, sample]), turns=turns
            )
    return {
        "pattern": waiting(r"matches ^error: no such \w+"),
        "likeness": waiting("like .5 error: no such file"),
        **{kind: waiting(learned_trigger(kind, QUANTILE, turns)) for kind in ("entropy", "margin")},
    }


def how_sure(right: bool, place: tuple[int, ...]) -> Sureness | None:
    """How sure the policy was of a call."""
    draw = Random(str(("sure", *place)))
    rest, more = draw.uniform(0, 0.3), draw.betavariate(8, 2) if right else draw.betavariate(3, 3)
    chances = [(1 - rest) * (1 + more) / 2, (1 - rest) * (1 - more) / 2]
    return sureness_of([{"top_logprobs": [{"logprob": float(np.log(chance))} for chance in chances]}])


def sent(
    arm: str, messages: Sequence[Message], place: tuple[int, ...], rate: float, sureness: Sureness | None
) -> tuple[Sequence[Message], bool]:
    """The messages as the policy gets them, and whether the trigger fires."""
    others = other_signs() if arm in ARMS[5:] else {}
    awaited, manner = others.get(arm, TOOL_ERROR), PLAIN._replace(sureness=sureness)
    fires = bool(said_where(awaited, messages, sureness=sureness))
    if arm == "random timing":
        return (
            said_at_ends(messages, {len(messages) - 1: ADVICE}) if coin(rate, "random", *place) else messages
        ), fires
    if arm == "coin":
        said = fires and coin(0.5, "coin", *place)
        return with_prior({"messages": messages}, TOOL_ERROR if said else FROZEN)["messages"], fires
    prior = {"frozen": FROZEN, "always on": ALWAYS}.get(arm, awaited)
    return with_prior({"messages": messages}, prior, manner)["messages"], fires


def chance(messages: Sequence[Message], failed: bool) -> float:
    """Of a right call, given what the policy is sent."""
    last, first = ADVICE in message_text(messages[-1]), ADVICE in message_text(messages[0])
    if failed:
        return MENDS_TOLD if last else MENDS_BEFORE if first else MENDS
    return 1 - (SLIPS_TOLD if last else SLIPS)


def episode(
    arm: str, task: int, sample: int, *, failing: float, rate: float, draw: Draw, turns: list[Turn] | None = None
) -> Episode:
    """One task, call by call; its turns are added to those given."""
    messages: list[Message] = [{"role": "system", "content": "Use the tool."}, {"role": "user", "content": "Go."}]
    tokens = taken = fired = 0
    sureness: Sureness | None = None
    coins, solved = list[bool](), True
    for call in range(CALLS):
        failed = False
        for retry in range(RETRIES + 1):
            if turns is not None:
                turns.append(Turn(list(messages), sureness))
            got, fires = sent(arm, messages, (task, sample, call, retry), rate, sureness)
            said = sum(ADVICE in message_text(message) for message in (got[0], got[-1]))
            tokens, taken, fired = tokens + said * token_estimate(ADVICE), taken + 1, fired + fires
            coins += [bool(said)] if fires and arm == "coin" else []
            right = draw.random() < (chance(got, failed) if failed else (1 - failing) * chance(got, failed))
            back = "ok" if right else "error: no such argument"
            messages += [{"role": "assistant", "content": f"call {call}.{retry}"}, {"role": "tool", "content": back}]
            failed, sureness = not right, how_sure(bool(right), (task, sample, call, retry))
            if right:
                break
        solved = solved and not failed
    return Episode(solved, tokens, taken, fired, tuple(coins))


def run(arm: str, tasks: int, samples: int, rate: float = 0.0, seed: int = 0) -> list[list[Episode]]:
    """Every task so many times."""
    rates = np.random.default_rng([seed, 7]).uniform(0.05, 0.35, tasks)
    draw = np.random.default_rng([seed, ARMS.index(arm)])
    return [
        [episode(arm, task, sample, failing=float(rates[task]), rate=rate, draw=draw) for sample in range(samples)]
        for task in range(tasks)
    ]


def kept_run(kept: KeptCells, arm: str, tasks: int, samples: int, rate: float = 0.0) -> list[list[Episode]]:
    """The same, made once: a cell of its own."""

    def made() -> JSON:
        return [[list(astuple(one)) for one in of] for of in run(arm, tasks, samples, rate)]

    return [[Episode(*one) for one in of] for of in kept(f"{arm} {tasks} {samples} {rate}", made)]


def solved(found: list[list[Episode]]) -> NDArray[np.float64]:
    """Share of samples solved, by task."""
    return np.array([float(np.mean([one.solved for one in of])) for of in found])


def interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean and 95% interval over tasks, in points."""
    mean, wide = values.mean(), 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return float(100 * mean), float(100 * (mean - wide)), float(100 * (mean + wide))


def coins_of(found: list[list[Episode]]) -> dict[str, list[tuple[bool, float]]]:
    """By task, each moment where a coin decided: whether it was said, and how the episode ended."""
    return {str(task): [(said, float(one.solved)) for one in of for said in one.coins] for task, of in enumerate(found)}


def rate_of(found: list[list[Episode]]) -> float:
    """At which share of turns the trigger fires."""
    turns = sum(one.turns for of in found for one in of)
    return sum(one.fired for of in found for one in of) / turns


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--kept", type=Path, help="a file of the arms that were made")
    asked = parser.parse_args()
    kept = KeptCells(asked.kept)
    triggered = kept_run(kept, "triggered", asked.tasks, asked.samples)
    rate = rate_of(triggered)
    arms = {arm: kept_run(kept, arm, asked.tasks, asked.samples, rate) for arm in ARMS if arm != "triggered"}
    arms["triggered"] = triggered
    print("| arm | solved | fires at | tokens of advice an episode | triggered less it, points |")
    print("|---|---|---|---|---|")
    for arm in [arm for arm in ARMS if arm != "coin"]:
        tokens = np.mean([one.tokens for of in arms[arm] for one in of])
        mean, low, high = interval(solved(triggered) - solved(arms[arm]))
        less = "" if arm == "triggered" else f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
        won, fires = 100 * solved(arms[arm]).mean(), 100 * rate_of(arms[arm])
        print(f"| {arm} | {won:.1f}% | {fires:.0f}% | {tokens:.0f} | {less} |")
    worth = worth_of_a_moment(coins_of(arms["coin"]))
    assert worth is not None
    print("\nlearned:", *(other_signs()[kind].experiences[0].text.partition("]")[0] + "]" for kind in ARMS[-2:]))
    print(f"\na moment: {100 * worth.mean:+.1f} points [{100 * worth.low:+.1f}, {100 * worth.high:+.1f}]")


if __name__ == "__main__":
    main()
