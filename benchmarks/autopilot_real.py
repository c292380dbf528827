"""A scripted day on a real model: traffic through the proxy, feedback, the autopilot, and offline learning beside it.

Called by `python -m benchmarks.autopilot real`. The traffic is the demo's messages, as many callers ask them, on a
model that is frozen in the morning: the embedded one, or the one at a base URL. Feedback comes after the next calls,
on three calls in ten, wrong one time in twenty, half of it with the label. What is printed: what the autopilot did,
and how right the prior that is live in the evening is on messages that nobody asked, beside the frozen model and what
`tfgrpo learn` makes of the same messages with all their answers.
"""

import asyncio
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tfgrpo.demo.run import DATA
from tfgrpo.model.library import http
from tfgrpo.records import Task
from tfgrpo.store import Store
from tfgrpo.tasks.read import read_tasks

FED_BACK, WRONG, LABELLED = 0.3, 0.05, 0.5
LATER = 40
"""Calls until feedback is given, on average."""
LEARN = "--reward exact --steps 2 --distilled-groups 2"
TEMPERATURE = 0.7
_STARTING = 120.0
_WRITING = 2.0
"""Seconds until all calls are in the store: the writer's half a second, and a busy machine's."""


@dataclass(frozen=True)
class Day:
    """What a day is made of."""

    model: str = "local"
    """Base URL, or `local`."""
    name: str = ""
    """Of the model, at a base URL."""
    calls: int = 400
    """Of a round; after each the autopilot looks, until nothing is to be done."""
    rounds: int = 4
    learn: str = LEARN
    budget: int = 2_000
    """Calls for learning."""
    at_once: int = 4
    share: float = 0.2
    repeat: int = 4
    """Rollouts at each message that is measured."""
    seed: int = 0

    @property
    def place(self) -> tuple[str, ...]:
        """Where the model is, as options."""
        return ("--base-url", self.model, *(("--model", self.name) if self.name else ()))


def command(*given: str, store: Path) -> Any:
    """What a command of tfgrpo prints as JSON; a ceiling that ended it is no error."""
    ran = subprocess.run(
        [sys.executable, "-m", "tfgrpo", *given, "--store", str(store), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not ran.stdout.strip():
        raise SystemExit(f"tfgrpo {' '.join(given)}: {ran.stderr.strip()[-500:]}")
    return json.loads(ran.stdout)


@contextmanager
def proxy(day: Day, store: Path) -> Iterator[str]:
    """The proxy before the model, recording all of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--record", "1", "--holdback", "0.05", "--leave-out", "0.1", "--port", str(port), "--store", str(store)]
    running = subprocess.Popen([sys.executable, "-m", "tfgrpo", "serve", "--upstream", day.model, *options])
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, running)
        yield url
    finally:
        running.terminate()
        running.wait(30)


def _wait_for(url: str, running: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + _STARTING
    while time.monotonic() < until:
        if running.poll() is not None:
            raise SystemExit(f"the proxy ended with status {running.returncode}")
        try:
            if http.get(f"{url}/readyz", timeout=2.0).status_code == 200:
                return
        except http.HTTPError:
            pass
        time.sleep(0.3)
    raise SystemExit(f"the proxy was not ready within {_STARTING:.0f} s")


@dataclass
class Callers:
    """Who asks, and says later what it was worth."""

    url: str
    day: Day
    tasks: Sequence[Task]
    random: np.random.Generator
    asked: int = 0
    waiting: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    async def ask(self, count: int) -> str:
        """So many calls; how right they were, by variant."""
        right: dict[str, list[bool]] = {}
        left = iter(range(count))
        async with http.AsyncClient(base_url=self.url, timeout=300.0) as client:

            async def caller() -> None:
                for _ in left:
                    variant, good = await self._one(client)
                    right.setdefault(variant, []).append(good)

            await asyncio.gather(*(caller() for _ in range(self.day.at_once)))
        shares = (f"{variant} {np.mean(each):.0%} of {len(each)}" for variant, each in sorted(right.items()))
        return f"{np.mean([good for each in right.values() for good in each]):.0%} right ({', '.join(shares)})"

    async def _one(self, client: http.AsyncClient) -> tuple[str, bool]:
        task = self.tasks[self.random.integers(len(self.tasks))]
        self.asked += 1
        answer = await client.post("/v1/chat/completions", json=self._body(task, f"user {self.asked}"))
        said = answer.json()["choices"][0]["message"]["content"].strip() if answer.is_success else ""
        self._remember(answer.headers.get("x-tfgrpo-inference-id", ""), said == task.answer, task)
        await self._say(client)
        return answer.headers.get("x-tfgrpo-variant", str(answer.status_code)), said == task.answer

    def _body(self, task: Task, user: str) -> dict[str, Any]:
        system = {"role": "system", "content": (DATA / "system.txt").read_text(encoding="utf-8").strip()}
        body = json.loads((DATA / "request.json").read_text(encoding="utf-8"))
        asked = {"model": self.day.name or "local", "messages": [system, *task.messages], "temperature": TEMPERATURE}
        return {**body, **asked, "user": user}

    def _remember(self, inference: str, right: bool, task: Task) -> None:
        if self.random.random() < FED_BACK:
            noisy = right != (self.random.random() < WRONG)
            told: dict[str, Any] = {"inference_id": inference, "reward": float(noisy)}
            if self.random.random() < LABELLED:
                told["label"] = task.answer
            self.waiting.append((self.asked + int(self.random.exponential(LATER)), told))

    async def _say(self, client: http.AsyncClient) -> None:
        due = [told for when, told in self.waiting if when <= self.asked]
        self.waiting = [one for one in self.waiting if one[0] > self.asked]
        for told in due:
            answer = await client.post("/tfgrpo/v1/feedback", json=told)
            if not answer.is_success:
                print(f"feedback was refused: {answer.text[:200]}")


def accuracy(day: Day, store: Path, prior: str) -> tuple[float, float]:
    """How right the frozen model and a prior are on messages that nobody asked."""
    arms = "--no-written", "--no-few-shot", "--repeat", str(day.repeat), "--reward", "exact"
    found = command("eval", str(DATA / "test.jsonl"), *day.place, *arms, "--prior", prior, store=store)
    return found["means"]["frozen"], found["means"]["learned"]


def _flown(day: Day, store: Path, tasks: Sequence[Task], began: float) -> None:
    """The day itself."""
    learn = shlex.join([*day.place, *shlex.split(day.learn)])
    terms = "--min-feedback", "100", "--daily-calls", str(day.budget), "--share", str(day.share)
    with proxy(day, store) as url:
        callers = Callers(url, day, tasks, np.random.default_rng([7, day.seed]))
        for number in range(1, day.rounds + 1):
            told = asyncio.run(callers.ask(day.calls))
            print(f"{time.monotonic() - began:5.0f} s  round {number}: {day.calls} calls, {told}", flush=True)
            time.sleep(_WRITING)
            while said := command("autopilot", "--once", "--learn", learn, *terms, store=store):
                print(f"{time.monotonic() - began:5.0f} s  " + "\n         ".join(said), flush=True)


def _offline(day: Day, folder: Path, tasks: Sequence[Task]) -> str:
    """What learning from the same messages with all their answers comes to, in a line."""
    pool, store = folder / "pool.jsonl", folder / "offline.db"
    pool.write_text("".join(json.dumps({"input": task.input, "answer": task.answer}) + "\n" for task in tasks))
    frame = "--system", str(DATA / "system.txt"), "--request", str(DATA / "request.json")
    limits = "--temperature", str(TEMPERATURE), "--max-calls", str(day.budget)
    learned = command("learn", str(pool), *day.place, *shlex.split(day.learn), *frame, *limits, store=store)
    if not learned["candidate"]:
        return f"offline:   {learned['state']}: nothing was learned"
    frozen, right = accuracy(day, store, learned["candidate"])
    return f"offline:   frozen {frozen:.1%}, learned {right:.1%} ({learned['state']})"


def real_day(day: Day) -> None:
    """The day, and its figures; a model elsewhere has room for offline learning meanwhile."""
    began = time.monotonic()
    os.environ.pop("TFGRPO_STORE", None)
    os.environ.setdefault("OPENAI_API_KEY", "none")
    tasks = [task for part in ("train", "validation") for task in read_tasks(str(DATA / f"{part}.jsonl")).tasks]
    with TemporaryDirectory() as name, ThreadPoolExecutor(1) as beside:
        folder, store = Path(name), Path(name) / "day.db"
        Store(store).close()
        offline = None if day.model == "local" else beside.submit(_offline, day, folder, tasks)
        _flown(day, store, tasks, began)
        for line in command("history", store=store):
            print(f"{line['at'][:19]}  {line['what']:12} {line['prior'] or '':24} {line['why'][:150]}")
        with Store(store) as opened:
            live = opened.live("default")
        print(
            f"{time.monotonic() - began:5.0f} s  live in the evening: {live.prior.id if live else 'nothing'}",
            flush=True,
        )
        if live:
            print("autopilot: frozen {:.1%}, live {:.1%}".format(*accuracy(day, store, live.prior.id)), flush=True)
        print(offline.result() if offline else _offline(day, folder, tasks))
        print(f"{time.monotonic() - began:5.0f} s in all")
