"""Amplification of long answers on sums of five numbers, beside the same without verification.

    python -m benchmarks.amplification --model local:FILE --kept calls.jsonl --minutes 5   # a real model; it goes on
    python -m benchmarks.amplification                                                     # a SIMULATED one

The product's own rounds (`experiences/amplification.py`): the first shows nothing, each further one demonstrations of
the pool. In the control every answer enters the pool, right or wrong. `predicted` is what the pool of the round before
says of the share of long answers, by the odds p / (1 - p) * a_long / a_short; `obeyed` is how many rollouts answered in
the kind that they were shown. Gains are of the last round over the first, with a 95% interval over tasks. The simulated
model answers as it is shown in 97%, at length in 15% where nothing is shown; 80% of long answers and 20% of short ones
are right.
"""

import argparse
import asyncio
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.kept import RUN, asked_of, served
from tfgrpo.errors import BudgetEnded
from tfgrpo.evaluation.difference import paired_difference
from tfgrpo.experiences.amplification import Amplified, amplified
from tfgrpo.experiences.answer_pool import answer_length, earned_all, parting_length
from tfgrpo.hashing import derive_seed
from tfgrpo.model.upstream import Model
from tfgrpo.records import Backend, ChatBody, Frame, Rollout, Task, message_text
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.settings import Settings
from tfgrpo.testing import Answer, ScriptedModel

ROUNDS = 4
TERMS = 5
LONG = "First one and then the next, step by step, until all of them are in: "
OBEYS, BASE, RIGHT = 0.97, 0.15, {True: 0.8, False: 0.2}


def sums(count: int, seed: int = 1) -> list[Task]:
    """Sums of five numbers of two digits."""
    draw = random.Random(seed)
    terms = [[draw.randint(11, 89) for _ in range(TERMS)] for _ in range(count)]
    return [Task(f"What is {' + '.join(map(str, each))}?", str(sum(each))) for each in terms]


def simulated(body: ChatBody) -> Answer:
    """The simulated model."""
    shown = [message_text(message) for message in body["messages"] if message["role"] == "assistant"]
    asked = message_text(body["messages"][-1])
    draw = random.Random(derive_seed(body.get("seed"), asked))
    follows = bool(shown) and LONG in shown[0]
    long = draw.random() < (OBEYS if follows else 1 - OBEYS if shown else BASE)
    right = sum(map(int, re.findall(r"\d+", asked)))
    return Answer(f"{LONG if long else ''}{right + (draw.random() >= RIGHT[long])}")


async def arm(
    model: Model,
    frame: Frame,
    backend: Backend,
    tasks: Sequence[Task],
    settings: Settings,
    *,
    rounds: int,
    verified: bool,
) -> tuple[Amplified, list[Rollout]]:
    """All rounds, and their rollouts; where the budget ends them, what there is of each round is printed."""
    made: list[Rollout] = []
    plain = ChatExecutor(model, frame, backend, run=RUN, stage="amplify", seed=settings.seed)
    reward = load_reward("numeric")
    try:
        found = await amplified(plain, tasks, reward, settings, rounds=rounds, verified=verified, landed=made.append)
    except BudgetEnded:
        print(f"{'verified' if verified else 'control'}: {so_far(made)}")
        raise
    return found, made


def so_far(made: Sequence[Rollout]) -> str:
    """The rounds that there are."""
    bound, told = parting_length([one for one in made if one.step == 0]), list[str]()
    for step in sorted({one.step for one in made}):
        own = [one for one in made if one.step == step]
        kinds = {"long": [one for one in own if answer_length(one) > bound]}
        kinds["short"] = [one for one in own if one not in kinds["long"]]
        shares = (f"{sum(map(earned_all, of))} of {len(of)} {kind} ones right" for kind, of in kinds.items())
        told.append(f"round {step + 1}: {', '.join(shares)}")
    return "; ".join(told)


def rows(name: str, found: Amplified) -> None:
    """Print the rounds of an arm."""
    predicted = [None, *(one.pool for one in found.rounds)]
    for number, (one, share) in enumerate(zip(found.rounds, predicted, strict=False), start=1):
        cells = [one.shown_long, one.long, share, one.right, one.right_long, one.right_short, one.obeyed]
        print(f"| {name} | {number} | {' | '.join(map(percent, cells))} | {one.tokens:.0f} |")


def percent(share: float | None) -> str:
    """A share in a cell."""
    return "" if share is None else f"{share:.0%}"


def gains(name: str, made: Sequence[Rollout], bound: float) -> None:
    """Print what the last round has gained over the first, in accuracy, long answers and tokens."""
    last = max(one.step for one in made)
    values: dict[str, Callable[[Rollout], float]] = {
        "right": lambda one: one.reward or 0.0,
        "long": lambda one: float(answer_length(one) > bound),
    }
    for what, value in values.items():
        by_task: dict[str, dict[int, list[float]]] = {}
        for one in made:
            by_task.setdefault(one.task.id, {}).setdefault(one.step, []).append(value(one))
        both = [rounds for rounds in by_task.values() if {0, last} <= rounds.keys()]
        gain = paired_difference(np.array([float(np.mean(rounds[last]) - np.mean(rounds[0])) for rounds in both]))
        told = f"{100 * gain.mean:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
        print(f"{name}, {what} in round {last + 1} over round 1: {told}, {len(both)} tasks")


async def compared(
    model: Model, frame: Frame, backend: Backend, tasks: Sequence[Task], settings: Settings, *, rounds: int = ROUNDS
) -> None:
    """Print both arms, which have their first round in common."""
    names = {"verified": True, "control": False}
    both = [
        await arm(model, frame, backend, tasks, settings, rounds=rounds, verified=verified)
        for verified in names.values()
    ]
    print("| arm | round | shown long | long | predicted | right | of long | of short | obeyed | tokens |")
    print("|" + "---|" * 10)
    for name, (found, _) in zip(names, both, strict=True):
        rows(name, found)
    for name, (_, made) in zip(names, both, strict=True):
        bound = parting_length([one for one in made if one.step == 0])
        gains(name, made, bound)
        print(f"{name}: {sum(one.error is not None for one in made)} of {len(made)} rollouts failed")
        for long in (True, False):
            said = [one.text for one in made if one.step == 0 and (answer_length(one) > bound) is long]
            print(f"  {'long' if long else 'short'}, as one of the first round: {said[0][:160]!r}" if said else "")


async def real(asked: argparse.Namespace, settings: Settings) -> None:
    """On a model that is served."""
    frame = Frame(asked.name, asked.system, {"max_tokens": asked.max_tokens}, temperature=asked.temperature)
    async with served(asked, settings) as (upstream, name, backend):
        await compared(upstream, replace(frame, model=name), backend, sums(asked.tasks), settings, rounds=asked.rounds)
        print(f"{name}, system {asked.system!r}, {asked.tasks} tasks, groups of {settings.group_size}")


def main() -> None:
    """The table, of a real model where one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--max-tokens", type=int, default=320)
    parser.add_argument("--system")
    asked_of(parser)
    asked = parser.parse_args()
    settings = Settings(group_size=asked.group_size, concurrency=32)
    if asked.model:
        if asked.model.startswith("local"):  # of what waits for a slot nothing is kept
            settings = replace(settings, concurrency=asked.slots)
        try:
            asyncio.run(real(asked, settings))
        except BudgetEnded as ended:
            raise SystemExit(f"{ended}; the same command goes on") from None
        return
    model = ScriptedModel(simulated)
    asyncio.run(compared(model, Frame("simulated"), Backend(), sums(asked.tasks), settings, rounds=asked.rounds))


if __name__ == "__main__":
    main()
