"""The ways to an upstream that `proxy_speed` compares, each a process on cores of its own: the bare stack, nginx, other
gateways, and `tfgrpo serve`, before an upstream that costs next to nothing.
"""

import asyncio
import multiprocessing
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import aiohttp
import httptools
import orjson
import uvicorn
import uvloop

from tfgrpo.serve.proxy.asgi import Receive, Scope, Send
from tfgrpo.serve.proxy.listening import listen

CHUNKS, CHUNK_SECONDS = 30, 0.002
ANSWER = orjson.dumps(
    {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "BILL"}}], "usage": {}}
)
_WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "word "}}]}\n\n'
_CHUNK = b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT)

_SETTLING_SECONDS, _IDLE = 30.0, 0.01
"""For what is left to be done after a load, and what a process that does nothing computes in half a second."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which of the machine's cores have what to do."""

    relay: int
    """Of whatever relays, alone where there are two."""
    second: int
    """Of a second worker."""
    upstream: int
    load: int

    @classmethod
    def found(cls) -> "Cores":
        """One of each physical core that this process may use; of two cores the second has all but the relay."""
        seen: dict[str, int] = {}
        for core in sorted(os.sched_getaffinity(0)):
            siblings = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
            seen.setdefault(siblings.read_text() if siblings.exists() else str(core), core)
        free = list(seen.values())
        if len(free) >= 4:
            return cls(*free[-4:])  # the first cores have the system's interrupts
        return cls(free[0], free[-1], free[-1], free[-1])

    def __str__(self) -> str:
        shared = "" if len({*self.two, self.upstream, self.load}) == 4 else "; upstream and load share one"
        return f"relay on core {self.relay}, upstream on {self.upstream}, load on {self.load}{shared}"

    @property
    def two(self) -> Sequence[int]:
        """Of two workers."""
        return self.relay, self.second


@contextmanager
def on(cores: Iterable[int]) -> Iterator[None]:
    """What is started within runs on these cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Way:
    """A base URL, and the process behind it."""

    base: str
    pid: int
    headers: str = ""
    """Further lines that a request needs here."""

    def cpu_seconds(self) -> float:
        """What the process and those that it started have computed."""
        return sum(map(_cpu_seconds, _family(self.pid)))

    def megabytes(self) -> float:
        """The largest memory that one of these processes had."""
        return max(map(_megabytes, _family(self.pid)))

    def settle(self) -> None:
        """Wait until it computes nothing: what was recorded under load is written down after it, on the same core."""
        until, before = time.monotonic() + _SETTLING_SECONDS, -1.0
        while time.monotonic() < until and (now := self.cpu_seconds()) - before > _IDLE:
            before = now
            time.sleep(0.5)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@contextmanager
def process(cores: Iterable[int], target: Callable[..., None], *arguments: str) -> Iterator[Way]:
    """Run one of those below on some cores."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=target, args=(theirs, *arguments))
    with on(cores):
        child.start()
    theirs.close()  # so that one which dies is noticed
    try:
        yield Way(ours.recv(), child.pid or 0)
    finally:
        child.terminate()
        child.join()


class Upstream(asyncio.Protocol):
    """Answers at once, or streams where it is asked to: each chunk at its own time, however late the last one was."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is none by name
        self._parser = httptools.HttpRequestParser(self)
        self._streams = False

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._streams = self._streams or b'"stream":true' in body

    def on_message_complete(self) -> None:
        if not self._streams:
            self._transport.write(_WHOLE)
            return
        self._streams = False
        self._transport.write(_STREAM)
        self._send(asyncio.get_running_loop().time() + CHUNK_SECONDS, CHUNKS)

    def _send(self, due: float, left: int) -> None:
        if left:
            asyncio.get_running_loop().call_at(due, self._chunk, due, left)
        else:
            self._transport.write(b"0\r\n\r\n")

    def _chunk(self, due: float, left: int) -> None:
        if not self._transport.is_closing():
            self._transport.write(_CHUNK)
            self._send(due + CHUNK_SECONDS, left - 1)


def run_upstream(ready: Connection) -> None:
    """The upstream, as a process."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=2048)
        ready.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        await server.serve_forever()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


class _Bare:
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
        watcher = asyncio.ensure_future(receive())
        kept = [line for line in scope["headers"] if line[0] not in (b"host", b"content-length")]
        headers = [(name.decode(), value.decode()) for name, value in kept]
        async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
            await send({"type": "http.response.start", "status": response.status, "headers": response.raw_headers})
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body"})
        watcher.cancel()


def run_bare(ready: Connection, base: str) -> None:
    """The bare relay, as a process."""
    with listen("127.0.0.1", 0) as listener:
        ready.send(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        config = uvicorn.Config(
            _Bare(base), interface="asgi3", http="httptools", ws="none", log_level="warning", access_log=False,
            lifespan="on", date_header=False, server_header=False,
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def proxy(cores: Iterable[int], base: str, store: str, *options: str) -> Iterator[Way]:
    """`tfgrpo serve`, with further options."""
    port = free_port()
    command = [sys.executable, "-m", "tfgrpo", "serve", "--upstream", base, "--store", store, "--port", str(port)]
    with program(cores, [*command, *options], port) as way:
        yield way


@contextmanager
def nginx(cores: Iterable[int], base: str) -> Iterator[Way]:
    """nginx with one worker, relaying to a base URL over connections that it keeps."""
    there = base.removeprefix("http://").removesuffix("/v1")
    with TemporaryDirectory() as folder:
        port = free_port()
        (Path(folder) / "nginx.conf").write_text(
            f"""daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit;
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
        with program(cores, ["nginx", "-p", folder, "-c", f"{folder}/nginx.conf"], port) as way:
            yield way


@contextmanager
def gateway(cores: Iterable[int], command: str, base: str) -> Iterator[Way]:
    """Another gateway; in its command {base} stands for the upstream, {port} for where it is to listen.

    Portkey's is told of the upstream by headers, which others ignore.
    """
    port = free_port()
    with program(cores, shlex.split(command.format(base=base, port=port)), port) as way:
        yield replace(way, headers=f"x-portkey-provider: openai\r\nx-portkey-custom-host: {base}\r\n")


@contextmanager
def program(cores: Iterable[int], command: Sequence[str], port: int) -> Iterator[Way]:
    """Run a program that listens on a port."""
    with on(cores):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while running.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                time.sleep(0.05)
            else:
                break
        else:
            raise SystemExit(f"{command[0]} does not start")
        yield Way(f"http://127.0.0.1:{port}/v1", running.pid)
    finally:
        running.terminate()
        running.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
