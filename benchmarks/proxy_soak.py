"""The proxy under load for a while: does anything fail for its fault, does anything grow?

    python -m benchmarks.proxy_soak [SECONDS [CALLERS]]

20% of the calls are streams, 5% of the callers leave in the middle, 2% of the upstream's answers are faults (500, a
reset), and another prior goes live every ten seconds. All calls are recorded, with their texts. For five seconds they
come as fast as they can, from then on at half of that rate. What the upstream did is its fault; whatever else is no 200
is ours. Memory and open files of the proxy are read after the first minute (or a tenth of the time, if that is less)
and at the end, when nobody calls any more.
"""

import asyncio
import multiprocessing
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import aiohttp
import orjson
import uvicorn

from benchmarks.client import MODEL, PRIOR
from benchmarks.proxy import process
from tests.live import OTHER, go_live
from tfgrpo.serve.proxy import Listening, RelayTarget, Serving, serve
from tfgrpo.serve.proxy.asgi import Receive, Scope, Send
from tfgrpo.serve.proxy.listening import listen
from tfgrpo.serve.writing import Recording
from tfgrpo.store import Store

ANSWER = orjson.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "BILL"}}]})
EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "word "}}]}\n\n'


async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers, streams, or fails, as the request's own header says."""
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    given = dict(scope["headers"])
    fault = given.get(b"x-fault")
    status = 500 if fault == b"500" else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    if fault == b"reset":
        raise ConnectionError
    for _ in range(30 if given.get(b"x-stream") else 0):
        await asyncio.sleep(0.002)
        await send({"type": "http.response.body", "body": EVENT, "more_body": True})
    await send({"type": "http.response.body", "body": ANSWER})


def run_upstream(ready: Connection) -> None:
    """The upstream, as a process."""
    with listen("127.0.0.1", 0) as listener:
        ready.send(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        config = uvicorn.Config(
            upstream, interface="asgi3", log_level="critical", access_log=False, lifespan="off", ws="none"
        )
        uvicorn.Server(config).run(sockets=[listener])


def run_proxy(ready: Connection, base: str, store: str) -> None:
    """The proxy, as a process; it also tells its process id."""

    def told(url: str) -> None:
        ready.send(f"{url} {os.getpid()}")

    recording = Recording(share=1.0, megabytes=256)
    serve(Serving([RelayTarget.parse(base)], Path(store), listening=Listening(port=0), recording=recording), ready=told)


@dataclass
class Tally:
    """What became of the calls."""

    outcomes: Counter[str] = field(default_factory=Counter)
    ours: int = 0

    def add(self, outcome: str, *, expected: bool) -> None:
        """One call came to this."""
        self.outcomes[outcome] += 1
        self.ours += not expected


async def call(session: aiohttp.ClientSession, url: str, rng: random.Random, tally: Tally) -> None:
    """One call, of whatever kind chance says."""
    fault = rng.choice(["500", "reset"]) if rng.random() < 0.02 else ""
    leaves = rng.random() < 0.05
    headers = {"x-fault": fault} if fault else {}
    if stream := rng.random() < 0.2:
        headers["x-stream"] = "1"
    body = orjson.dumps({"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": "word " * 50}]})
    try:
        async with session.post(url, data=body, headers=headers) as response:
            if leaves:
                response.close()
                tally.add("left", expected=True)
                return
            await response.read()
            tally.add(str(response.status), expected=response.status == 200 or bool(fault))
    except aiohttp.ClientError as error:
        tally.add(type(error).__name__, expected=bool(fault))


def standing(pid: int) -> tuple[float, int]:
    """Megabytes in memory, and open files, of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kilobytes) / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir()))


@dataclass(frozen=True, slots=True)
class Soaked:
    """What became of it all."""

    seconds: float
    tally: Tally
    early: tuple[float, int]
    """Memory and open files after the first minute."""
    last: tuple[float, int]
    recorded: int
    """Calls in the store."""

    def table(self) -> Iterator[str]:
        """The figures, as Markdown."""
        calls = sum(self.tally.outcomes.values())
        grown = self.last[0] / self.early[0] - 1
        yield "| calls | a second | failed for our fault | recorded | memory, early and last | grown | open files |"
        yield "|---|---|---|---|---|---|---|"
        memory, files = f"{self.early[0]:.1f} and {self.last[0]:.1f} MB", f"{self.early[1]} and {self.last[1]}"
        rate = f"{calls / self.seconds:,.0f}"
        yield f"| {calls:,} | {rate} | {self.tally.ours} | {self.recorded:,} | {memory} | {grown:+.1%} | {files} |"
        yield ""
        yield f"what came of the calls: {dict(self.tally.outcomes)}"


UNPACED = 5.0
"""Seconds in which it is seen how many calls a second there can be."""


class Pace:
    """When callers may call: at once until the most is known, from then on at half of that."""

    def __init__(self, callers: int) -> None:
        self._callers = callers
        self._between = 0.0

    def halve(self, calls: int, seconds: float) -> None:
        """So many calls were made in so many seconds: half as many are to be."""
        self._between = 2 * self._callers * seconds / max(1, calls)

    async def wait(self, began: float) -> None:
        """For a caller whose last call began then."""
        await asyncio.sleep(max(0.0, began + self._between - monotonic()))


async def soak(url: str, pid: int, store: Path, seconds: float, callers: int) -> Soaked:
    """Call until the time is up."""
    tally, pace, until = Tally(), Pace(callers), monotonic() + seconds

    async def caller(seed: int, session: aiohttp.ClientSession) -> None:
        rng = random.Random(seed)
        while (began := monotonic()) < until:
            await call(session, f"{url}/chat/completions", rng, tally)
            await pace.wait(began)

    async def paced() -> None:
        first = min(UNPACED, seconds / 4)
        await asyncio.sleep(first)
        pace.halve(sum(tally.outcomes.values()), first)

    async def swap() -> None:
        for turn in range(int(seconds / 10)):
            await asyncio.sleep(10)
            await asyncio.to_thread(go_live, store, (PRIOR, OTHER)[turn % 2], model=MODEL)

    async def early() -> tuple[float, int]:
        await asyncio.sleep(min(60.0, seconds / 10))
        return standing(pid)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        calls = (caller(seed, session) for seed in range(callers))
        watching = asyncio.create_task(early())
        await asyncio.gather(watching, paced(), swap(), *calls)
    await asyncio.sleep(2)
    last = standing(pid)
    with Store(store) as opened:
        recorded = len(opened.calls_in_use("default"))
    return Soaked(seconds, tally, watching.result(), last, recorded)


def soaked(folder: Path, seconds: float, callers: int = 16) -> Soaked:
    """Start the processes and call."""
    store = go_live(folder / "soak.db", PRIOR, model=MODEL)
    with process(run_upstream) as direct, process(run_proxy, direct, str(store)) as told:
        url, pid = told.split()
        return asyncio.run(soak(url, int(pid), store, seconds, callers))


def main() -> None:
    """Soak, and print the table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    callers = int(sys.argv[2] if len(sys.argv) > 2 else 16)
    multiprocessing.set_start_method("spawn", force=True)
    with TemporaryDirectory() as folder:
        print("\n".join(soaked(Path(folder), seconds, callers).table()))


if __name__ == "__main__":
    main()
