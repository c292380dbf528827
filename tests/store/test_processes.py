"""One store, several processes: nothing is lost, whoever writes and whoever is killed."""

import asyncio
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

from tfgrpo.records import CallKey, Experience, Frame, Group, Prior, Rollout, Run, Task, Usage
from tfgrpo.serve.places import StorePlace
from tfgrpo.serve.source import PriorSource
from tfgrpo.store import Store, StorePath

FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload(["tfgrpo.serve.source", "tfgrpo.store"])  # read once, not by each process
PROCESSES, GROUPS, ROLLOUTS = 16, 5, 8


def run_of(number: int) -> tuple[Run, tuple[Task, ...]]:
    tasks = tuple(Task(f"task {index} of process {number}") for index in range(GROUPS))
    return Run("learn", "default", Frame("m"), {"seed": number}, tuple(task.id for task in tasks), "exact"), tasks


def groups_of(number: int) -> tuple[Group, ...]:
    _, tasks = run_of(number)
    return tuple(
        Group(task, 0, tuple(Rollout(task, 0, n, "prior_0", text="x" * 4_000, reward=n / 8) for n in range(ROLLOUTS)))
        for task in tasks
    )


def write_groups(path: StorePath, number: int) -> None:
    run, tasks = run_of(number)
    with Store(path) as store:
        store.add_tasks(tasks)
        run, _ = store.begin(run)
        for group in groups_of(number):
            store.add_group(run.id, group)


def record_for_ever(path: StorePath, acknowledge: Connection) -> None:
    run, tasks = run_of(0)

    async def record(store: Store, run_id: str) -> None:
        sample = 0
        while True:
            keys = [CallKey(run_id, "rollout", sample=sample + offset) for offset in range(8)]
            await asyncio.gather(*(store.record(key, "hash", "{}", Usage(1)) for key in keys))
            sample += 8
            acknowledge.send(sample)

    with Store(path) as store:
        store.add_tasks(tasks)
        asyncio.run(record(store, store.begin(run)[0].id))


def test_processes_that_write_at_once_lose_nothing_and_keep_no_reader_waiting(place: StorePath) -> None:
    path = place  # a file is made by whoever comes first
    several = PROCESSES if isinstance(place, Path) else 6  # each has connections of its own
    writers = [FRESH.Process(target=write_groups, args=(path, number)) for number in range(several)]
    for writer in writers:
        writer.start()
    with Store(path) as store:
        served = PriorSource(StorePlace(path, "default"), "default")
        number = 0
        while not number or any(writer.is_alive() for writer in writers):
            prior = Prior((Experience(f"When asked for {number}, say {number}."),))
            store.add_prior(prior)
            store.set_state("default", prior.id, "live", frame=Frame("m"))
            served.refresh()
            assert served.prior == prior
            number += 1
        served.close()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * several
    with Store(path) as store:
        assert len(store.lineage("default")) == 2 * number - 1
        for number in range(several):
            assert store.groups(run_of(number)[0].id) == groups_of(number)
        assert store.verify() == ()


def test_a_killed_process_loses_no_call_that_it_reported(place: StorePath) -> None:
    path = place
    reader, writer = FRESH.Pipe(duplex=False)
    process = FRESH.Process(target=record_for_ever, args=(path, writer))
    process.start()
    writer.close()
    reported = 0
    try:
        while reported < 200:
            reported = reader.recv()
    finally:
        process.kill()
    try:
        while True:
            reported = reader.recv()
    except EOFError:
        reader.close()
    process.join()
    with Store(path, create=False) as store:
        run, resumed = store.begin(run_of(0)[0])
        assert resumed
        keys = [CallKey(run.id, "rollout", sample=sample) for sample in range(reported)]
        assert [asyncio.run(store.reply(key, "hash")) for key in keys] == ["{}"] * reported
        assert store.verify() == ()
