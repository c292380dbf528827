"""What a task is shown by deduction, beside everything and the nearest: 200 SIMULATED tasks, 60 experiences, 6 apply.

    python -m benchmarks.relations

Ten subjects, six experiences each, learned from 40 tasks (four a subject). Of the tasks asked, half name their subject
in the word that the conditions have, a quarter in its plural, a quarter by another word for it. The policy is
SIMULATED, and what it gains and loses is assumed: its chance to be right is .3, .08 more for each experience that
applies and is shown, .005 less for each that is shown and does not. Tokens are those of the experiences as rendered.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tfgrpo.experiences.relations import relate
from tfgrpo.records import Experience, Origin, Task
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


@dataclass(frozen=True, slots=True)
class World:
    """Tasks to learn from, experiences, and tasks that are asked, each with the place of its subject."""

    known: tuple[Task, ...]
    experiences: tuple[Experience, ...]
    asked: tuple[str, ...]
    subjects: tuple[int, ...]


def world(seed: int = 0) -> World:
    """One draw."""
    rng, known, experiences = np.random.default_rng(seed), [], []
    for subject in SUBJECTS:
        tasks = [Task(frame.format(subject), subject) for frame in FRAMES[:4]]
        known += tasks
        origin = Origin(tasks=tuple(task.id for task in tasks))
        experiences += [Experience(f"When a {subject} is meant, {how}.", origin=origin) for how in STRATEGIES]
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


def main() -> None:
    """The table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    of = world()
    print("| shown | tokens a task | of what applies | of what is shown applies | chance to be right (assumed) |")
    print("|---|---|---|---|---|")
    for name, way in WAYS.items():
        tokens, recall, exact, reward = judged(of, way(of))
        print(f"| {name} | {tokens:.0f} | {100 * recall:.0f}% | {100 * exact:.0f}% | {reward:.2f} |")


if __name__ == "__main__":
    main()
