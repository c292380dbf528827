"""Advice at the moment when a tool has failed, beside advice always, at random turns and none, on a REAL small model.

    python -m benchmarks.triggers_real --model local:FILE --slots 1 [--tasks 24] [--samples 2] [--kept calls.jsonl]

A task is to fetch four things, one command a message; a third of the shelves (by a hash: the same ones in all arms) are
locked, which the tool says as an error with a key, and then OPEN and the key is right. The system prompt names both
commands, so the model is told how, and the advice says when. What else is said does nothing; after two more tries of
one thing the task has failed. The texts are placed by the product, and the arms are those of `eval --moments`: random
timing is as often as the trigger fires in the triggered arm. Temperature 0.7; intervals are over tasks.
"""

import argparse
import asyncio
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.kept import RUN, asked_of, served
from tfgrpo.errors import BudgetEnded
from tfgrpo.evaluation.difference import paired_difference
from tfgrpo.evaluation.moment_arms import ALWAYS_ON, RANDOM_TIMING, moment_arms
from tfgrpo.hashing import coin
from tfgrpo.model.upstream import Model
from tfgrpo.records import Backend, Experience, Frame, Message, Prior, Task
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.settings import Settings
from tfgrpo.surfaces.chat import token_estimate
from tfgrpo.surfaces.triggers import said_text, said_where

THINGS = ("lamp", "chair", "bowl", "clock", "radio", "violin", "kettle", "basket", "mirror", "drum")
SYSTEM = (
    "You fetch things from a storehouse, one after the other. Each of your messages is one command: GET and the next"
    " thing of the order, such as GET hat, or, to open a shelf that is locked, OPEN and its key, such as OPEN 12."
)
ADVICE = "[on tool error] Do not write GET. Write OPEN and the number of the key."
CALLS, RETRIES, LOCKED = 4, 2, 0.35
WITH_WHEN = "When a shelf is locked, do not write GET. Write OPEN and the number of the key."
"""The same for people who have no triggers: it says its moment itself."""
TRIGGERED = Prior((Experience(ADVICE),))


@dataclass(frozen=True, slots=True)
class Episode:
    """One task done once."""

    solved: bool
    turns: int
    fired: int
    """Turns at which a tool had failed."""
    said: int
    """Turns at which the advice was said."""


def order(task: int) -> list[str]:
    """What a task wants."""
    return random.Random(f"order {task}").sample(THINGS, CALLS)


def back(command: str, wanted: Sequence[str], key: str | None) -> str:
    """What the tool says to a command; the first thing that is wanted is the next one, behind this key if any."""
    said = " ".join(re.findall(r"\w+", command.casefold())[:2])
    if key and said != f"open {key}":
        return f"error: the shelf is locked, its key is {key}"
    if not key and said != f"get {wanted[0]}":
        return f"that does nothing; next: {wanted[0]}"
    return f"here is the {wanted[0]}; " + (f"next: {wanted[1]}" if wanted[1:] else "that is all")


async def episode(make: ChatExecutor, prior: Prior, task: int, sample: int) -> Episode:
    """One task, command by command."""
    wanted, always = order(task), not any(one.text.startswith("[") for one in prior.experiences)
    said: list[Message] = [{"role": "system", "content": SYSTEM}]
    said.append({"role": "user", "content": f"Fetch in this order: {', '.join(wanted)}."})
    turns = fired = told = 0
    for place in range(CALLS):
        key: str | None = None
        for _ in range(RETRIES + 1):
            fired += bool(said_where(TRIGGERED, said))
            told += bool(prior.experiences) if always else bool(said_where(prior, said))
            made = await make(Task(tuple(said)), prior, turns, sample)
            turns += 1
            result = back(made.text, wanted[place:], key)
            if not key and result.startswith("here") and coin(LOCKED, "locked", task, place):
                key = str(random.Random(f"key {task} {place}").randint(100, 999))
                result = back(made.text, wanted[place:], key)
            said += [{"role": "assistant", "content": made.text}]
            said += [{"role": "tool", "tool_call_id": f"call_{turns}", "content": result}]
            if result.startswith("here"):
                break
        else:
            return Episode(False, turns, fired, told)
    return Episode(True, turns, fired, told)


async def run(make: ChatExecutor, prior: Prior, tasks: int, samples: int) -> list[list[Episode]]:
    """Every task so many times."""
    return [[await episode(make, prior, task, sample) for sample in range(samples)] for task in range(tasks)]


def tell(arms: Mapping[str, list[list[Episode]]]) -> None:
    """Print the table."""
    print("| arm | solved | a tool had failed at | said at | tokens of advice an episode | triggered less it, points |")
    print("|" + "---|" * 6)
    solved = {arm: np.array([np.mean([one.solved for one in of]) for of in found]) for arm, found in arms.items()}
    for arm, found in arms.items():
        flat = [one for of in found for one in of]
        turns = sum(one.turns for one in flat)
        shares = " | ".join(f"{sum(getattr(one, name) for one in flat) / turns:.0%}" for name in ("fired", "said"))
        text = WITH_WHEN if arm.endswith("condition") else said_text(ADVICE)
        tokens = token_estimate(text) * sum(one.said for one in flat) / len(flat)
        gain = paired_difference(solved["triggered"] - solved[arm], rollouts=len(found[0]))
        less = f"{100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]" if arm != "triggered" else ""
        print(f"| {arm} | {solved[arm].mean():.0%} | {shares} | {tokens:.0f} | {less} |", flush=True)


async def measured(model: Model, name: str, backend: Backend, tasks: int, samples: int) -> None:
    """All arms."""
    frame = Frame(name, None, {"max_tokens": 12, "stop": ["\n"]}, temperature=0.7)
    make = ChatExecutor(model, frame, backend, run=RUN, stage="turn", seed=0)
    triggered = await run(make, TRIGGERED, tasks, samples)
    flat = [one for of in triggered for one in of]
    rate = sum(one.fired for one in flat) / sum(one.turns for one in flat)
    others = moment_arms(TRIGGERED, {ADVICE: rate})
    when = Prior((Experience(WITH_WHEN),))
    priors = {"frozen": Prior(), ALWAYS_ON: others[ALWAYS_ON], f"{ALWAYS_ON}, with its condition": when}
    priors[RANDOM_TIMING] = others[RANDOM_TIMING]
    arms = {arm: await run(make, prior, tasks, samples) for arm, prior in priors.items()}
    tell({**arms, "triggered": triggered})


async def real(asked: argparse.Namespace) -> None:
    """On a model that is served."""
    async with served(asked, Settings(concurrency=asked.slots)) as (upstream, name, backend):
        await measured(upstream, name, backend, asked.tasks, asked.samples)
        print(f"{name}, {asked.tasks} tasks, {asked.samples} times each")


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=24)
    parser.add_argument("--samples", type=int, default=2)
    asked_of(parser)
    asked = parser.parse_args()
    try:
        asyncio.run(real(asked))
    except BudgetEnded as ended:
        raise SystemExit(f"{ended}; the same command goes on") from None


if __name__ == "__main__":
    main()
