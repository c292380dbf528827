"""How long the page of a large run takes to write, and how large it is.

    python -m benchmarks.report [TIMES]

A finished learning of 5,000 rollouts (25 tasks, groups of 8, 25 steps; 1 KB of text each) with a journalled call each,
100 experiences with an effect in every step, 200 refused proposals, 100 token biases, and a gate of 32 passes over 24
tasks. Each time is that of a new process, `tfgrpo report RUN`, from start to end; the first one with an empty cache of
matplotlib's, which then looks for fonts.
"""

import asyncio
import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from tfgrpo.records import (
    CallKey,
    Decision,
    Effect,
    Experience,
    Frame,
    Group,
    Origin,
    Prior,
    Rollout,
    Run,
    Task,
    TokenBias,
    Usage,
)
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.trials import GateTrial, Pass, TrialOutcome

TASKS, SIZE, STEPS, BYTES = 25, 8, 25, 1_000
TRIED, REFUSED, BIASES = 100, 200, 100
PASSES, HELD_OUT = 32, 24
WORDS = ("the", "a", "to", "of", "queue", "route", "bill", "crash", "offer", "when", "reply", "with", "its", "code")
DRAW = random.Random(0)


def text(length: int) -> str:
    """Random words."""
    return " ".join(DRAW.choices(WORDS, k=length))[:length]


def groups_of(tasks: tuple[Task, ...], step: int) -> Iterator[Group]:
    """A step in which most groups are mixed."""
    for place, task in enumerate(tasks):
        right = 0.1 + 0.8 * place / TASKS
        attempts = (
            Rollout(task, step, sample, "prior_0", messages=({"role": "user", "content": task.prompt},),
                    text=text(BYTES), reward=float(DRAW.random() < right))
            for sample in range(SIZE)
        )  # fmt: skip
        yield Group(task, step, tuple(attempts))


async def journal(store: Store, run: Run, tasks: tuple[Task, ...]) -> None:
    """A call for each rollout."""
    keys = [
        CallKey(run.id, "rollout", step, task.id, n) for step in range(STEPS) for task in tasks for n in range(SIZE)
    ]
    await asyncio.gather(*(store.record(key, "request", text(BYTES), Usage(1, 90, 8)) for key in keys))


def learned(store: Store, run: Run, tasks: tuple[Task, ...]) -> Prior:
    """Experiences with their effects and fates, and the prior of the end."""
    found = tuple(
        Experience(f"When case {number} comes, {text(120)}", origin=Origin(run.id, 0, (tasks[0].id,)))
        for number in range(TRIED + REFUSED)
    )
    tried, refused = found[:TRIED], found[TRIED:]
    store.add_experiences(run.namespace, found)
    for step in range(STEPS):
        effects = [Effect(one.id, run.id, step, DRAW.gauss(0, 0.1), 0.04, 200 * step + 200) for one in tried]
        store.add_effects(run.namespace, effects)
    why = "it gives away the answer of"
    store.add_decisions(run.namespace, [Decision(one.id, "on trial", "proposed", run=run.id) for one in tried])
    store.add_decisions(
        run.namespace, [Decision(one.id, "refused", f"{why} {DRAW.choice(tasks).id}", run=run.id) for one in refused]
    )
    biases = tuple(TokenBias(n, text(6).encode(), DRAW.gauss(0, 1), DRAW.gauss(0, 3), 9) for n in range(BIASES))
    prior = Prior(tried[:20], biases, "tokenizer")
    store.add_prior(prior)
    return prior


def validate(store: Store, run: Run, prior: Prior) -> None:
    """A gate that promotes in its last pass."""
    tasks = tuple(Task(f"held-out message {number}", "a") for number in range(HELD_OUT))
    store.add_tasks(tasks)
    ids = tuple(task.id for task in tasks)
    gate = store.begin_trial(GateTrial(run.namespace, ids, run.id, prior.id, None, 0.05, PASSES, 0))
    for number in range(1, PASSES + 1):
        store.add_pass(gate, Pass(number, 0.2, {task: (1.0, 0.0) for task in ids}, 0.12 * number))
    store.end_trial(gate, TrialOutcome("promoted", "promoted", PASSES, 46.5, 0.08, 0.01, 0.15))
    store.set_state(run.namespace, prior.id, "live", frame=run.frame, run=run.id)


def fill(path: Path) -> str:
    """The store; the id of its run."""
    tasks = tuple(Task(f"message {number}: {text(300)}", "a") for number in range(TASKS))
    settings = Settings(steps=STEPS).as_json()
    with Store(path) as store:
        store.add_tasks(tasks)
        run, _ = store.begin(
            Run("learn", "default", Frame("m", "Route it."), settings, tuple(t.id for t in tasks), "exact")
        )
        for step in range(STEPS):
            for group in groups_of(tasks, step):
                store.add_group(run.id, group)
        asyncio.run(journal(store, run, tasks))
        validate(store, run, learned(store, run, tasks))
        store.end(run.id, "finished", store.spent(run.id), {})
        assert store.info().rows["rollouts"] == TASKS * SIZE * STEPS == 5_000
    return run.id


def write(store: Path, run: str, page: Path, cache: Path) -> tuple[float, float, int]:
    """Seconds, seconds of processor time, and bytes of the page."""
    command = [sys.executable, "-m", "tfgrpo", "report", run, "--store", str(store), "-o", str(page)]
    begun, used = perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "MPLCONFIGDIR": str(cache)})
    taken, now = perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, page.stat().st_size


def main(times: int) -> None:
    """Print the table."""
    with TemporaryDirectory() as folder:
        store, cache = Path(folder) / "tfgrpo.db", Path(folder) / "matplotlib"
        run = fill(store)
        print(f"a store of {store.stat().st_size / 1e6:.0f} MB, load {os.getloadavg()[0]:.1f}")
        made = [write(store, run, Path(folder) / "r.html", cache) for _ in range(times + 1)]
    first, later = made[0], made[1:]
    print(f"first, fonts looked for: {first[0]:.2f} s ({first[1]:.2f} s of processor time)")
    seconds, used = [taken for taken, _, _ in later], [used for _, used, _ in later]
    print(f"later: median {median(seconds):.2f} s, most {max(seconds):.2f} s ({median(used):.2f} s), n {len(later)}")
    print(f"page: {first[2]:,} bytes")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
