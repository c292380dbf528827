"""How long the dashboard's pages take on a large store, and how many bytes they are.

    python -m benchmarks.dashboard [--calls 1000000] [--rollouts 100000] [--keep FILE] [--cold]

The store is filled without the program's own writer, which keeps a checksum in every row. Each page is asked for once
in a proxy that has just been started, and then ten times more; `cpu` is what the first takes of a processor, and what
one of the others does, asking included, whatever else the machine does. The last two have traffic counted beside them,
which is in theirs. With `--cold` the store has to come from the disk for each first look: the system is told to forget
it. What a page has not counted by the time it stands is asked for until it is there, and told as `counted`.
"""

import argparse
import json
import os
import random
import sqlite3
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import httpx2
import uvicorn

from tfgrpo.prompts import template
from tfgrpo.records import (
    Decision,
    Demonstration,
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
    Variant,
)
from tfgrpo.serve.proxy import Proxy, RelayTarget, Shelf
from tfgrpo.store import HistoryEntry, Store
from tfgrpo.trials import GateTrial, Pass

NAME = "support"
_LIMIT_SECONDS, _LIMIT_BYTES = 0.5, 300_000
ADVICE = (
    "When the message names an invoice, answer `billing` even if it also reports a fault.",
    "When two queues fit, choose the one that the last sentence asks for.",
    "When a crash is quoted with a stack trace, answer `technical`.",
    "When the customer only thanks, answer `none` and nothing else.",
)


def fill(path: Path, calls: int, rollouts: int, *, days: int = 7) -> str:
    """A store with one namespace that is in use; the id of its largest run, which is going on."""
    rng = random.Random(0)
    frame = Frame("gpt-6-luna", "Route it.")
    tasks = tuple(Task(f"Message {n}: where is my invoice, and why did the app crash?", "billing") for n in range(250))
    experiences = tuple(Experience(text, origin=Origin("", 1)) for text in ADVICE)
    shown = tuple(Demonstration(f"I was charged twice, no. {n}", "billing") for n in range(4))
    biases = tuple(TokenBias(n, f" tok{n}".encode(), rng.gauss(0, 1), rng.gauss(0, 3), 12) for n in range(12))
    old = Prior(experiences[:1], template=template("prior").version)
    live = Prior(
        experiences[:3], biases, "cl100k", template("prior").version, old.id, "Answer with the queue alone.", shown
    )
    canary = Prior(
        experiences, biases, "cl100k", template("prior").version, live.id, "Answer with the queue alone.", shown
    )
    arms = [
        Variant(source="frozen"),
        Variant(None, shown, 0, "4 examples"),
        Variant("Answer with the queue alone.", (), 0, "written 1"),
    ]
    run = Run("learn", NAME, frame, {"steps": 4, "group_size": 8, "seed": 0}, tuple(task.id for task in tasks), "exact")
    with Store(path) as store:
        store.add_tasks(tasks)
        store.begin(run)
        store.add_variants(run.id, [(arm, 40 * n) for n, arm in enumerate(arms)])
        for number, prior in enumerate((old, live, canary)):
            store.add_prior(prior)
            store.set_state(NAME, prior.id, "candidate", frame=frame, run=run.id if number == 2 else "", why="learned")
        store.add_experiences(NAME, experiences)
        store.add_effects(
            NAME, [Effect(one.id, "", n, 0.06 - 0.03 * n, 0.02, 400) for n, one in enumerate(experiences)]
        )
        store.add_decisions(
            NAME, [Decision(one.id, "kept" if n < 3 else "on trial", "it helps") for n, one in enumerate(experiences)]
        )
        store.set_state(NAME, old.id, "live", frame=frame, why="the gate passed it")
        store.set_state(NAME, live.id, "live", frame=frame, why="the gate passed it")
        store.set_state(NAME, canary.id, "canary", frame=frame, why="the gate passed it")
        store.add_share(NAME, canary.id, 0.1)
        trial = {"canary": 1, "level": 0.03, "share": 0.1, "live": live.id, "feedback_id": int(0.27 * calls)}
        store.add_history(HistoryEntry(NAME, "autopilot", "promoted", live.id, "e-value 41 of 20"))
        store.add_history(HistoryEntry(NAME, "autopilot", "canary", canary.id, "10% of keys", trial))
        store.add_group(run.id, Group(tasks[0], 0, (Rollout(tasks[0], 0, 0, live.id, reward=1.0, text="billing"),)))
        gate = GateTrial(NAME, tuple(task.id for task in tasks[:24]), run.id, canary.id, live.id, 0.05, 32, 0)
        store.begin_trial(gate)
        for number in range(1, 9):
            store.add_pass(gate, Pass(number, 0.2, {task.id: (1.0, 0.5) for task in tasks[:2]}, 0.5 * number))
    with closing(sqlite3.connect(path)) as db, db:
        _fill_rollouts(db, run, [arm.id for arm in arms], rollouts, rng)
        _fill_traffic(db, calls, days, {"live": live.id, "canary": canary.id, "holdback": None}, rng)
    return run.id


def _fill_rollouts(db: sqlite3.Connection, run: Run, arms: list[str], count: int, rng: random.Random) -> None:
    tasks = run.tasks
    size, now = 8, datetime.now(UTC)
    groups = [(n, n // len(tasks), tasks[n % len(tasks)]) for n in range(2, max(3, count // size))]
    db.executemany(
        "INSERT INTO groups (id, run, step, task, prior, at) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (n, run.id, step, task, f"prior_{step}", _at(now - timedelta(seconds=len(groups) - n)))
            for n, step, task in groups
        ],
    )
    import zlib

    messages = zlib.compress(
        json.dumps([{"role": "assistant", "content": "billing, as the invoice is what they ask for. " * 20}]).encode()
    )

    def made() -> Iterator[tuple[object, ...]]:
        for n, step, _ in groups:
            for sample in range(size):
                good = rng.random() < 0.45 + 0.08 * min(step, 5)
                yield (
                    n,
                    sample,
                    "[]",
                    messages,
                    "billing" if good else "It depends.",
                    float(good),
                    "stop",
                    1,
                    90,
                    12,
                    arms[sample % len(arms)],
                )

    db.executemany(
        "INSERT INTO rollouts (group_id, sample, included, messages, text, reward, finish_reason, calls, prompt_tokens,"
        " completion_tokens, variant) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        made(),
    )
    db.executemany(
        "INSERT INTO calls (run, stage, step, task, sample, retry, request, response, calls, prompt_tokens,"
        " completion_tokens) VALUES (?, 'rollout', ?, ?, ?, 0, 'hash', ?, 1, 90, 12)",
        ((run.id, step, task, sample, messages) for _, step, task in groups for sample in range(size)),
    )


def _fill_traffic(
    db: sqlite3.Connection, calls: int, days: int, priors: dict[str, str | None], rng: random.Random
) -> None:
    now, variants = datetime.now(UTC), ["live"] * 8 + ["canary", "holdback"]
    worth = {"live": 0.78, "canary": 0.86, "holdback": 0.6}

    def made() -> Iterator[tuple[object, ...]]:
        for n in range(calls):
            variant = variants[rng.randrange(10)]
            at = now - timedelta(days=days) * ((calls - n) / calls) ** 1.02
            status = 200 if rng.random() < 0.985 else rng.choice((400, 429, 502))
            added = rng.lognormvariate(-7, 0.4)
            draw = {"of": priors["live"], "canary": priors["canary"], "key": f"key_{n:08x}", "arm": variant, "p": 0.1}
            yield (
                f"inf_{n:08x}",
                NAME,
                priors[variant],
                variant,
                "chat",
                "m",
                status,
                0.4,
                added,
                json.dumps(draw),
                _at(at),
            )

    db.executemany(
        "INSERT INTO inferences (id, namespace, prior, variant, surface, model, status, seconds, added, draw, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        made(),
    )
    told = db.execute("SELECT id, prior, variant, at FROM inferences WHERE number % 10 < 3").fetchall()
    db.executemany(
        "INSERT INTO feedback (inference, namespace, prior, variant, reward, comment, at)"
        " VALUES (?, ?, ?, ?, ?, '', ?)",
        ((id_, NAME, prior, variant, float(rng.random() < worth[variant]), at) for id_, prior, variant, at in told),
    )


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"


@contextmanager
def served(path: Path) -> Iterator[str]:
    """A proxy over the store, in this process."""
    proxy = Proxy(RelayTarget.parse("http://127.0.0.1:9/v1", None), Shelf(path, NAME))
    server = uvicorn.Server(uvicorn.Config(proxy, port=0, ws="none", log_level="critical", interface="asgi3"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def main() -> None:
    """Fill, ask, print; exits with 1 where a page takes too long or is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--rollouts", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="Keep the store there; one that is there is used.")
    parser.add_argument("--cold", action="store_true", help="Read the store from the disk for each first look.")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = given.keep or Path(folder) / "large.db"
        began = time.perf_counter()
        if path.exists():
            with Store(path, create=False) as store:
                run = store.latest_runs(NAME, 1)[0].id
        else:
            run = fill(path, given.calls, given.rollouts)
        print(f"store of {path.stat().st_size / 1e6:,.0f} MB, filled in {time.perf_counter() - began:.0f} s")
        with served(path) as url:
            fits = measure(url, run, path if given.cold else None)
    sys.exit(not fits)


def forget(path: Path | None) -> None:
    """Have the system keep nothing of a file in memory."""
    if path:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(url: str, run: str, cold: Path | None = None) -> bool:
    """Whether every page is as quick and as small as it has to be; `cold` is forgotten before each first look."""
    pages = {
        "overview": "/tfgrpo/",
        "run, going on": f"/tfgrpo/run?id={run}",
        "rollouts, page 1": f"/tfgrpo/rollouts?run={run}",
        "rollouts, page 1,000": f"/tfgrpo/rollouts?run={run}&page=1000",
        "namespace": f"/tfgrpo/namespace?name={NAME}",
        "traffic": f"/tfgrpo/traffic?name={NAME}",
    }
    rest = {"run, going on": f"/tfgrpo/run/live?id={run}"}
    fits = True
    print(
        f"{'page':22}{'first':>9}{'median':>9}{'slowest':>9}{'cpu, 1st':>10}{'cpu':>9}{'bytes':>10}{'with files':>12}"
    )
    with httpx2.Client(base_url=url, timeout=60) as client:
        for name, path in pages.items():
            times, size, used, counted = [], 0, [time.process_time()], ""
            forget(cold)
            for _ in range(11):
                began = time.perf_counter()
                answer = client.get(path)
                times.append(time.perf_counter() - began)
                if "Being counted" in answer.text and name in rest:
                    while "Being counted" in client.get(rest[name]).text:
                        time.sleep(0.02)
                    counted = f"  (counted {time.perf_counter() - began:.3f}s)"
                used.append(time.process_time())
                assert answer.status_code == 200, answer.text
                size = len(answer.content)
            files = sum(len(client.get(one).content) for one in linked(answer.text))
            fits = fits and times[0] < _LIMIT_SECONDS and size + files < _LIMIT_BYTES
            first, *later = times
            told = f"{first:8.3f}s{statistics.median(later):8.3f}s{max(later):8.3f}s"
            told += f"{used[1] - used[0]:9.3f}s{(used[-1] - used[1]) / len(later):8.3f}s"
            print(f"{name:22}{told}{size:10,}{size + files:12,}{counted}")
        began = time.perf_counter()
        while "Being counted" in client.get(pages["traffic"]).text:
            time.sleep(0.1)
    print(f"traffic is counted {time.perf_counter() - began:.1f} s after the last page")
    return fits


def linked(page: str) -> list[str]:
    """The files that a page names."""
    import re
    from html import unescape

    return [unescape(one) for one in re.findall(r'(?:href|src)="(/tfgrpo/assets/[^"]+)"', page)]


if __name__ == "__main__":
    main()
