"""Connections to upstreams: which are used again, what ends an answer, and how they come about."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohappyeyeballs
import httpx2
import pytest

from tests.certificates import certificate
from tests.serve.fronts import BODY, CHAT, PATIENCE, Recorder, Serve, soon
from tests.serve.test_faults import Handler, raw, request_of
from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.http1.answers import AnswerBroken
from tfgrpo.http1.connections import UpstreamConnections
from tfgrpo.http1.dialing import ForwardProxy, UpstreamSite
from tfgrpo.http1.outgoing import AT_ONCE, outgoing
from tfgrpo.serve.proxy import Limits, RelayTarget

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Counting:
    """An upstream that counts its connections, and answers each request of one with the next of some bytes."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.requests: list[bytes] = []
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for answer in self.answers:
            self.requests.append(await request_of(reader))
            writer.write(answer)
            await writer.drain()


async def answered(front: Serve, *answers: bytes, method: str = "GET", calls: int = 2) -> tuple[list[object], int]:
    """What a caller gets of such an upstream, call by call, and how many connections it took."""
    upstream = Counting(*answers)
    async with raw(upstream) as address:
        at = await front(address)
        got: list[object] = []
        for _ in range(calls):
            response = await at.outside.request(method, "/v1/models")
            got.append((response.status_code, response.content))
            await asyncio.sleep(0.01)
    return got, upstream.connections


@pytest.mark.parametrize(
    ("answer", "method", "got", "connections"),
    [
        (OK, "GET", (200, b"{}"), 1),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx-sum: 1\r\n\r\n",
            "GET",
            (200, b"{}"),
            1,
        ),
        (b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" + OK, "GET", (200, b"{}"), 1),
        (b"HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\n", "GET", (204, b""), 1),
        (b"HTTP/1.1 304 No\r\ncontent-length: 5\r\n\r\n", "GET", (304, b""), 1),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "HEAD", (200, b""), 1),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", "GET", (200, b"{}"), 2),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}", "GET", (200, b"{}"), 2),
        (OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen", "GET", (200, b"{}"), 2),
        (OK + b"junk", "GET", (200, b"{}"), 2),
        (b"HTTP/1.1 200 OK\ncontent-length: 2\n\n{}", "GET", (200, b"{}"), 1),
    ],
)
async def test_an_answer_ends_where_it_ends_and_its_connection_is_used_again_where_it_can_be(
    answer: bytes, method: str, got: object, connections: int, front: Serve
) -> None:
    assert await answered(front, answer, answer, method=method) == ([got, got], connections)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_001 + b"\r\n",
        b"HTTP/1.1 999 No\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 099 No\r\ncontent-length: 2\r\n\r\n{}" + OK,
    ],
)
async def test_what_is_no_answer_is_a_502(answer: bytes, front: Serve) -> None:
    async with raw(Counting(answer)) as address:
        response = await (await front(address)).outside.get("/v1/models")
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_unreachable")


async def test_trailers_without_end_break_an_answer_off() -> None:
    sent: list[int] = []

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx: ")
        while len(sent) < 100:
            writer.write(b"y" * 100_000)
            await writer.drain()
            sent.append(100_000)

    async with raw(endless) as address:
        site = UpstreamSite.of(address, None)
        connections = UpstreamConnections(Limits(), [site])
        answer = await connections.ask(site, outgoing(site, "GET", b"/", [], None))
        assert await soon(answer.read()) == b"{}"
        with pytest.raises(AnswerBroken, match="too long"):
            await soon(answer.read())
    assert len(sent) < 100


@pytest.mark.parametrize("framing", [b"", b"transfer-encoding: identity\r\n"])
async def test_an_answer_without_a_length_ends_with_its_connection(framing: bytes, front: Serve) -> None:
    got, connections = await answered(front, b"HTTP/1.1 200 OK\r\n%b\r\nall of it" % framing)
    assert (got, connections) == ([(200, b"all of it")] * 2, 2)


@pytest.mark.parametrize(("method", "statuses"), [("GET", [200, 200]), ("POST", [200, 502])])
async def test_a_request_goes_once_more_only_where_it_may_and_nothing_came_back(
    method: str, statuses: list[int], front: Serve
) -> None:
    seen: list[bytes] = []

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))
        writer.write(OK)
        seen.append(await request_of(reader))  # and then it closes, as if it had been about to

    async with raw(closing) as address:
        at = await front(address)
        got = [(await at.outside.request(method, "/v1/embeddings")).status_code for _ in range(2)]
    assert got == statuses
    assert len(seen) == (3 if method == "GET" else 2)


@asynccontextmanager
async def asking(address: str) -> AsyncIterator[Callable[[bytes], Awaitable[bytes]]]:
    """A function that posts a body to an upstream, with no proxy around the connections, and returns the answer's."""
    site = UpstreamSite.of(address, None)
    connections = UpstreamConnections(Limits(), [site])

    async def ask(body: bytes) -> bytes:
        return await (await connections.ask(site, outgoing(site, "POST", b"/", [], body))).read()

    yield ask
    connections.close()


async def test_what_came_unasked_since_the_last_answer_is_nobodys_answer() -> None:
    upstreams: list[int] = []

    async def talkative(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstreams.append(writer.get_extra_info("socket").fileno())
        await request_of(reader)
        writer.write(OK)
        await reader.read()

    async with raw(talkative) as address, asking(address) as ask:
        assert await ask(b"") == b"{}"
        os.write(upstreams[0], b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen")  # the loop has not read it yet
        assert await ask(b"") == b"{}"
    assert len(upstreams) == 2


async def test_a_connection_over_which_a_request_has_not_gone_whole_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect = aiohappyeyeballs.start_connection

    async def narrow(*given: Any, **named: Any) -> socket.socket:
        made = await connect(*given, **named)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        return made

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        cast(asyncio.Transport, writer.transport).pause_reading()  # or it would take the body for requests
        writer.write(OK)
        await writer.wait_closed()

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", narrow)
    async with raw(hasty) as address, asking(address) as ask:
        assert [await soon(ask(b"x" * AT_ONCE)) for _ in range(2)] == [b"{}", b"{}"]


async def test_an_upload_ends_early_where_the_upstream_has_answered_and_its_connection_is_let_go(front: Serve) -> None:
    more = asyncio.Event()

    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Long\r\ncontent-length: 2\r\n\r\nno")
        await writer.drain()
        assert await reader.read(-1) is not None  # to the end of the connection
        more.set()

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 1_000
        await soon(more.wait())
        yield b"y"

    async with raw(refusing) as address:
        response = await (await front(address)).outside.post("/v1/files", content=body())
    assert (response.status_code, response.content) == (413, b"no")


async def test_an_upload_may_take_longer_than_an_answer_may_take_to_begin(front: Serve) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(1.2)
        yield b"y"

    response = await (await front(Recorder(), first_byte=0.8)).outside.post("/v1/files", content=body())
    assert response.status_code == 200


async def test_a_long_body_arrives_whole(front: Serve) -> None:
    upstream = Recorder()
    at = await front(upstream)
    await at.outside.post(CHAT, content=b"x" * 3_000_000)
    assert upstream.bodies == [b"x" * 3_000_000]


# How they come about


@asynccontextmanager
async def forward_proxy(seen: list[bytes]) -> AsyncIterator[str]:
    """An HTTP proxy that opens tunnels, and answers whatever else it is asked itself."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await request_of(reader)
        seen.append(head)
        if not head.startswith(b"CONNECT"):
            writer.write(OK)
            await writer.drain()
            return
        host, _, port = head.split(b" ")[1].rpartition(b":")
        there, onward = await asyncio.open_connection(host.decode(), int(port))
        writer.write(b"HTTP/1.1 200 Established\r\n\r\n")
        await asyncio.gather(_pass(reader, onward), _pass(there, writer))

    async with raw(handle) as address:
        yield address


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Handler], Awaitable[asyncio.Server]]:
    """A function that serves over TLS at `localhost`, by a certificate that is trusted here."""
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)

    async def serve(handler: Handler) -> asyncio.Server:
        return await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)

    return serve


@pytest.mark.parametrize("through", [False, True])
async def test_an_upstream_is_reached_over_tls_through_a_tunnel_too(
    through: bool,
    certified: Callable[[Handler], Awaitable[asyncio.Server]],
    front: Serve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream, seen = Counting(OK, OK), list[bytes]()
    async with await certified(upstream) as server, forward_proxy(seen) as proxy:
        port = server.sockets[0].getsockname()[1]
        if through:
            given = proxy.replace("http://", "http://me:pa%20ss@")
            monkeypatch.setattr(RelayTarget, "forward_proxy", lambda target: given)
        at = await front(f"https://localhost:{port}")
        assert [(await at.outside.post(CHAT, json=BODY)).status_code for _ in range(2)] == [200, 200]
        strange = await (await front(f"https://127.0.0.1:{port}")).outside.post(CHAT, json=BODY)
    assert (strange.status_code, "does not verify" in strange.text) == (502, True)
    assert upstream.connections == 1
    assert f"host: localhost:{port}\r\n".encode() in upstream.requests[0]
    assert b"proxy-authorization" not in b"".join(upstream.requests)
    tunnels = [b"proxy-authorization: Basic bWU6cGEgc3M=" in head for head in seen]
    assert tunnels == ([True, True] if through else [])


async def test_an_upstream_without_tls_is_asked_for_by_its_url(front: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    async with forward_proxy(seen) as proxy:
        monkeypatch.setattr(RelayTarget, "forward_proxy", lambda target: proxy)
        at = await front("http://api.example:8000")
        assert (await at.outside.post("/v1/embeddings?a=b", json=BODY)).status_code == 200
    assert seen[0].startswith(b"POST http://api.example:8000/v1/embeddings?a=b HTTP/1.1\r\nhost: api.example:8000\r\n")


async def test_a_proxy_that_refuses_a_tunnel_is_told_of(front: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw(Counting(b"HTTP/1.1 407 Who\r\ncontent-length: 0\r\n\r\n")) as proxy:
        monkeypatch.setattr(RelayTarget, "forward_proxy", lambda target: proxy)
        response = await (await front("https://api.example")).outside.post(CHAT, json=BODY)
    assert response.status_code == 502
    assert "the proxy of the environment answers 407" in response.json()["error"]["message"]


@each(
    ("base", "named"),
    [
        ("http://host:80/v1", b"host"),
        ("https://host/v1", b"host"),
        ("http://host:443", b"host:443"),
        ("http://[::1]:8080/v1", b"[::1]:8080"),
        ("http://bücher.example/v1", b"xn--bcher-kva.example"),
    ],
)
def test_a_host_is_named_as_browsers_name_it(base: str, named: bytes) -> None:
    assert UpstreamSite.of(base, None).named == named


def test_what_is_no_http_proxy_is_refused() -> None:
    assert ForwardProxy.parse("corp:3128") == ForwardProxy("corp", 3128)
    with pytest.raises(InputError, match="socks5"):
        ForwardProxy.parse("socks5://corp:1080")
    for given in ("http://me:sec/ret@corp:3128", "http://me:sec#ret@corp:3128", "http://me:secret@corp:port"):
        with pytest.raises(InputError, match="HOST:PORT") as refused:
            ForwardProxy.parse(given)
        assert "sec" not in str(refused.value)


async def test_a_caller_who_leaves_ends_the_exchange_upstream_at_once(front: Serve) -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        begun.set()
        await reader.read()
        gone.set()

    async with raw(silent) as address:
        at = await front(address)
        async with httpx2.AsyncClient(base_url=at.address, timeout=PATIENCE) as caller:
            call = asyncio.create_task(caller.post(CHAT, json=BODY))
            await soon(begun.wait())
            call.cancel()
        await soon(gone.wait())
