"""`kill -9` at random moments of `tfgrpo learn`, each followed by the same command again.

    python -m benchmarks.kill [KILLS] [RESULT.json] [--store postgresql://...]

The upstream answers each request from its content alone, in an order of its own; experiences and token prior are both
learned, eight calls at a time. Asserted after each kill: the store is whole, it kept every row that it had, and at most
the calls in flight are not in it. Asserted at each end: no committed call was made again, what had been reported still
holds, and the outcome is that of a run that nobody killed. With a RESULT file each kill is written down as it is made,
and a benchmark that was stopped goes on from there. With a URL of PostgreSQL's each run has a new database beside that
of the URL, which is dropped when all is well.
"""

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import IO, Protocol, TypeAlias
from urllib.parse import urlsplit

from tfgrpo.errors import StoreError
from tfgrpo.hashing import content_id
from tfgrpo.records import JSON, ChatBody, message_text
from tfgrpo.store import Store, StorePath, StoreUrl
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy, _Receive, _Scope, _Send, serving

CONCURRENCY = 8
MOMENTS = ("start", "probe", "step", "merge", "gate", "end")
TOPICS = {"invoice": "billing", "crash": "technical", "offer": "sales"}
WORDS = ("The", *TOPICS.values(), "I")
ADVICE = "When a message is routed, answer with the label alone."
HARM = "When in doubt, write a friendly greeting first."
TASKS = [{"input": f"message {n} about {topic}", "answer": label} for n in (1, 2) for topic, label in TOPICS.items()]
VALIDATION = [
    {"input": f"letter {n} about {topic}", "answer": label} for n in (1, 2) for topic, label in TOPICS.items()
]
_LEARN = (
    "--no-race", "--steps", "4", "--group-size", "8", "--concurrency", str(CONCURRENCY), "--hedge", "0", "--json",
)  # fmt: skip
_LATENCY = 0.008
"""Seconds that an answer takes at most."""
_SETTLED = (
    "calls", "experiences", "origins", "effects", "decisions", "priors", "token_biases", "lineage",
    "task_sets", "held_out", "validations", "passes", "outcomes",
)  # fmt: skip
"""Tables whose rows never change once they are committed."""


def logits(prompt: str) -> list[float]:
    """Mostly starts to talk; advice and harm move it by much."""
    lean = 3.5 * (ADVICE in prompt) - 1.5 * (HARM in prompt)
    return [2.5, *(lean + 0.2 + 1.5 * (topic in prompt) for topic in TOPICS), 2.0]


def script(body: ChatBody) -> Answer:
    """A policy with known effects, and a distiller that proposes them."""
    texts = "\n".join(message_text(message) for message in body["messages"])
    if "<attempts>" not in texts and "<proposals>" not in texts:
        return SimulatedPolicy(WORDS, logits)(body)
    sources = [f"P{number}" for number in range(1, 13)]
    proposed = [{"operation": "ADD", "text": text, "target": "", "from": sources} for text in (ADVICE, HARM)]
    return Answer(json.dumps(proposed))


_PROBE = 8
"""The first requests of a run, of which the probe's are."""
_MEANWHILE = 8
"""Requests that are answered once a kill is due: on a busy machine a run would be over before it comes."""


@dataclass
class Backend(ScriptedModel):
    """Notes the hash of each request as it arrives, as the journal has it; answers after a random while."""

    noise: random.Random = field(default_factory=random.Random)
    arrived: list[str] = field(default_factory=list)
    answered: int = 0
    merging: bool = False
    gated: int = 0
    """Rollouts of validation tasks."""
    gate_begun: bool = False
    is_due: Callable[[], bool] = bool
    """Whether a kill is, as who kills has it; from then on a few requests are answered, and the rest wait for it."""
    is_last: Callable[[], bool] = bool
    """Whether the request that arrived last is the run's last one: it waits too."""
    meanwhile: int = 0

    async def app(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        event = await receive()  # requests this small come in one piece
        if event["type"] != "http.request":
            return  # its sender was killed before it was sent
        body: JSON = json.loads(event["body"] or b"null")
        path = scope["path"].removeprefix("/v1")
        request = content_id("request", *([body] if path == "/chat/completions" else [path, body]))
        self.gate_begun = self.gate_begun or self.gated > 0
        look = self.gate_begun and request in self.arrived[:_PROBE]  # a gate that goes on looks who is there
        self.arrived += [] if look else [request]
        self.merging = self.merging or b"<proposals>" in event["body"]
        self.gated += re.search(rb"letter \d about", event["body"]) is not None
        waits = self.is_due() and not look and (self.is_last() or self.meanwhile >= _MEANWHILE)
        self.meanwhile += self.is_due()
        await asyncio.sleep(self.noise.uniform(0, _LATENCY))
        while waits and self.is_due():
            await asyncio.sleep(0.001)

        async def again() -> dict[str, JSON]:
            return dict(event)

        try:
            await super().app(scope, again, send)
        finally:
            self.answered += not look


@contextmanager
def backend(seed: int) -> Iterator[tuple[Backend, str]]:
    """A backend that is being served, and its base URL."""
    model = Backend(script, owner="llamacpp", noise=random.Random(seed))
    with serving(model.app) as url:
        yield model, url


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to when nobody killed it."""

    result: JSON
    requests: frozenset[str]
    start_seconds: float
    """From the start of the process to its first request."""
    tail_seconds: float
    """From the last answer to the end of the process."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, and what it cost."""

    seed: int
    moment: str
    committed: int
    """Calls in the store when the process was gone."""
    lost: int
    """Calls that had been sent by that process and are not in the store."""
    over: bool
    """The run was finished when the kill came."""


class Process(Protocol):
    """What is asked of a process, as `subprocess.Popen` has it."""

    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self) -> int | None: ...
    def kill(self) -> None: ...


class Start(Protocol):
    """How a command is made a process, which writes to these files."""

    def __call__(self, command: Sequence[str], printed: IO[str], errors: IO[str], /) -> Process: ...


def environment() -> dict[str, str]:
    """No settings come from it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TFGRPO_", "OPENAI_"))}


def as_a_shell_does(command: Sequence[str], printed: IO[str], errors: IO[str]) -> subprocess.Popen[bytes]:
    """In a Python that has loaded nothing."""
    return subprocess.Popen(command, stdout=printed, stderr=errors, env=environment())


class Learning:
    """One store and the runs at it, in processes of their own."""

    def __init__(
        self, folder: Path, model: Backend, url: str, store: StorePath, start: Start = as_a_shell_does
    ) -> None:
        self.model, self.path, self._start = model, store, start
        tasks = folder / "tasks.jsonl"
        validation = folder / "validation.jsonl"
        for path, given in ((tasks, TASKS), (validation, VALIDATION)):
            path.write_text("\n".join(json.dumps(task) for task in given), encoding="utf-8")
        where = (
            "--model",
            "fake",
            "--base-url",
            url,
            "--store",
            store.dsn if isinstance(store, StoreUrl) else str(store),
        )
        self.command = [sys.executable, "-m", "tfgrpo", "learn", str(tasks), *where, *_LEARN]
        self.command += ["--validation", str(validation)]
        self.reported: set[str] = set()
        self._printed, self._errors = folder / "stdout.txt", folder / "stderr.txt"

    @contextmanager
    def process(self, start: Start | None = None) -> Iterator[Process]:
        """The command, killed on the way out if it still runs; what it said is taken in."""
        with self._printed.open("w") as printed, self._errors.open("w") as errors:
            process = (start or self._start)(self.command, printed, errors)
            try:
                yield process
            finally:
                process.kill()
                process.wait()
        said = self._errors.read_text(encoding="utf-8")
        assert "rror" not in said, said
        self.reported |= set(re.findall(r"^step \d+/\d+: .*\n", said, re.MULTILINE))

    def finish(self) -> JSON:
        """Run to the end; the figures that it prints."""
        with self.process() as process:
            process.wait()
        assert process.returncode == 0, self._errors.read_text(encoding="utf-8")
        return json.loads(self._printed.read_text(encoding="utf-8"))

    @property
    def begun(self) -> bool:
        """Whether the store is there; looking must not make it."""
        if isinstance(self.path, Path):
            return self.path.exists() and self.path.stat().st_size > 0
        _until_left_alone(self.path)
        try:
            Store(self.path, create=False).close()
        except StoreError as error:
            assert "no store at" in str(error), error
            return False
        return True

    def rows(self) -> dict[str, set[tuple[JSON, ...]]]:
        """What the tables hold that only ever grow."""
        if not self.begun:
            return {table: set() for table in _SETTLED}
        with Store(self.path, create=False) as store, store._read("looking") as db:
            return {name: set(db.execute(f"SELECT * FROM {name}")) for name in _SETTLED}

    def committed(self) -> set[str]:
        """Hashes of the requests whose answers are in the store, which is whole."""
        if not self.begun:
            return set()
        with Store(self.path, create=False) as store:
            assert store.verify() == ()
            with store._read("looking") as db:
                return {request for (request,) in db.execute("SELECT request FROM calls")}

    def result(self) -> JSON:
        """The figures of the first run, if it is finished."""
        if not self.begun:
            return None
        with Store(self.path, create=False) as store:
            finished = [entry.run for entry in store.runs() if entry.run.status == "finished"]
            return finished[0].result if finished else None


def _until_left_alone(store: StoreUrl) -> None:
    """Wait for the server to notice that those who were connected are gone."""
    import psycopg

    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(store.dsn, autocommit=True) as conn:
        while conn.execute(others).fetchone() != (0,):
            time.sleep(0.005)


Places: TypeAlias = Callable[[Path], AbstractContextManager[StorePath]]
"""Where each run has its store, given a folder of its own."""


@contextmanager
def in_folder(folder: Path) -> Iterator[StorePath]:
    """A file in that folder."""
    yield folder / "tfgrpo.db"


def in_databases(given: StoreUrl) -> Places:
    """A new database on the server of a URL, dropped afterwards."""
    import psycopg

    @contextmanager
    def place(folder: Path) -> Iterator[StorePath]:
        name = f"tfgrpo_kill_{os.getpid()}_{time.monotonic_ns()}"
        with psycopg.connect(given.dsn, autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name}".encode())
        parts = urlsplit(given.dsn)
        yield StoreUrl(parts._replace(path=f"/{name}").geturl())
        with psycopg.connect(given.dsn, autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    return place


def uninterrupted(places: Places = in_folder) -> Outcome:
    """A run that nobody kills, and its times."""
    with TemporaryDirectory() as folder, backend(0) as (model, url), places(Path(folder)) as store:
        learning = Learning(Path(folder), model, url, store)
        begun = time.monotonic()
        with learning.process() as process:
            _until(lambda: bool(model.arrived), process)
            start = time.monotonic() - begun
            answered, last = -1, begun
            while process.poll() is None:
                if model.answered != answered:
                    answered, last = model.answered, time.monotonic()
                time.sleep(0.001)
            tail = time.monotonic() - last
        return Outcome(learning.result(), frozenset(model.arrived), start, tail)


def _until(reached: Callable[[], bool], process: Process) -> None:
    while process.poll() is None and not reached():
        time.sleep(0.0005)


def kill_once(learning: Learning, whole: Outcome, moment: str, seed: int) -> Kill:
    """Start or resume the run, kill it at that moment, and check what is left."""
    model, draw = learning.model, random.Random(seed)
    rows, before = learning.rows(), len(model.arrived)
    left = len(whole.requests - learning.committed())
    model.merging, model.gated = False, 0
    nth = {"probe": draw.randint(1, 5), "step": draw.randint(1, max(1, left))}.get(moment, 0)
    gated = draw.randint(1, 3 * len(VALIDATION))

    def all_came() -> bool:
        return len(model.arrived) - before >= left

    reached: dict[str, Callable[[], bool]] = {
        "start": lambda: len(model.arrived) > before,
        "merge": lambda: model.merging or all_came(),
        "gate": lambda: model.gated >= gated or all_came(),
        "end": lambda: model.answered - before >= left,
    }
    is_due = reached.get(moment, lambda: len(model.arrived) - before >= min(nth, left))
    model.meanwhile, model.is_due, model.is_last = 0, is_due, all_came
    within = {"start": whole.start_seconds, "end": whole.tail_seconds}.get(moment, 0.004)
    delay = within * draw.random() ** (2 if moment == "end" else 1)  # most of the tail is Python's own end
    with learning.process(as_a_shell_does if moment == "start" else None) as process:
        if moment == "start":
            due = time.monotonic() + delay  # but no later than its first request: another start may be quicker
            _until(lambda: time.monotonic() >= due or is_due(), process)
        else:
            _until(is_due, process)
            time.sleep(delay)
    model.is_due = bool  # what still waits is answered, though nobody is there
    _until_quiet(model)
    committed, sent = learning.committed(), model.arrived[before:]
    after = learning.rows()
    for table in _SETTLED:
        assert rows[table] <= after[table], f"{table}: rows that were committed are gone"
    lost = len(set(sent) - committed)
    assert lost <= CONCURRENCY, f"{lost} calls were sent and not committed"
    return Kill(seed, moment, len(committed), lost, learning.result() is not None)


def _until_quiet(model: Backend) -> None:
    """Wait for what a killed process had sent."""
    while model.answered < len(model.arrived):
        time.sleep(0.001)


def run_killed(
    whole: Outcome, moments: Sequence[str], seed: int, places: Places = in_folder, start: Start = as_a_shell_does
) -> list[Kill]:
    """One run that is killed at these moments, fewer when it is over before, and is then left to finish.

    What is killed at its start is started as a shell does.
    """
    kills = []
    with TemporaryDirectory() as folder, backend(seed) as (model, url), places(Path(folder)) as store:
        learning = Learning(Path(folder), model, url, store, start)
        for number, moment in enumerate(moments):
            known, before = learning.committed(), len(model.arrived)
            kills.append(kill_once(learning, whole, moment, seed + number))
            assert not known & set(model.arrived[before:]), "a committed call was made again"
            if kills[-1].over:
                break
        known, before = learning.committed(), len(model.arrived)
        result = learning.result() or learning.finish()
        assert not known & set(model.arrived[before:]), "a committed call was made again"
        assert {**result, "resumed": False} == {**whole.result, "resumed": False}
        assert set(model.arrived) == whole.requests
        assert len(model.arrived) <= len(whole.requests) + sum(kill.lost for kill in kills)
        assert len({line.split(":")[0] for line in learning.reported}) == len(learning.reported), learning.reported
    return kills


def plan(seed: int, kills: int) -> tuple[str, ...]:
    """Moments of one run in any order, but nothing comes after the end."""
    return tuple(sorted(random.Random(seed).choices(MOMENTS, k=kills), key=lambda moment: moment == "end"))


def table(kills: Sequence[Kill]) -> Iterator[str]:
    """The kills by kind of moment."""
    yield f"{'killed at':<12}{'n':>5}{'committed, median':>19}{'lost, median':>14}{'lost, most':>12}{'run over':>10}"
    for moment in MOMENTS:
        of = [kill for kill in kills if kill.moment == moment]
        if of:
            lost = [kill.lost for kill in of]
            committed, over = median(kill.committed for kill in of), sum(kill.over for kill in of)
            yield f"{moment:<12}{len(of):>5}{committed:>19g}{median(lost):>14g}{max(lost):>12}{over:>10}"


def main(kills: int, path: Path | None, places: Places) -> None:
    """Kill so many times in all; print the table."""
    done = [Kill(**entry) for entry in json.loads(path.read_text())] if path and path.exists() else []
    whole = uninterrupted(places)
    while len(done) < kills:
        seed = 1_000 * (1 + max((kill.seed // 1_000 for kill in done), default=0))
        done += run_killed(whole, plan(seed, min(4, kills - len(done))), seed, places)
        if path:
            path.write_text(json.dumps([asdict(kill) for kill in done], indent=1) + "\n", encoding="utf-8")
        print(f"{len(done)} kills", file=sys.stderr)
    print(f"{len(whole.requests)} requests a run, {CONCURRENCY} at a time; every run ended in {whole.result['prior']}")
    print("\n".join(table(done)))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("kills", nargs="?", type=int, default=100)
    arguments.add_argument("result", nargs="?", type=Path)
    arguments.add_argument("--store", type=StoreUrl)
    told = arguments.parse_args()
    main(told.kills, told.result, in_databases(told.store) if told.store else in_folder)
