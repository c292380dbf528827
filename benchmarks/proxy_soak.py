"""The proxy under load for a while: does anything fail for its fault, does anything grow?

    python -m benchmarks.proxy_soak [SECONDS [CALLERS]]

20% of the calls are streams, 5% of the callers leave in the middle, 2% of the upstream's answers are faults (500, a
reset), and another prior goes live every tenth of the time. What the upstream did is its fault; whatever else is no 200
is ours. Memory and open files of the proxy are read at a tenth of the time and at the end.
"""

import asyncio
import multiprocessing
import os
import random
import sys
from collections import Counter
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
from tfgrpo.serve.proxy import Listening, RelayTarget, serve
from tfgrpo.serve.proxy.asgi import Receive, Scope, Send
from tfgrpo.serve.proxy.listening import listen

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

    serve([RelayTarget.parse(base)], store=store, listening=Listening(port=0), ready=told)


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


async def soak(url: str, pid: int, store: Path, seconds: float, callers: int) -> None:
    """Call until the time is up, and print what became of it."""
    tally, until = Tally(), monotonic() + seconds

    async def caller(seed: int, session: aiohttp.ClientSession) -> None:
        rng = random.Random(seed)
        while monotonic() < until:
            await call(session, f"{url}/chat/completions", rng, tally)

    async def swap() -> None:
        for turn in range(10):
            await asyncio.sleep(seconds / 10)
            await asyncio.to_thread(go_live, store, (PRIOR, OTHER)[turn % 2], model=MODEL)

    async def early() -> tuple[float, int]:
        await asyncio.sleep(seconds / 10)
        return standing(pid)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        first, *_ = await asyncio.gather(early(), swap(), *(caller(seed, session) for seed in range(callers)))
    await asyncio.sleep(1)
    last = standing(pid)
    print(f"{sum(tally.outcomes.values())} calls in {seconds:g} s: {dict(tally.outcomes)}")
    print(f"failed for our fault: {tally.ours}")
    print(f"memory {first[0]:.1f} MB, then {last[0]:.1f} MB; open files {first[1]}, then {last[1]} with nobody calling")


def main() -> None:
    """Start the processes and call."""
    seconds, callers = (
        (float(sys.argv[1]) if len(sys.argv) > 1 else 20.0),
        int(sys.argv[2] if len(sys.argv) > 2 else 16),
    )
    multiprocessing.set_start_method("spawn", force=True)
    with TemporaryDirectory() as folder:
        store = go_live(Path(folder) / "s.db", PRIOR, model=MODEL)
        with process(run_upstream) as direct, process(run_proxy, direct, str(store)) as told:
            url, pid = told.split()
            asyncio.run(soak(url, int(pid), store, seconds, callers))


if __name__ == "__main__":
    main()
