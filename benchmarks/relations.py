"""What a task is shown by deduction, beside everything and the nearest: 200 SIMULATED tasks, 60 experiences, 6 apply.

    python -m benchmarks.relations [--kept cells.jsonl]
    python -m benchmarks.relations --model local:FILE --kept calls.jsonl --minutes 5   # a real model; the same goes on

Ten subjects, six experiences each, learned from 40 tasks (four a subject). Of the tasks asked, half name their subject
in the word that the conditions have, a quarter in its plural, a quarter by another word for it. The policy is
SIMULATED, and what it gains and loses is assumed: its chance to be right is .3, .08 more for each experience that
applies and is shown, .005 less for each that is shown and does not. Tokens are those of the experiences as rendered.

A real model is to name the desk that a letter goes to. Of the six experiences of a subject one names its desk and the
others say how to answer; desks are words that have nothing to do with subjects: who is not told cannot know. On
llama.cpp a grammar lets nothing but a desk through: the smallest models name none by themselves.
"""

import argparse
import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.kept import RUN, KeptCells, asked_of, served
from tfgrpo.errors import BudgetEnded
from tfgrpo.evaluation.difference import paired_difference
from tfgrpo.experiences.foreseen import as_shown
from tfgrpo.experiences.relations import relate
from tfgrpo.model.upstream import Model
from tfgrpo.records import Backend, Experience, Frame, Origin, Prior, Task
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.rollouts.group import concurrently
from tfgrpo.settings import Settings
from tfgrpo.surfaces.chat import render_experiences, token_estimate
from tfgrpo.surfaces.nearest import nearest, pool_of

BASE, GAIN, LOSS = 0.3, 0.08, 0.005
ASKED, EACH = 200, 6
SUBJECTS = {
    "invoice": ("invoices", "bill"),
    "refund": ("refunds", "money back"),
    "password": ("passwords", "login secret"),
    "delivery": ("deliveries", "parcel on its way"),
    "crash": ("crashes", "sudden exit"),
    "subscription": ("subscriptions", "monthly plan"),
    "printer": ("printers", "device that prints"),
    "contract": ("contracts", "signed agreement"),
    "battery": ("batteries", "power pack"),
    "voucher": ("vouchers", "gift code"),
}
FRAMES = (
    "I wrote last week about my {} and nobody has answered since then",
    "can somebody look at the {} that I have mentioned on the phone",
    "there is something odd with a {} of ours, please call back",
    "what is to be done about one {} that a colleague has sent on",
    "the shop told me to ask you for help with the {} at once",
)
STRATEGIES = (
    "name the queue alone",
    "ask for the number first",
    "quote the date that is given",
    "keep it under ten words",
    "say who is to answer it",
    "leave greetings away",
)
DESKS = ("Amber", "Basil", "Cedar", "Delta", "Ember", "Fjord", "Grove", "Haven", "Indigo", "Juniper")
HOW = (
    "answer in one word",
    "write no full stop",
    "do not explain it",
    "do not repeat the letter",
    "leave greetings away",
)
SYSTEM = f"Letters are sorted to desks. Answer with the name of one desk alone, one of {', '.join(DESKS)}."


@dataclass(frozen=True, slots=True)
class World:
    """Tasks to learn from, experiences, and tasks that are asked, each with the place of its subject."""

    known: tuple[Task, ...]
    experiences: tuple[Experience, ...]
    asked: tuple[str, ...]
    subjects: tuple[int, ...]


def simply(at: int) -> Sequence[str]:
    """What the experiences of a subject advise, where the policy is simulated."""
    return STRATEGIES


def by_desk(at: int) -> Sequence[str]:
    """What they advise a real model."""
    return (f"answer {DESKS[at]}", *HOW)


def world(seed: int = 0, advised: Callable[[int], Sequence[str]] = simply) -> World:
    """One draw."""
    rng, known, experiences = np.random.default_rng(seed), [], []
    for at, subject in enumerate(SUBJECTS):
        tasks = [Task(frame.format(subject), subject) for frame in FRAMES[:4]]
        known += tasks
        origin = Origin(tasks=tuple(task.id for task in tasks))
        experiences += [Experience(f"When a {subject} is meant, {how}.", origin=origin) for how in advised(at)]
    subjects = tuple(int(at) for at in rng.integers(len(SUBJECTS), size=ASKED))
    names = [(name, *others) for name, others in SUBJECTS.items()]
    said = (names[at][way] for at, way in zip(subjects, rng.choice(3, ASKED, p=(0.5, 0.25, 0.25)), strict=True))
    asked = tuple(
        FRAMES[int(frame)].format(name) for frame, name in zip(rng.integers(5, size=ASKED), said, strict=True)
    )
    return World(tuple(known), tuple(experiences), asked, subjects)


Chosen = list[tuple[Experience, ...]]


def everything(of: World) -> Chosen:
    """All experiences."""
    return [of.experiences] * ASKED


def closest(of: World) -> Chosen:
    """The six whose text is nearest to the task, by trigrams."""
    pool = pool_of([one.text for one in of.experiences])
    return [tuple(of.experiences[at] for at in nearest(pool, text, EACH)) for text in of.asked]


def deduced(of: World, temperature: float) -> Chosen:
    """Those that are deduced to apply."""
    found = relate(of.experiences, of.asked, of.known, temperature=temperature)
    return [found.shown(task) for task in range(ASKED)]


WAYS: dict[str, Callable[[World], Chosen]] = {
    "all experiences": everything,
    "6 nearest (trigrams)": closest,
    "deduced, T = 0": lambda of: deduced(of, 0.0),
    "deduced, T = 0.05": lambda of: deduced(of, 0.05),
}


def judged(of: World, chosen: Chosen) -> Sequence[float]:
    """Tokens a task, share of what applies that is shown, share of what is shown that applies, chance to be right."""
    tokens, recall, exact, reward = [], [], [], []
    for subject, shown in zip(of.subjects, chosen, strict=True):
        right = set(of.experiences[EACH * subject : EACH * (subject + 1)])
        hits = len(right.intersection(shown))
        tokens.append(token_estimate(render_experiences(shown)))
        recall.append(hits / EACH)
        exact.append(hits / len(shown) if shown else 1.0)
        reward.append(BASE + GAIN * hits - LOSS * (len(shown) - hits))
    return [float(np.mean(column)) for column in (tokens, recall, exact, reward)]


def simulated(kept: KeptCells) -> None:
    """The table of the simulated policy."""
    of = world()
    print("| shown | tokens a task | of what applies | of what is shown applies | chance to be right (assumed) |")
    print("|---|---|---|---|---|")
    for name, way in WAYS.items():
        tokens, recall, exact, reward = kept(name, lambda way=way: list(judged(of, way(of))))
        print(f"| {name} | {tokens:.0f} | {100 * recall:.0f}% | {100 * exact:.0f}% | {reward:.2f} |")


async def asked_for_desks(model: Model, name: str, backend: Backend, count: int) -> None:
    """The table of a real model, at temperature 0."""
    of, request = world(advised=by_desk), {"max_tokens": 6}
    named = {"grammar": f"root ::= {' | '.join(map(json.dumps, DESKS))}"} if backend.kind == "llama.cpp" else {}
    frame = Frame(name, SYSTEM, {**request, **named}, temperature=0.0)
    plain = ChatExecutor(model, frame, backend, run=RUN, stage="desk", seed=0)

    async def right(text: str, desk: str, shown: Sequence[Experience]) -> tuple[float, int]:
        made = await plain(Task(f"The letter: {text}.", desk), as_shown(shown) if shown else Prior(), 0, 0)
        return float(desk.casefold() in made.text.casefold()), made.usage.prompt_tokens

    print("| shown | right | prompt tokens a task | less all experiences, points |\n|---|---|---|---|")
    ways: dict[str, Chosen] = {name: way(of) for name, way in WAYS.items()} | {"nothing": [()] * ASKED}
    base = np.zeros(count)
    for way, chosen in ways.items():
        asked = zip(of.asked[:count], of.subjects, chosen, strict=False)
        found = await concurrently(right(text, DESKS[at], shown) for text, at, shown in asked)
        rights, tokens = np.array(found).T
        base = rights if way == "all experiences" else base
        gain = paired_difference(rights - base)
        less = f"{100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
        print(f"| {way} | {rights.mean():.0%} | {tokens.mean():.0f} | {less} |", flush=True)


async def real(asked: argparse.Namespace) -> None:
    """On a model that is served."""
    async with served(asked, Settings(concurrency=asked.slots)) as (upstream, name, backend):
        await asked_for_desks(upstream, name, backend, asked.tasks)
        print(f"{name}, {asked.tasks} tasks")


def main() -> None:
    """The table, of a real model where one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=60, help="that a real model is asked")
    asked_of(parser)
    asked = parser.parse_args()
    if not asked.model:
        simulated(KeptCells(asked.kept))
        return
    try:
        asyncio.run(real(asked))
    except BudgetEnded as ended:
        raise SystemExit(f"{ended}; the same command goes on") from None


if __name__ == "__main__":
    main()
