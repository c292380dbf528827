"""How fast the proxy is beside the bare stack it is built on: the same libraries, relaying with no logic of ours.

    python -m benchmarks.proxy_speed [SECONDS]

Upstream, relays and load are processes of their own on this machine, asked in turns: directly, through nginx where it
is installed, the bare stack, the proxy, the proxy with recording on, and two workers of it. The prior has 12
experiences, 4 demonstrations and 100 biases. Streams are 64 at once, of 30 chunks at 2 ms. A figure is of one machine
and one run: the ratios are what counts.
"""

import asyncio
import multiprocessing
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
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
from tfgrpo.serve.writing import NOT_RECORDED, Recording

ROUNDS = 3
ANSWER = orjson.dumps(
    {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "BILL"}}], "usage": {}}
)


CHUNKS, CHUNK_SECONDS, STREAMS = 30, 0.002, 64
_EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "word "}}]}\n\n'


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    """An upstream that answers at once, or streams where it is asked to."""
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    if body.endswith(b'"stream":true}'):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for _ in range(CHUNKS):
            await asyncio.sleep(CHUNK_SECONDS)
            await send({"type": "http.response.body", "body": _EVENT, "more_body": True})
        await send({"type": "http.response.body"})
        return
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


def run_proxy(ready: Connection, base: str, store: str, workers: str = "1", share: str = "") -> None:
    """The proxy, as a process; it keeps that `share` of the calls' texts, if any."""
    recording = Recording(share=float(share)) if share else NOT_RECORDED
    at = Listening(port=0, workers=int(workers))
    serve([RelayTarget.parse(base)], store=store, listening=at, recording=recording, ready=ready.send)


@contextmanager
def nginx(base: str) -> Iterator[str]:
    """nginx with one worker, relaying to a base URL over connections that it keeps; yields its base URL."""
    with socket.socket() as free, TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        there = base.removeprefix("http://").removesuffix("/v1")
        (Path(folder) / "nginx.conf").write_text(
            f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream api {{ server {there}; keepalive 256; keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:{port};
    location / {{ proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }}
  }}
}}"""
        )
        running = subprocess.Popen(["nginx", "-p", folder, "-c", f"{folder}/nginx.conf"])
        try:
            _wait_for(port, running)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            running.terminate()
            running.wait()


def _wait_for(port: int, running: "subprocess.Popen[bytes]") -> None:
    while running.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("nginx does not start")


@dataclass
class Way:
    """What was measured of one way to the upstream, a figure a round."""

    median: list[float] = field(default_factory=list)
    """Seconds of a call, one at a time."""
    rate: list[float] = field(default_factory=list)
    """Calls a second, 32 at a time."""
    streams: list[float] = field(default_factory=list)
    """Streams a second."""
    failed: int = 0


def measured(named: Mapping[str, str], seconds: float) -> Mapping[str, Way]:
    """Every way, in turns."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "word " * 200}]}
    body, streaming = orjson.dumps(asked), orjson.dumps({**asked, "stream": True})
    ways = {name: Way() for name in named}
    for _ in range(ROUNDS):
        for name, base in named.items():
            url, way = f"{base}/chat/completions", ways[name]
            one, bad = load(url, body, connections=1, seconds=seconds)
            many, worse = load(url, body, connections=32, seconds=seconds)
            streams, broken = load(url, streaming, connections=STREAMS, seconds=seconds)
            way.median.append(median(one))
            way.rate.append(len(many) / seconds)
            way.streams.append(len(streams) / seconds)
            way.failed += bad + worse + broken
    return ways


def table(ways: Mapping[str, Way]) -> Iterator[str]:
    """The figures, as Markdown."""
    yield "| | median, us | added, us | 32 at a time, a second | of the bare stack | 64 streams, a second | failed |"
    yield "|---|---|---|---|---|---|---|"
    first, bare = next(iter(ways.values())), ways["bare stack"]
    for name, way in ways.items():
        added, share = median(way.median) - median(first.median), median(way.rate) / median(bare.rate)
        figures = f"{median(way.median) * 1e6:.0f} | {added * 1e6:.0f} | {median(way.rate):,.0f} | {share:.0%}"
        yield f"| {name} | {figures} | {median(way.streams):,.0f} | {way.failed} |"
    yield ""
    yield f"64 streams, where nothing takes time: {STREAMS / (CHUNKS * CHUNK_SECONDS):,.0f} a second"


def compare(folder: Path, seconds: float) -> Mapping[str, Way]:
    """Start the processes, and measure each way."""
    shown = tuple(Demonstration(f"Where is invoice {number}?", "BILL") for number in range(4))
    prior = replace(PRIOR, experiences=PRIOR.experiences[:12], demonstrations=shown)
    store, kept = (str(go_live(folder / name, prior, model=MODEL)) for name in ("s.db", "kept.db"))
    with ExitStack() as running:
        direct = running.enter_context(process(run_app, "upstream", ""))
        ways = {"direct": direct}
        if shutil.which("nginx"):
            ways["nginx"] = running.enter_context(nginx(direct))
        ways["bare stack"] = running.enter_context(process(run_app, "bare", direct))
        ways["tfgrpo serve"] = running.enter_context(process(run_proxy, direct, store))
        ways["... recording all"] = running.enter_context(process(run_proxy, direct, kept, "1", "1"))
        if hasattr(socket, "SO_REUSEPORT"):
            ways["... two workers"] = running.enter_context(process(run_proxy, direct, store, "2"))
        return measured(ways, seconds)


def machine() -> str:
    """What was measured on, and how busy it was."""
    names = ("uvicorn", "aiohttp", "httptools", "uvloop", "orjson")
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    busy = f"load {os.getloadavg()[0]:.1f}"
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {libraries}, {busy}"


def main() -> None:
    """Start the processes, measure, and print the table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    print(f"{machine()}; {ROUNDS} rounds of {seconds:g} s", flush=True)
    multiprocessing.set_start_method("spawn", force=True)
    with TemporaryDirectory() as folder:
        print("\n".join(table(compare(Path(folder), seconds))))


if __name__ == "__main__":
    main()
