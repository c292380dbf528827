"""The store under load: sixteen processes that write rollouts to one file, and how long it takes to open a large one.

    python -m benchmarks.store [ROUNDS] [--store postgresql://...]

Writing: each process adds groups of eight rollouts, 4 KB of text each, a transaction a group. A bare sqlite3 insert of
the very same rows in the same transactions, with the same durability, takes turns with it.
With a URL of PostgreSQL's a database on that server takes turns, too: made for it, and dropped.
Opening: a new `Store` and its live prior, with 10,000 experiences and more and more rollouts in the file.
"""

import argparse
import multiprocessing
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from benchmarks.kill import in_databases
from tfgrpo.prompts import asset_folder
from tfgrpo.records import Experience, Frame, Group, Origin, Prior, Rollout, Run, Task, TokenBias
from tfgrpo.store import Store, StorePath, StoreUrl, rows

SPAWN = multiprocessing.get_context("spawn")
PROCESSES, GROUPS, SIZE, BYTES = 16, 25, 8, 4_096
WORDS = ("the", "a", "to", "of", "queue", "route", "bill", "crash", "offer", "when", "reply", "with", "its", "code")


def tasks_of(process: int, groups: int = GROUPS) -> tuple[Task, ...]:
    """A task a group."""
    return tuple(Task(f"task {number} of process {process}") for number in range(groups))


def run_of(process: int, groups: int = GROUPS) -> Run:
    """The run of one process."""
    tasks = tuple(task.id for task in tasks_of(process, groups))
    return Run("learn", "default", Frame("m"), {"seed": process}, tasks, "exact")


def groups_of(process: int, groups: int = GROUPS) -> Iterator[Group]:
    """Its groups: texts of random words."""
    draw = random.Random(process)
    for task in tasks_of(process, groups):
        attempts = []
        for sample in range(SIZE):
            text = " ".join(draw.choices(WORDS, k=BYTES))[:BYTES]
            attempts.append(Rollout(task, 0, sample, "prior_0", messages=({"role": "user", "content": task.prompt},),
                                    text=text, reward=sample / SIZE))  # fmt: skip
        yield Group(task, 0, tuple(attempts))


def write_store(path: StorePath, process: int, start: Barrier) -> None:
    """One process that writes by `Store`."""
    groups, run = list(groups_of(process)), run_of(process)
    with Store(path) as store:
        store.add_tasks(tasks_of(process))
        store.begin(run)
        store.add_group(run.id, groups[0])
        start.wait()
        for group in groups[1:]:
            store.add_group(run.id, group)
    start.wait()


def write_bare(path: Path, process: int, start: Barrier) -> None:
    """One process that inserts the same rows, ready made, by sqlite3 alone."""
    found, run = list(groups_of(process)), run_of(process)
    made = [[rows.rollout_row(rollout) for rollout in group.rollouts] for group in found]
    names = tuple(made[0][0])
    insert = f"INSERT INTO rollouts (group_id, {', '.join(names)}) VALUES (?{', ?' * len(names)})"
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = FULL")
        start.wait()
        for group, attempts in zip(found[1:], made[1:], strict=True):
            db.execute("BEGIN IMMEDIATE")
            at = "INSERT INTO groups (run, step, task, prior) VALUES (?, 0, ?, 'prior_0')"
            number = db.execute(at, (run.id, group.task.id)).lastrowid
            db.executemany(insert, [(number, *row.values()) for row in attempts])
            db.execute("COMMIT")
    start.wait()


def write(path: StorePath, work: Callable[[Any, int, Barrier], None], processes: int) -> float:
    """Rollouts a second, of all processes together; no error, and no row lost."""
    start = SPAWN.Barrier(processes + 1)
    writers = [SPAWN.Process(target=work, args=(path, number, start)) for number in range(processes)]
    for writer in writers:
        writer.start()
    start.wait()
    begun = perf_counter()
    start.wait()
    taken = perf_counter() - begun
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * processes
    expected = processes * (GROUPS - (work is write_bare)) * SIZE
    if isinstance(path, Path):
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT count(*) FROM rollouts").fetchone() == (expected,)
    return processes * (GROUPS - 1) * SIZE / taken


def write_round(folder: Path, processes: int, server: StoreUrl | None) -> tuple[float, ...]:
    """All ways in turn, each with a file or a database of its own."""
    ours, bare = folder / "ours.db", folder / "bare.db"
    Store(ours).close()
    with closing(sqlite3.connect(bare)) as db:
        db.executescript((asset_folder("store") / "schema.sql").read_text(encoding="utf-8"))
        db.execute("PRAGMA journal_mode = WAL")
    rates = write(ours, write_store, processes), write(bare, write_bare, processes)
    check_written(ours, processes)
    if server is None:
        return rates
    with in_databases(server)(folder) as place:
        Store(place).close()
        rate = write(place, write_store, processes)
        check_written(place, processes)
        return *rates, rate


def check_written(place: StorePath, processes: int) -> None:
    """All is there, as it was given."""
    with Store(place) as store:
        for process in range(processes):
            assert store.groups(run_of(process).id) == tuple(groups_of(process))
        assert store.verify() == ()


def fill(path: StorePath, rollouts: int) -> None:
    """10,000 experiences, a live prior of 20 experiences and 100 biases, and so many rollouts in all."""
    experiences = [Experience(f"When case {n} comes up, say so.", origin=Origin("run_0", 0)) for n in range(10_000)]
    prior = Prior(tuple(experiences[:20]), tuple(TokenBias(n, b"t", n / 50 - 1, 3.0, 4) for n in range(100)))
    tasks, run = tasks_of(0, 50), run_of(0, 50)
    with Store(path) as store:
        if not store.live("default"):
            store.add_experiences("default", experiences)
            store.add_prior(prior)
            store.set_state("default", prior.id, "live", frame=Frame("m"))
            store.add_tasks(tasks)
            store.begin(run)
        there = store.info().rows["rollouts"]
        for step in range(there // 500, rollouts // 500):
            for task in tasks:
                attempts = (Rollout(task, step, n, "prior_0", text="word " * 50, reward=n / 10) for n in range(10))
                store.add_group(run.id, Group(task, step, tuple(attempts)))


def open_and_load(path: StorePath) -> float:
    """Milliseconds until the live prior is there."""
    begun = perf_counter()
    with Store(path, create=False) as store:
        assert store.live("default")
        taken = perf_counter() - begun
    return taken * 1e3


def line(name: str, samples: list[float]) -> str:
    """Median, middle half and number."""
    low, _, high = quantiles(samples, n=4)
    return f"{name:<44}{median(samples):>10,.1f}{low:>10,.1f}{high:>10,.1f}{len(samples):>6}"


def main(rounds: int, server: StoreUrl | None) -> None:
    """Print the table."""
    print(f"{'':<44}{'median':>10}{'25%':>10}{'75%':>10}{'n':>6}")
    for processes in (1, PROCESSES):
        pairs = []
        for _ in range(rounds):
            with TemporaryDirectory() as folder:
                pairs.append(write_round(Path(folder), processes, server))
        print(line(f"{processes} writing, rollouts/s: store", [rates[0] for rates in pairs]))
        print(line("  bare sqlite3", [rates[1] for rates in pairs]))
        print(line("  bare / store", [rates[1] / rates[0] for rates in pairs]))
        if server:
            print(line("  PostgreSQL", [rates[2] for rates in pairs]))
            print(line("  PostgreSQL / store", [rates[2] / rates[0] for rates in pairs]))
    with TemporaryDirectory() as folder:
        open_round("open and load", Path(folder) / "tfgrpo.db")
        if server:
            with in_databases(server)(Path(folder)) as place:
                open_round("PostgreSQL", place)


def open_round(name: str, place: StorePath) -> None:
    """A table's lines, with more and more rollouts."""
    for rollouts in (1_000, 10_000, 100_000):
        fill(place, rollouts)
        print(line(f"{name}, {rollouts:,} rollouts, ms", [open_and_load(place) for _ in range(50)]))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("rounds", nargs="?", type=int, default=5)
    arguments.add_argument("--store", type=StoreUrl)
    told = arguments.parse_args()
    main(told.rounds, told.store)
