"""A scripted day on a real model: traffic through the proxy, feedback, the autopilot, and offline learning beside it.

Called by `python -m benchmarks.autopilot real`. The traffic is the demo's messages, as many callers ask them, on a
model that is frozen in the morning: the embedded one, or the one at a base URL. Feedback comes after the next calls,
on three calls in ten, wrong one time in twenty, half of it with the label. The day ends a round after a prior went
live. What is printed: what the autopilot did, and how right the prior that is live in the evening is on messages that
nobody asked, beside the frozen model and what `tfgrpo learn` makes of the same messages with all their answers.

Answers are labels, and so the token prior alone is learned: a small model reads examples slowly. With `--keep FOLDER`
a day that was broken off goes on: a round that was being asked is asked anew, and nothing else is made twice.
"""

import asyncio
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tfgrpo.demo.run import DATA, DEMO_REWARD, demo_frame, part
from tfgrpo.evaluation.arms import Evaluation, compare_arms
from tfgrpo.model import local
from tfgrpo.model.library import http
from tfgrpo.model.upstream import Upstream
from tfgrpo.observer import Silent
from tfgrpo.probe.backend import probe
from tfgrpo.records import Prior, Task
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.settings import Settings
from tfgrpo.store import Store

FED_BACK, WRONG, LABELLED = 0.3, 0.05, 0.5
LATER = 40
"""Calls until feedback is given, on average."""
LEARN = (
    "--reward exact --steps 4 --no-experiences --no-race --concurrency 8 --passes 12"
    " --validation-share 0.45 --test-share 0"
)
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
    calls: int = 500
    """Of a round; after each the autopilot looks, until nothing is to be done."""
    rounds: int = 5
    """At most."""
    learn: str = LEARN
    budget: int = 2_500
    """Calls for learning."""
    feedback: int = 200
    """Until it learns: after two rounds nearly every message has an answer."""
    at_once: int = 4
    share: float = 0.5
    repeat: int = 8
    """Rollouts at each message that is measured."""
    seed: int = 0
    keep: str = ""
    """A folder to which the day is written, and from which it goes on."""

    @property
    def place(self) -> tuple[str, ...]:
        """Where the model is, as options."""
        return ("--base-url", self.model, *(("--model", self.name) if self.name else ()))


def command(*given: str, store: Path) -> Any:
    """What a command of tfgrpo prints as JSON; a ceiling that ended it is no error. How it goes it tells on stderr."""
    run = [sys.executable, "-m", "tfgrpo", *given, "--store", str(store), "--json"]
    ran = subprocess.run(run, stdout=subprocess.PIPE, text=True, check=False)
    if not ran.stdout.strip():
        raise SystemExit(f"tfgrpo {' '.join(given)} ended with status {ran.returncode}")
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
    """Who asks, and says later what it was worth. What they remember between rounds is in a file."""

    url: str
    day: Day
    tasks: Sequence[Task]
    memory: Path
    model: str = ""
    """Its name, by which a token prior is bound to it."""
    random: np.random.Generator = field(default_factory=np.random.default_rng)
    rounds: int = 0
    """That were asked to their end."""
    asked: int = 0
    met_live: bool = False
    """Whether a whole round was asked since a prior is live."""
    waiting: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Go on after the last whole round."""
        self.model = self.day.name or http.get(f"{self.url}/v1/models", timeout=60.0).json()["data"][0]["id"]
        if self.memory.exists():
            known = json.loads(self.memory.read_text(encoding="utf-8"))
            self.rounds, self.asked, self.met_live = known["rounds"], known["asked"], known["met_live"]
            self.waiting = [(when, told) for when, told in known["waiting"]]

    async def round(self) -> str:
        """One round of calls; how right they were, by variant."""
        self.random = np.random.default_rng([7, self.day.seed, self.rounds])
        right: dict[str, list[bool]] = {}
        left = iter(range(self.day.calls))
        async with http.AsyncClient(base_url=self.url, timeout=300.0) as client:

            async def caller() -> None:
                for _ in left:
                    variant, good = await self._one(client)
                    right.setdefault(variant, []).append(good)

            await asyncio.gather(*(caller() for _ in range(self.day.at_once)))
        self.met_live = "live" in right
        self._remember_all()
        shares = (f"{variant} {np.mean(each):.0%} of {len(each)}" for variant, each in sorted(right.items()))
        return f"{np.mean([good for each in right.values() for good in each]):.0%} right ({', '.join(shares)})"

    def _remember_all(self) -> None:
        self.rounds += 1
        known = {"rounds": self.rounds, "asked": self.asked, "met_live": self.met_live, "waiting": self.waiting}
        self.memory.write_text(json.dumps(known), encoding="utf-8")

    async def _one(self, client: http.AsyncClient) -> tuple[str, bool]:
        task = self.tasks[int(self.random.integers(len(self.tasks)))]
        self.asked += 1
        answer = await client.post("/v1/chat/completions", json=self._body(task, f"user {self.asked}"))
        said = answer.json()["choices"][0]["message"]["content"].strip() if answer.is_success else ""
        self._remember(answer.headers.get("x-tfgrpo-inference-id", ""), said == task.answer, task)
        await self._say(client)
        return answer.headers.get("x-tfgrpo-variant", str(answer.status_code)), said == task.answer

    def _body(self, task: Task, user: str) -> dict[str, Any]:
        system = {"role": "system", "content": (DATA / "system.txt").read_text(encoding="utf-8").strip()}
        body = json.loads((DATA / "request.json").read_text(encoding="utf-8"))
        asked = {"model": self.model, "messages": [system, *task.messages], "temperature": TEMPERATURE}
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


def _flown(day: Day, store: Path, tasks: Sequence[Task], began: float) -> None:
    """The day itself, until a round has been asked of a prior that is live."""
    with proxy(day, store) as url:
        callers = Callers(url, day, tasks, store.with_suffix(".json"))
        while not callers.met_live:
            if callers.rounds:
                _looked(day, store, began)
            if callers.rounds >= day.rounds:
                return
            told = asyncio.run(callers.round())
            print(f"{time.monotonic() - began:5.0f} s  round {callers.rounds}: {day.calls} calls, {told}", flush=True)
            time.sleep(_WRITING)


def _looked(day: Day, store: Path, began: float) -> None:
    """Have the autopilot look until nothing is to be done, and print what it did."""
    learn = shlex.join([*day.place, *shlex.split(day.learn)])
    terms = "--min-feedback", str(day.feedback), "--daily-calls", str(day.budget), "--share", str(day.share)
    while said := command("autopilot", "--once", "--learn", learn, *terms, store=store):
        print(f"{time.monotonic() - began:5.0f} s  " + "\n         ".join(said), flush=True)


def _live(store: Path) -> Prior | None:
    with Store(store) as opened:
        live = opened.live("default")
    return live.prior if live else None


def _offline(day: Day, store: Path, tasks: Sequence[Task]) -> tuple[Prior | None, str]:
    """What learning from the same messages with all their answers comes to, and what became of it; it is done once."""
    with Store(store) as opened:
        done = any(entry.run.status == "finished" for entry in opened.runs("default"))
        if done and (events := opened.lineage("default")):
            return opened.prior(events[-1].prior), events[-1].state
    pool = store.with_name("pool.jsonl")
    pool.write_text("".join(json.dumps({"input": task.input, "answer": task.answer}) + "\n" for task in tasks))
    frame = "--system", str(DATA / "system.txt"), "--request", str(DATA / "request.json")
    limits = "--temperature", str(TEMPERATURE), "--max-calls", str(day.budget)
    learned = command("learn", str(pool), *day.place, *shlex.split(day.learn), *frame, *limits, store=store)
    if not learned["candidate"]:
        return None, f"{learned['state']}: nothing was learned"
    with Store(store) as opened:
        return opened.prior(learned["candidate"]), learned["state"]


async def measured(day: Day, url: str, model: str, priors: Mapping[str, Prior]) -> Evaluation:
    """How right each is on messages that nobody asked, all of them asked task by task."""
    frame = replace(demo_frame(model), temperature=TEMPERATURE)
    settings, key = Settings(concurrency=2 * day.at_once), os.environ["OPENAI_API_KEY"]
    async with Upstream(url, api_key=key, settings=settings) as upstream:
        backend = await probe(upstream, model, run="")
        arms = {
            name: ChatExecutor(upstream, frame, backend, run="", stage=f"day {name}", seed=day.seed) for name in priors
        }
        reward = load_reward(DEMO_REWARD)
        return await compare_arms(arms, priors, part("test"), reward, repeats=day.repeat, observer=Silent())


def _figures(day: Day, live: Prior | None, offline: Prior | None) -> None:
    """Print what both priors are worth beside the frozen model, and how far they are apart."""
    named = {"frozen": Prior(), **({"offline": offline} if offline else {}), **({"autopilot": live} if live else {})}
    served = local.upstream("local") if day.model == "local" else nullcontext((day.model, day.name))
    with served as (url, model):
        found = asyncio.run(measured(day, url, model, named))
    print(f"{found.tasks} messages that nobody asked, {found.repeats} rollouts each")
    for name, mean in found.means.items():
        print(f"   {name:10} {mean:6.1%}")
    for name, each in found.differences.items():
        print(f"   {name:20} {100 * each.mean:+5.1f} points ({100 * each.low:+.1f} to {100 * each.high:+.1f})")


def real_day(day: Day) -> None:
    """The day, and its figures; a model elsewhere has room for offline learning meanwhile."""
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended; with --keep the same command goes on from there"))
    os.environ.pop("TFGRPO_STORE", None)
    os.environ.setdefault("OPENAI_API_KEY", "none")
    tasks = (*part("train"), *part("validation"))
    with TemporaryDirectory() as name, ThreadPoolExecutor(1) as beside:
        folder = Path(day.keep or name)
        folder.mkdir(parents=True, exist_ok=True)
        store, offline = folder / "day.db", folder / "offline.db"
        Store(store).close()
        meanwhile = None if day.model == "local" else beside.submit(_offline, day, offline, tasks)
        _flown(day, store, tasks, began)
        for line in command("history", store=store):
            print(f"{line['at'][:19]}  {line['what']:12} {line['prior'] or '':24} {line['why'][:150]}")
        live = _live(store)
        print(f"{time.monotonic() - began:5.0f} s  live in the evening: {live.id if live else 'nothing'}", flush=True)
        prior, state = meanwhile.result() if meanwhile else _offline(day, offline, tasks)
        print(f"{time.monotonic() - began:5.0f} s  learned offline: {prior.id if prior else ''} ({state})", flush=True)
        _figures(day, live, prior)
        print(f"{time.monotonic() - began:5.0f} s in all")
