"""In front of the embedded model: POST /v1/decisions is answered here, all else goes on to llama.cpp.

It goes as it is, but for what an assistant said in the input of POST /v1/responses: OpenAI takes it as a text, and
llama.cpp only as an item with its type.

It serves this machine alone, one thread a connection: an answer of the model takes longer than any of this.
"""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from ...errors import InputError, LocalModelError, ModelError
from ...records import JSON
from .decisions import Decider

_HOST = "127.0.0.1"
_CHUNK = 65_536
_LARGEST = 32_000_000
"""Bytes of a request at most."""
_HOPS = frozenset(("connection", "keep-alive", "transfer-encoding", "host", "content-length"))


@contextmanager
def decisions_front(base_url: str, model: str, *, port: int = 0, slots: int = 1) -> Iterator[str]:
    """The base URL of a front before the llama.cpp server at `base_url`; raises LocalModelError for a port in use."""
    root = base_url.removesuffix("/v1")
    try:
        server = _Front((_HOST, port), Decider(root, model, slots))
    except OSError as error:
        raise LocalModelError(f"cannot listen on port {port} ({error.strerror}); choose another, or 0") from error
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{_HOST}:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def with_typed_answers(content: bytes) -> bytes:
    """The body of a request for a response, in which what an assistant said as a text is an item with its type."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return content
    items = body.get("input") if isinstance(body, dict) else None
    if not isinstance(items, list):
        return content
    return json.dumps({**body, "input": [_typed(item) for item in items]}).encode()


def _typed(item: JSON) -> JSON:
    if not (isinstance(item, dict) and item.get("role") == "assistant" and isinstance(item.get("content"), str)):
        return item
    return {**item, "type": "message", "content": [{"type": "output_text", "text": item["content"]}]}


class _Front(ThreadingHTTPServer):
    """The server, and who decides for it."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], decider: Decider) -> None:
        super().__init__(address, _Handler)
        self.decider = decider

    def handle_error(self, request: Any, client_address: Any) -> None:
        """As for any server, but nothing of callers who have hung up."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection of a caller."""

    protocol_version = "HTTP/1.1"
    server: _Front  # pyrefly: ignore[bad-override-mutable-attribute]  # only such a server has it

    def do_GET(self) -> None:
        """Go on to the model."""
        self._relay()

    def do_POST(self) -> None:
        """Decide, or go on to the model."""
        if self.path.partition("?")[0].rstrip("/") == "/v1/decisions":
            self._decide()
        else:
            self._relay()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what callers ask is theirs."""

    def _decide(self) -> None:
        try:
            body = json.loads(self._body())
        except (ValueError, RecursionError):
            return self._error(400, "the request is not JSON")
        try:
            self._answer(200, self.server.decider.decide(body))
        except InputError as error:
            self._error(400, str(error))
        except RecursionError:
            self._error(400, "the request is nested too deeply")
        except (ModelError, LookupError, TypeError) as error:
            self._error(502, str(error) or type(error).__name__)

    def _body(self) -> bytes:
        """The request's body; nothing where it is too long, or comes in pieces, which no SDK of this API sends."""
        length = self.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > _LARGEST or "transfer-encoding" in self.headers:
            self.close_connection = True
            return b""
        return self.rfile.read(int(length))

    def _error(self, status: int, message: str) -> None:
        kind = "invalid_request_error" if status == 400 else "server_error"
        self._answer(status, {"error": {"message": message, "type": kind, "param": None, "code": None}})

    def _answer(self, status: int, value: JSON) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _relay(self) -> None:
        connection = HTTPConnection(urlsplit(self.server.decider.root).netloc)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOPS}
        body = self._body()
        if self.path.partition("?")[0].rstrip("/") == "/v1/responses":
            body = with_typed_answers(body)
        try:
            connection.request(self.command, self.path, body or None, headers)
            self._pass_on(connection.getresponse())
        except (OSError, HTTPException):
            self.close_connection = True
            with suppress(OSError):
                self._error(502, "the embedded model did not answer")
        finally:
            connection.close()

    def _pass_on(self, response: HTTPResponse) -> None:
        """The answer as it comes, in pieces."""
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in _HOPS:
                self.send_header(name, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while piece := response.read1(_CHUNK):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
