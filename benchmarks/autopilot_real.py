"""A scripted day on a real model: traffic through the proxy, feedback, the autopilot, and offline learning beside it.

Called by `python -m benchmarks.autopilot real`. The traffic is the demo's messages, as many callers ask them; the
model is the embedded one, frozen in the morning. Feedback comes after the next calls, on three calls in ten, wrong one
time in twenty, half of it with the label. What is printed: what the autopilot did, and how right the prior that is
live in the evening is on messages that nobody asked, beside the frozen model and what `tfgrpo learn` makes of the same.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np

from tfgrpo.demo.run import DATA
from tfgrpo.records import Task
from tfgrpo.store import Store
from tfgrpo.tasks.read import read_tasks

FED_BACK, WRONG, LABELLED = 0.3, 0.05, 0.5
LATER = 40
"""Calls until feedback is given, on average."""
LEARN = "--base-url local --reward exact --steps 2 --distilled-groups 2"
_STARTING = 120.0


def command(*given: str, store: Path) -> Any:
    """What a command of tfgrpo prints as JSON."""
    ran = subprocess.run(
        [sys.executable, "-m", "tfgrpo", *given, "--store", str(store), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not ran.stdout.strip():
        raise SystemExit(f"tfgrpo {' '.join(given)}: {ran.stderr.strip()[-500:]}")
    return json.loads(ran.stdout)


@contextmanager
def proxy(store: Path) -> Iterator[str]:
    """The proxy before the embedded model, recording all of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--record", "1", "--holdback", "0.05", "--leave-out", "0.1", "--port", str(port), "--store", str(store)]
    running = subprocess.Popen([sys.executable, "-m", "tfgrpo", "serve", "--upstream", "local", *options])
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + _STARTING
        while time.monotonic() < until:
            try:
                if httpx.get(f"{url}/readyz", timeout=2.0).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.5)
        yield url
    finally:
        running.terminate()
        running.wait(30)


@dataclass
class Callers:
    """Who asks, and says later what it was worth."""

    url: str
    tasks: Sequence[Task]
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    asked: int = 0
    waiting: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def ask(self, count: int) -> float:
        """So many calls; the share that was answered rightly."""
        body = json.loads((DATA / "request.json").read_text(encoding="utf-8"))
        system = {"role": "system", "content": (DATA / "system.txt").read_text(encoding="utf-8").strip()}
        right = 0
        with httpx.Client(base_url=self.url, timeout=120.0) as client:
            for _ in range(count):
                task = self.tasks[self.random.integers(len(self.tasks))]
                self.asked += 1
                asked = {**body, "model": "local", "messages": [system, *task.messages], "user": f"user {self.asked}"}
                answer = client.post("/v1/chat/completions", json=asked)
                said = answer.json()["choices"][0]["message"]["content"].strip() if answer.is_success else ""
                right += said == task.answer
                self._remember(answer.headers.get("x-tfgrpo-inference-id", ""), said == task.answer, task)
                self._say(client)
        return right / count

    def _remember(self, inference: str, right: bool, task: Task) -> None:
        if self.random.random() < FED_BACK:
            noisy = right != (self.random.random() < WRONG)
            told: dict[str, Any] = {"inference_id": inference, "reward": float(noisy)}
            if self.random.random() < LABELLED:
                told["label"] = task.answer
            self.waiting.append((self.asked + int(self.random.exponential(LATER)), told))

    def _say(self, client: httpx.Client) -> None:
        due = [told for when, told in self.waiting if when <= self.asked]
        self.waiting = [one for one in self.waiting if one[0] > self.asked]
        for told in due:
            client.post("/tfgrpo/v1/feedback", json=told)


def accuracy(store: Path) -> dict[str, float]:
    """How right frozen and learned are on messages that nobody asked."""
    measured = command(
        "eval", str(DATA / "test.jsonl"), "--base-url", "local", "--reward", "exact", "--repeat", "2", store=store
    )
    return {name: measured[name] for name in ("frozen", "learned") if name in measured} or measured


def day(calls: int, rounds: int, learn: str, budget: int) -> None:
    """The day, and its figures."""
    tasks = read_tasks(str(DATA / "train.jsonl")).tasks
    look = "autopilot", "--once", "--learn", learn, "--min-feedback", "20", "--daily-calls", str(budget)
    with TemporaryDirectory() as folder:
        store, offline = Path(folder) / "day.db", Path(folder) / "offline.db"
        os.environ.pop("TFGRPO_STORE", None)
        Store(store).close()
        with proxy(store) as url:
            callers = Callers(url, tasks)
            for number in range(1, rounds + 1):
                share = callers.ask(calls)
                print(f"round {number}: {calls} calls, {share:.0%} right", flush=True)
                time.sleep(2.0)  # the writer's half a second, and the shelf's look
                while said := command(*look, store=store):
                    print("  " + "\n  ".join(said), flush=True)
        for line in command("history", store=store):
            print(f"{line['at'][:19]}  {line['what']:12} {line['prior'] or '':24} {line['why'][:100]}")
        decide = () if "--gate none" in learn else ("--validation", str(DATA / "validation.jsonl"))
        command("learn", str(DATA / "train.jsonl"), *learn.split(), "--max-calls", str(budget), *decide, store=offline)
        print("autopilot:", accuracy(store))
        print("offline:  ", accuracy(offline))
