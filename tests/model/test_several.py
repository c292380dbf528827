"""Rollouts that are asked alike, asked for in one request (`n`)."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tfgrpo.model.upstream import Upstream
from tfgrpo.probe.backend import sees_several
from tfgrpo.records import JSON, Backend, CallKey, Frame, Run, Task, Usage
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import serving

TASKS = (Task("one", "1"), Task("two", "2"))


class Sampling:
    """A server that gives `most` answers at most to one request, each another one unless `alike`."""

    def __init__(self, most: int = 128, *, alike: bool = False, fails: bool = False) -> None:
        self.most, self.alike, self.fails, self.asked = most, alike, fails, list[JSON]()

    async def app(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                await send({"type": f"{(await receive())['type']}.complete"})
            return
        raw, more = b"", True
        while more:
            event = await receive()
            raw, more = raw + event.get("body", b""), event.get("more_body", False)
        body = json.loads(raw)
        self.asked.append(body)
        number = min(body["n"], self.most) if "n" in body else 1
        choices = [
            {
                "index": place,
                "message": {"role": "assistant", "content": f"{len(self.asked)}.{place * (not self.alike)}"},
            }
            for place in range(number)
        ]
        usage = {"prompt_tokens": 10, "completion_tokens": 3 * number}
        refused = self.fails and number > 1
        told = {"error": {"message": "n must be 1"}} if refused else {"choices": choices, "usage": usage}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 400 if refused else 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})


@contextmanager
def store_with_run(path: Path) -> Iterator[tuple[Store, str]]:
    with Store(path) as store:
        store.add_tasks(TASKS)
        run, _ = store.begin(Run("learn", "default", Frame("m"), {}, tuple(task.id for task in TASKS), "exact", None))
        yield store, run.id


async def rolled(url: str, store: Store, run: str, places: list[tuple[int, int]]) -> tuple[list[str], Upstream]:
    """What rollouts of (task, sample) say."""
    async with Upstream(url, settings=Settings(several=True, concurrency=2), journal=store) as upstream:
        upstream.several = True

        async def ask(task: int, sample: int) -> str:
            messages = [{"role": "user", "content": TASKS[task].input}]
            body = {"model": "m", "messages": messages, "seed": 7 * task + sample}
            return (await upstream(body, CallKey(run, "rollout", 0, TASKS[task].id, sample))).text

        return list(await asyncio.gather(*(ask(*place) for place in places))), upstream


PLACES = [(task, sample) for task in range(2) for sample in range(4)]


async def test_rollouts_that_are_asked_alike_are_one_request_and_each_is_journalled(tmp_path: Path) -> None:
    server = Sampling()
    with serving(server.app) as url, store_with_run(tmp_path / "t.db") as (store, run):
        said, upstream = await rolled(url, store, run, PLACES)
        assert len(set(said)) == 8
        assert [body["n"] for body in server.asked] == [4, 4]
        assert upstream.usage == store.spent(run) == Usage(2, 20, 24), "a request is a call, however many it answers"
        again, resumed = await rolled(url, store, run, PLACES)
        assert (again, resumed.usage, len(server.asked)) == (said, upstream.usage, 2), "all is in the journal"


async def test_a_resumed_run_asks_for_those_alone_that_are_missing(tmp_path: Path) -> None:
    server = Sampling()
    with serving(server.app) as url, store_with_run(tmp_path / "t.db") as (store, run):
        first, _ = await rolled(url, store, run, PLACES[:2])
        whole, _ = await rolled(url, store, run, PLACES[:4])
        assert whole[:2] == first
        assert [body.get("n") for body in server.asked] == [2, 2]


@pytest.mark.parametrize("server", [Sampling(most=2), Sampling(most=0), Sampling(fails=True)])
async def test_those_for_whom_there_is_no_answer_ask_for_themselves(server: Sampling, tmp_path: Path) -> None:
    with serving(server.app) as url, store_with_run(tmp_path / "t.db") as (store, run):
        said, upstream = await rolled(url, store, run, PLACES)
        assert len(set(said)) == 8
        assert upstream.pace.flying == 0
        assert upstream.several is (server.most > 0 and not server.fails), "one that refuses is not asked so again"


@pytest.mark.parametrize(
    ("server", "works"),
    [(Sampling(), True), (Sampling(most=1), False), (Sampling(alike=True), False), (Sampling(fails=True), False)],
)
async def test_the_probe_sees_whether_answers_are_samples(server: Sampling, works: bool) -> None:
    with serving(server.app) as url:
        async with Upstream(url, settings=Settings(several=True)) as upstream:
            assert await sees_several(upstream, Frame("m"), Backend("other"), run="") is works
            assert upstream.several is works
