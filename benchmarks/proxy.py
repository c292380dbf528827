"""What the proxy costs per request: an upstream asked directly and through `tfgrpo serve`, side by side.

    python -m benchmarks.proxy [REQUESTS]

Upstream, proxy and caller are three processes on this machine; the upstream answers at once. Single requests alternate
between both ways; then both are asked by 32 callers at a time. The prior has 20 experiences and 100 token biases.
"""

import asyncio
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

import aiohttp
import orjson
import uvicorn

from benchmarks.client import MODEL, live_store
from tfgrpo.serve.proxy import Listening, RelayTarget, Serving, serve
from tfgrpo.serve.proxy.asgi import Receive, Scope, Send
from tfgrpo.serve.proxy.listening import listen

CALLERS = 32
CHUNKS = 50
_ANSWER = orjson.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "BILL"}}]})
_EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "word "}}]}\n\n'


async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers at once: 50 events to a body that asks for a stream, else one JSON object."""
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    for _ in range(CHUNKS if b'"stream":true' in body else 0):
        await send({"type": "http.response.body", "body": _EVENT, "more_body": True})
    await send({"type": "http.response.body", "body": _ANSWER})


def run_upstream(ready: Connection) -> None:
    """The upstream, as a process."""
    with listen("127.0.0.1", 0) as listener:
        ready.send(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        config = uvicorn.Config(upstream, interface="asgi3", log_level="warning", access_log=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[listener])


def run_proxy(ready: Connection, base: str, store: str) -> None:
    """The proxy, as a process."""
    serve(Serving([RelayTarget.parse(base)], Path(store), listening=Listening(port=0)), ready=ready.send)


@contextmanager
def process(target: Callable[..., None], *arguments: str) -> Iterator[str]:
    """Run one of the above; yields its base URL."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=target, args=(theirs, *arguments))
    child.start()
    try:
        yield ours.recv()
    finally:
        child.terminate()
        child.join()


async def seconds(session: aiohttp.ClientSession, base: str, body: bytes) -> float:
    """How long one request takes, to its last byte."""
    start = perf_counter()
    async with session.post(f"{base}/chat/completions", data=body) as response:
        await response.read()
    return perf_counter() - start


async def one_by_one(bases: tuple[str, str], body: bytes, requests: int) -> None:
    """Requests that alternate between both ways: latency."""
    async with aiohttp.ClientSession() as session:
        for base in bases * 50:
            await seconds(session, base, body)
        pairs = [[await seconds(session, base, body) for base in bases] for _ in range(requests)]
    line("  direct", [direct for direct, _ in pairs])
    line("  through the proxy", [through for _, through in pairs])
    line("  difference", [through - direct for direct, through in pairs])


async def all_at_once(base: str, body: bytes, requests: int) -> float:
    """Requests a second with CALLERS callers."""
    left = iter(range(requests))

    async def caller(session: aiohttp.ClientSession) -> None:
        for _ in left:
            await seconds(session, base, body)

    async with aiohttp.ClientSession() as session:
        start = perf_counter()
        await asyncio.gather(*(caller(session) for _ in range(CALLERS)))
        return requests / (perf_counter() - start)


def line(name: str, samples: list[float]) -> None:
    """Median, middle half and 99th percentile, in microseconds."""
    low, _, high = quantiles(samples, n=4)
    figures = (median(samples), low, high, quantiles(samples, n=100)[-1])
    print(f"{name:<34}" + "".join(f"{figure * 1e6:>9.0f}" for figure in figures) + f"{len(samples):>8}")


async def measure(bases: tuple[str, str], requests: int) -> None:
    """Print the table."""
    print(f"{'microseconds a request':<34}{'median':>9}{'25%':>9}{'75%':>9}{'99%':>9}{'n':>8}")
    for title, kilobytes, stream in (("1 KB", 1, False), ("100 KB", 100, False), (f"{CHUNKS} events", 1, True)):
        messages = [{"role": "user", "content": "word " * (kilobytes * 205)}]
        body = orjson.dumps({"model": MODEL, "messages": messages, "stream": stream})
        print(title)
        await one_by_one(bases, body, requests)
        rates = [round(await all_at_once(base, body, requests)) for base in bases]
        print(f"  {CALLERS} at a time, a second: direct {rates[0]}, through the proxy {rates[1]} (n = {requests})")


def main() -> None:
    """Start the processes and measure."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    with TemporaryDirectory() as folder:
        store = str(live_store(Path(folder) / "s.db"))
        with process(run_upstream) as direct, process(run_proxy, direct, store) as through:
            asyncio.run(measure((direct, through), requests))


if __name__ == "__main__":
    main()
