"""What a caller gets through the proxy is what it gets of the upstream itself: status, headers, bytes, and the end."""

import asyncio
import gzip
import io
import json
import re
import socket
from http.client import HTTPResponse, IncompleteRead
from typing import Any, NamedTuple

import pytest

from tests.serve.fronts import BODY, CHAT, Serve, soon
from tests.serve.test_faults import raw

_OF_ONE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "trailer"}
_RESETS = b"\x01\0\0\0\0\0\0\0"
_PACKED = gzip.compress(b'{"choices": []}' * 500)
_EVENTS = (b'data: {"a": "\xc3', b'\xa9"}\r\n', b"\r\n: so\n\ndata: [DO", b"NE]\n\n")


def _long(body: bytes, *headers: bytes, status: bytes = b"200 OK", version: bytes = b"1.1") -> bytes:
    lines = b"".join(line + b"\r\n" for line in (*headers, b"content-length: %d" % len(body)))
    return b"HTTP/%b %b\r\n%b\r\n%b" % (version, status, lines, body)


def _chunked(*parts: bytes, headers: bytes = b"", trailers: bytes = b"") -> tuple[bytes, ...]:
    head = b"HTTP/1.1 200 OK\r\n%btransfer-encoding: chunked\r\n\r\n" % headers
    return head, *(b"%x\r\n%b\r\n" % (len(part), part) for part in parts), b"0\r\n%b\r\n" % trailers


_GZIP, _SSE = b"content-encoding: gzip\r\n", b"content-type: text/event-stream\r\n"
_OPEN = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
ANSWERS: dict[str, tuple[bytes, ...]] = {
    "plain": (_long(b"{}"),),
    "byte by byte": tuple(bytes((one,)) for one in _long(b"{}")),
    "packed": (_long(_PACKED, _GZIP[:-2]),),
    "packed in parts": _chunked(_PACKED[:30], _PACKED[30:60], _PACKED[60:], headers=_GZIP),
    "not packed as it says": (_long(b"{}", _GZIP[:-2]),),
    "packed, cut off": (_long(_PACKED[:-9], _GZIP[:-2]),),
    "packed in a way unknown": (_long(b"\x0b\x02\x80{}\x03", b"content-encoding: br"),),
    "packed stream": _chunked(gzip.compress(b"".join(_EVENTS)), headers=_GZIP + _SSE),
    "stream": _chunked(*_EVENTS, headers=_SSE),
    "nothing": (_long(b""),),
    "no chunk": _chunked(),
    "no content": (b"HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n",),
    "not modified": (b'HTTP/1.1 304 Not Modified\r\netag: "e"\r\ncontent-length: 12\r\n\r\n',),
    "trailers": _chunked(b"{}", headers=b"trailer: x-sum\r\n", trailers=b"x-sum: 1\r\n"),
    "chunk extensions": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n2;a=b\r\n{}\r\n0;c\r\n\r\n",),
    "announced": (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", _long(b"{}")),
    "of HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\n", b"all ", b"of it"),
    "of HTTP/1.0 with a length": (_long(b"{}", version=b"1.0"),),
    "to the end": (_OPEN, b"all ", b"of it"),
    "to a reset": (_OPEN, b"all ", b"of it", _RESETS),
    "too short": (b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf",),
    "too short, reset": (b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf", _RESETS),
    "too long": (_long(b"{}") + b"and more",),
    "half a chunk": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc",),
    "no last chunk": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",),
    "headers twice": (_long(b"{}", b"set-cookie: a=1", b"set-cookie: b=2", b"x-d: 1", b"X-D: 2", status=b"401 No"),),
    "odd headers": (
        _long(b"{}", b"x-empty:", b"x-latin: \xe9\ta  b", b"x-c: a: b", b"x!#$%&'*+.^_`|~: t", b"date: x"),
    ),
    "headers of the connection": (_long(b"{}", b"connection: x-hop", b"x-hop: 1", b"keep-alive: timeout=5"),),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}",),
    "elsewhere": (_long(b"", b"location: http://example.com/x", status=b"307 There"),),
    "a part": (_long(b"abc", b"content-range: bytes 0-2/9", status=b"206 Part"),),
    "much": (_long(b"x" * 1_000_000),),
    "much in chunks": _chunked(*[b"y" * 300_000] * 3),
    "zeros before its length": (b"HTTP/1.1 200 OK\r\ncontent-length: 0002\r\n\r\n{}",),
    **{
        str(status): (_long(b'{"error": {}}', b"retry-after: 3", status=b"%d So" % status),)
        for status in (201, 299, 300, 404, 413, 429, 499, 500, 599)
    },
    "500 in parts": (b"HTTP/1.1 500 No\r\n" + _GZIP + b"content-length: %d\r\n\r\n" % len(_PACKED), _PACKED),
}


class Got(NamedTuple):
    """What came to a caller, if it came to an end."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


_BROKEN = Got()


async def _upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers as it is asked to, once the request is whole, and closes."""
    head = await reader.readuntil(b"\r\n\r\n")
    if length := re.search(rb"(?i)content-length: (\d+)", head):
        await reader.readexactly(int(length[1]))
    case = re.search(rb"x-case: ([^\r]+)", head)
    assert case
    for part in ANSWERS[case[1].decode()]:
        if part is _RESETS:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
        else:
            writer.write(part)
            await writer.drain()


class _Said:
    def __init__(self, said: bytes) -> None:
        self._said = said

    def makefile(self, mode: str) -> io.BytesIO:
        """As of a socket."""
        return io.BytesIO(self._said)


async def _asked(address: str, request: bytes, method: str) -> Got:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    writer.write(request)
    try:
        said = await soon(reader.read())
    except ConnectionResetError:
        return _BROKEN
    finally:
        writer.close()
    found: Any = _Said(said)
    response = HTTPResponse(found, method=method)
    response.begin()
    try:
        body = response.read()
    except IncompleteRead:
        return _BROKEN
    bodiless = response.status in (204, 304)
    lines = [(name.lower(), value.strip()) for name, value in response.getheaders()]
    kept = [
        line
        for line in lines
        if line[0] not in _OF_ONE_CONNECTION | {"x-hop"} and not line[0].startswith("x-tfgrpo-")
        if not (bodiless and line[0] == "content-length")
    ]
    return Got(response.status, tuple(sorted(kept)), body)


@pytest.mark.parametrize(
    ("line", "headers"),
    [
        ("GET /v1/models HTTP/1.1", ""),
        (f"POST {CHAT} HTTP/1.1", "Accept-Encoding: gzip, br\r\n"),
        (f"POST {CHAT} HTTP/1.0", ""),
    ],
)
async def test_each_answer_is_as_the_upstream_gives_it(line: str, headers: str, front: Serve) -> None:
    method = line.partition(" ")[0]
    body = json.dumps(BODY) if method == "POST" else ""
    async with raw(_upstream) as address:
        at = await front(address)
        for case in ANSWERS:
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            request = f"{line}\r\nHost: 127.0.0.1\r\nConnection: close\r\nx-case: {case}\r\n{headers}{length}\r\n{body}"
            direct, through = [await _asked(place, request.encode(), method) for place in (address, at.address)]
            assert (case, through) == (case, direct)
