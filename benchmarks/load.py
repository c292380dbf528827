"""A load generator that costs little: connections that send the same request again and again, and wait for the answer.

What wrk does, where there is none: httptools reads the answers, uvloop moves the bytes, and nothing else happens.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop


class _Caller(asyncio.Protocol):
    def __init__(self, request: bytes, done: Callable[["_Caller", float], bool]) -> None:
        self._request, self._done = request, done
        self.status = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is none by name
        self._send()

    def _send(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._began = perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self._done(self, perf_counter() - self._began):
            asyncio.get_running_loop().call_soon(self._send)
        else:
            self._transport.close()


def load(url: str, body: bytes, *, connections: int, seconds: float, headers: str = "") -> tuple[list[float], int]:
    """POST a body over so many connections for so long; the latencies in seconds, and how many were no 200."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer sk-test\r\nuser-agent: load\r\naccept: */*\r\n{headers}"
        f"content-length: {len(body)}\r\n\r\n"
    )

    async def run() -> tuple[list[float], int]:
        loop, latencies, failed = asyncio.get_running_loop(), list[float](), [0]
        until, over, left = perf_counter() + seconds, asyncio.Event(), [connections]

        def done(caller: _Caller, took: float) -> bool:
            latencies.append(took)
            failed[0] += caller.status != 200
            if perf_counter() < until:
                return True
            left[0] -= 1
            if not left[0]:
                over.set()
            return False

        for _ in range(connections):
            await loop.create_connection(
                lambda: _Caller(head.encode() + body, done), parts.hostname or "", parts.port or 80
            )
        await asyncio.wait_for(over.wait(), seconds + 10)
        return latencies, failed[0]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())
