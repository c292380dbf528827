"""What an endpoint may send is bounded, whatever it packs, and no other host gets the request."""

import asyncio
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tfgrpo.errors import ModelError
from tfgrpo.model import bounded
from tfgrpo.model.connection import Connection
from tfgrpo.model.library import http
from tfgrpo.settings import Settings

ANSWER = {"choices": [{"message": {"role": "assistant", "content": "hi"}}]}


@contextmanager
def answering(status: int, headers: dict[str, str], body: bytes) -> Iterator[str]:
    """A server that gives the same answer to all; its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


async def _pause(seconds: float, *, busy: bool) -> None:
    pass


def asked(url: str) -> str:
    async def ask() -> str:
        connection = Connection(url, "sk-key", Settings(call_retries=0))
        try:
            return (await connection.complete("/chat/completions", {"model": "m", "messages": []}, _pause))[0]
        finally:
            await connection.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_within_bounds_is_read_packed_or_not(packed: bool) -> None:
    plain = json.dumps(ANSWER).encode()
    body, headers = (gzip.compress(plain), {"content-encoding": "gzip"}) if packed else (plain, {})
    with answering(200, {"content-type": "application/json", **headers}, body) as url:
        assert json.loads(asked(url)) == ANSWER


def test_an_answer_without_bounds_is_an_error_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MOST_OF_ONE", 1_000_000)
    bomb = gzip.compress(b" " * 50_000_000)
    for headers, body in (({"content-encoding": "gzip"}, bomb), ({}, b" " * 1_100_000)):
        with answering(200, headers, body) as url, pytest.raises(ModelError, match="more than 1,000,000 bytes"):
            asked(url)
    with (
        answering(200, {"content-encoding": "gzip"}, b"no gzip") as url,
        pytest.raises(ModelError, match="not what it"),
    ):
        asked(url)


def test_a_redirect_to_another_host_is_refused() -> None:
    with (
        answering(307, {"location": "http://localhost:9/v1/chat/completions"}, b"") as url,
        pytest.raises(ModelError, match="it redirects to another host, localhost"),
    ):
        asked(url)


async def test_a_redirect_from_tls_to_the_open_is_refused() -> None:
    def moved(request: http.Request) -> http.Response:
        return http.Response(307, headers={"location": "http://api.test/v1"})

    async with bounded.bound(http.AsyncClient(transport=http.MockTransport(moved))) as client:
        with pytest.raises(http.RemoteProtocolError, match="without TLS"):
            await client.post("https://api.test/v1", follow_redirects=True)
