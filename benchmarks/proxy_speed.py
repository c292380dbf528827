"""How fast the proxy is beside the bare stack it is built on: the same libraries, relaying with no logic of ours.

    python -m benchmarks.proxy_speed [SECONDS]

Upstream, bare relay, proxy and load are processes of their own on this machine, asked in turns. The prior has 12
experiences, 4 demonstrations and 100 biases. A figure is of one machine and one run: the ratios are what counts.
"""

import asyncio
import multiprocessing
import os
import platform
import sys
from dataclasses import replace
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import aiohttp
import orjson
import uvicorn

from benchmarks.client import MODEL, PRIOR
from benchmarks.load import load
from benchmarks.proxy import process
from tests.live import go_live
from tfgrpo.records import Demonstration
from tfgrpo.serve.proxy import Listening, RelayTarget, serve
from tfgrpo.serve.proxy.asgi import Receive, Scope, Send
from tfgrpo.serve.proxy.listening import listen

ROUNDS = 3
ANSWER = orjson.dumps(
    {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "BILL"}}], "usage": {}}
)


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    """An upstream that answers at once."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


class Bare:
    """The stack without us: the body read, sent on, the answer passed on, a watcher for callers who leave."""

    def __init__(self, base: str) -> None:
        self._url = f"{base}/chat/completions"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay one call."""
        if scope["type"] == "lifespan":
            await receive()
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._session.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        watcher = asyncio.create_task(receive())  # type: ignore[arg-type] # an awaitable that is a coroutine
        kept = [line for line in scope["headers"] if line[0] not in (b"host", b"content-length")]
        headers = [(name.decode(), value.decode()) for name, value in kept]
        async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
            await send({"type": "http.response.start", "status": response.status, "headers": response.raw_headers})
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body"})
        watcher.cancel()


def run_app(ready: Connection, kind: str, base: str) -> None:
    """The upstream or the bare relay, as a process."""
    app = answering if kind == "upstream" else Bare(base)
    with listen("127.0.0.1", 0) as listener:
        ready.send(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        config = uvicorn.Config(
            app, interface="asgi3", http="httptools", ws="none", log_level="warning", access_log=False,
            lifespan="off" if kind == "upstream" else "on", date_header=False, server_header=False,
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listener])


def run_proxy(ready: Connection, base: str, store: str) -> None:
    """The proxy, as a process."""
    serve([RelayTarget.parse(base)], store=store, listening=Listening(port=0), ready=ready.send)


def measure(named: dict[str, str], seconds: float) -> None:
    """Print the table."""
    body = orjson.dumps({"model": MODEL, "messages": [{"role": "user", "content": "word " * 200}]})
    print(f"{'':<26}{'1: median us':>14}{'32: a second':>14}{'failed':>8}")
    figures: dict[str, tuple[list[float], list[float], int]] = {name: ([], [], 0) for name in named}
    for _ in range(ROUNDS):
        for name, base in named.items():
            url = f"{base}/chat/completions"
            one, bad = load(url, body, connections=1, seconds=seconds)
            many, worse = load(url, body, connections=32, seconds=seconds)
            before = figures[name]
            figures[name] = ([*before[0], median(one)], [*before[1], len(many) / seconds], before[2] + bad + worse)
    for name, (latency, rate, failed) in figures.items():
        print(f"{name:<26}{median(latency) * 1e6:>14.0f}{median(rate):>14.0f}{failed:>8}")
    direct, bare, proxy = (figures[name] for name in named)
    print(f"added at the median: {(median(proxy[0]) - median(direct[0])) * 1e6:.0f} us")
    print(f"of the bare stack's throughput: {median(proxy[1]) / median(bare[1]):.0%}")


def main() -> None:
    """Start the processes and measure."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    shown = tuple(Demonstration(f"Where is invoice {number}?", "BILL") for number in range(4))
    prior = replace(PRIOR, experiences=PRIOR.experiences[:12], demonstrations=shown)
    names = ("uvicorn", "aiohttp", "httptools", "uvloop", "orjson")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()},", end=" ")
    print(", ".join(f"{name} {version(name)}" for name in names), f"{ROUNDS} rounds of {seconds:g} s")
    multiprocessing.set_start_method("spawn", force=True)
    with TemporaryDirectory() as folder:
        store = str(go_live(Path(folder) / "s.db", prior, model=MODEL))
        with (
            process(run_app, "upstream", "") as direct,
            process(run_app, "bare", direct) as bare,
            process(run_proxy, direct, store) as proxy,
        ):
            measure({"direct": direct, "bare stack": bare, "tfgrpo serve": proxy}, seconds)


if __name__ == "__main__":
    main()
