"""What an endpoint may send is bounded, whatever it packs, and no other host gets the request."""

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.inprocess import AT_ONCE, URL, Server, completion, refusal, upstream
from tests.model.calls import BODY, KEY, SECRET, failure, sample
from tests.tables import each
from tfgrpo.errors import InputError, ModelError, TfgrpoError, UpstreamError
from tfgrpo.model import connection
from tfgrpo.model.connection import Connection
from tfgrpo.model.library import http
from tfgrpo.model.upstream import Upstream
from tfgrpo.records import CallKey, ChatBody
from tfgrpo.settings import Settings
from tfgrpo.testing import Answer, ScriptedModel, Strained, _Receive, _Scope, _Send, serving

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

        def log_message(self, format: str, *_: object) -> None:
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
    monkeypatch.setattr(connection, "MOST_OF_ONE", 1_000_000)
    bomb = gzip.compress(b" " * 50_000_000)
    for headers, body in (({"content-encoding": "gzip"}, bomb), ({}, b" " * 1_100_000)):
        with answering(200, headers, body) as url, pytest.raises(ModelError, match="more than 1,000,000 bytes"):
            asked(url)
    with (
        answering(200, {"content-encoding": "gzip"}, b"no gzip") as url,
        pytest.raises(ModelError, match="not what it"),
    ):
        asked(url)


async def test_many_calls_at_once_have_connections_of_their_own_which_are_used_again() -> None:
    model, seen = ScriptedModel(lambda body: "yes"), set[int]()
    strained = Strained(model, 0.01)

    async def app(scope: _Scope, receive: _Receive, send: _Send) -> None:
        seen.add(scope["client"][1])
        await strained.app(scope, receive, send)

    with serving(app) as url:
        async with Upstream(url, settings=Settings(concurrency=40)) as calling:
            for step in range(2):
                found = await asyncio.gather(*(calling(BODY, sample(40 * step + number)) for number in range(40)))
                assert {reply.text for reply in found} == {"yes"}
    assert len(seen) == 40


def test_a_redirect_to_another_host_is_refused() -> None:
    with (
        answering(307, {"location": "http://localhost:9/v1/chat/completions"}, b"") as url,
        pytest.raises(ModelError, match="it redirects to another host, localhost"),
    ):
        asked(url)


async def test_a_redirect_from_tls_to_the_open_is_refused() -> None:
    def moved(request: http.Request) -> http.Response:
        return http.Response(307, headers={"location": "http://api.test/v1"})

    async with connection.bound(http.AsyncClient(transport=http.MockTransport(moved))) as client:
        with pytest.raises(http.TooManyRedirects, match="without TLS"):
            await client.post("https://api.test/v1", follow_redirects=True)


async def test_the_key_comes_from_the_environment_for_any_base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET}\n")  # as files of secrets end
    server = Server(completion())
    async with upstream(server, key=None) as calling:
        await calling(BODY, KEY)
    assert server.requests[0].headers["authorization"] == f"Bearer {SECRET}"


async def test_the_base_url_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere:8080/v1")
    async with Upstream(None) as calling:
        assert calling.name == "elsewhere:8080"


def test_without_a_key_there_is_no_default_upstream() -> None:
    with pytest.raises(UpstreamError, match=r"set OPENAI_API_KEY.*--base-url"):
        Upstream(None)


@pytest.mark.parametrize("key", ["sk-“quoted”", "sk-one\nsk-two"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(UpstreamError, match="copy it once more") as caught:
        Upstream(URL, api_key=key)
    assert "sk-" not in str(caught.value)


@each(
    "url",
    ["localhost:8080/v1", "fake", "ftp://fake/v1", "http://", "http://[::1", "http://fake:x/v1", "http://a:99999"],
)
def test_a_base_url_that_is_none_is_named(url: str) -> None:
    with pytest.raises(InputError, match="is no base URL; one looks like http://127") as caught:
        Upstream(url)
    assert url in str(caught.value)


def test_a_bad_base_url_is_shown_without_its_password() -> None:
    with pytest.raises(InputError) as caught:
        Upstream(f"me:{SECRET}@fake:8080/v1")
    assert "secret" not in str(caught.value)
    assert "fake:8080/v1" in str(caught.value)


async def test_waiting_is_bounded_and_connecting_more_so() -> None:
    server = Server(completion())
    async with upstream(server, settings=Settings(call_timeout=77)) as calling:
        await calling(BODY, KEY)
        await calling.get("/models", KEY)
    limits = [request.extensions["timeout"] for request in server.requests]
    assert [(limit["connect"], limit["read"]) for limit in limits] == [(10, 77), (10, 10)]


@pytest.mark.parametrize(
    ("response", "name"),
    [
        (refusal(400, "Unsupported value", param="temperature", code="unsupported_value"), "temperature"),
        (refusal(400, "Invalid key in 'logit_bias': 200000.", param="logit_bias.200000"), "logit_bias"),
        (refusal(400, "'top_k' is not allowed here; temperature is"), "top_k"),
        (refusal(400, "property 'logit_bias' is unsupported", param=""), "logit_bias"),
        (refusal(422, "Extra inputs are not permitted: min_p"), "min_p"),
        (http.Response(400, json={"object": "error", "message": "no seed here", "code": 400}), "seed"),
        (http.Response(400, json={"error": "top_logprobs is out of range"}), "top_logprobs"),
        (http.Response(422, json={"detail": [{"loc": ["body", "repeat_penalty"]}]}), "repeat_penalty"),
        (http.Response(400, text="unknown field: repetition_penalty"), "repetition_penalty"),
    ],
)
async def test_a_rejected_parameter_is_dropped_once_remembered_and_reported(response: http.Response, name: str) -> None:
    body = {**BODY, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0, "repetition_penalty": 1.0}
    server = Server(response, completion())
    async with upstream(server) as calling:
        await calling(body, sample(0))
        await calling(body, sample(1))
        assert calling.dropped == {name: f"rejected by fake with {response.status_code}"}
    whole, retried, next_call = server.bodies
    assert whole == body
    assert retried == next_call == {field: value for field, value in body.items() if field != name}


async def test_several_rejected_parameters_are_dropped_one_by_one() -> None:
    server = Server(refusal(400, param="temperature"), refusal(400, param="top_p"), completion())
    async with upstream(server) as calling:
        await calling(BODY, KEY)
        assert set(calling.dropped) == {"temperature", "top_p"}
    assert len(server.requests) == 3


async def test_a_limit_that_has_another_name_is_sent_under_that() -> None:
    server = Server(refusal(400, "Use 'max_completion_tokens' instead.", param="max_tokens"), completion())
    async with upstream(server) as calling:
        await calling(BODY, KEY)
    assert server.bodies[1]["max_completion_tokens"] == BODY["max_tokens"]
    assert "max_tokens" not in server.bodies[1]


async def test_calls_in_flight_that_are_rejected_alike_all_succeed() -> None:
    def script(body: ChatBody) -> Answer:
        return Answer("no", status=400, param="seed") if "seed" in body else Answer("yes")

    model = ScriptedModel(script)
    async with upstream(model.app) as calling:
        replies = await asyncio.gather(*(calling(BODY, sample(number)) for number in range(5)))
        assert [reply.text for reply in replies] == ["yes"] * 5
        assert set(calling.dropped) == {"seed"}


@pytest.mark.parametrize(
    "response",
    [
        refusal(400, "Your temperature of 0.7 is fine, the message is not", param="messages"),
        refusal(400, "This is nothing about parameters"),
        refusal(400, "maximum context length is 2048 tokens, max_tokens is too large", param=None),
        refusal(400, "the request exceeds it", param="max_completion_tokens"),
        refusal(413, "max_tokens too large"),
        http.Response(400, text="<html>Bad Request</html>"),
        http.Response(400, json=["a list"]),
    ],
)
async def test_a_refusal_of_anything_else_fails_the_call_alone(response: http.Response) -> None:
    server = Server(response)
    error = await failure(server)
    assert type(error) is ModelError
    assert str(error).startswith(f"fake answered {response.status_code}: ")
    assert len(server.requests) == 1


async def test_a_refused_connection_is_one_line_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with Upstream(f"http://127.0.0.1:{port}/v1") as calling:
        with pytest.raises(UpstreamError) as caught:
            await calling(BODY, KEY)
    assert str(caught.value).startswith(f"cannot reach 127.0.0.1:{port}: ")
    assert str(caught.value).endswith("; is it running, and is --base-url right?")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lost", "calls", "kind", "words"),
    [
        (http.ConnectError("nobody there"), 1, UpstreamError, "cannot reach fake: nobody there;"),
        (http.ConnectError("nobody there"), 2, UpstreamError, "cannot reach fake: nobody there;"),
        (http.ConnectTimeout(""), 2, UpstreamError, "cannot reach fake: ConnectTimeout;"),
        (http.ReadError("cut\noff"), 1, UpstreamError, "cannot reach fake: cut off;"),
        (http.ReadError("cut off"), 2, ModelError, "cannot reach fake: cut off;"),
        (http.ReadTimeout(""), 1, UpstreamError, "fake did not answer within 600 s;"),
        (http.ReadTimeout(""), 2, ModelError, "fake did not answer within 600 s;"),
    ],
)
async def test_a_lost_call_is_final_while_nothing_was_ever_answered_or_nobody_listens(
    lost: Exception, calls: int, kind: type[TfgrpoError], words: str
) -> None:
    server = Server(*[completion()] * (calls - 1), lost)
    error = await failure(server, calls=calls)
    assert type(error) is kind
    assert str(error).startswith(words)
    assert len(server.requests) == calls


@pytest.mark.parametrize(
    "busy",
    [
        refusal(500),
        refusal(503),
        refusal(429, headers={"retry-after": "0.001"}),
        refusal(408),
        http.Response(502, text="<html>Bad gateway</html>", headers=AT_ONCE),
    ],
)
@pytest.mark.parametrize("answered", [False, True])
async def test_a_busy_server_is_asked_again(busy: http.Response, answered: bool) -> None:
    server = Server(*[completion()] * answered, busy, busy, completion("at last"))
    async with upstream(server) as calling:
        if answered:
            await calling(BODY, sample(0))
        assert (await calling(BODY, sample(1))).text == "at last"
    assert len(server.requests) == 3 + answered


async def test_a_server_that_stays_broken_fails_the_call_alone() -> None:
    server = Server(completion(), refusal(500, "out of\x1b[31m memory"))
    async with upstream(server, settings=Settings(call_retries=2)) as calling:
        await calling(BODY, sample(0))
        with pytest.raises(ModelError, match=r"fake answered 500: out of.* memory") as caught:
            await calling(BODY, sample(1))
    assert not isinstance(caught.value, UpstreamError)
    assert str(caught.value).isprintable()
    assert len(server.requests) == 1 + 3


async def test_a_loading_server_is_waited_for() -> None:
    async with upstream(Server(refusal(503), refusal(503), http.Response(200, json=1))) as calling:
        assert await calling.get("/models", KEY) == 1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("HTTPS_PROXY", "ftp://me:s3cret@proxy:1", "the proxy that stands in the environment"),
        ("HTTPS_PROXY", "http://me:s3/cret@proxy:1", "write '/', '#'"),
        ("SSL_CERT_FILE", "/nowhere.pem", "no certificates in /nowhere.pem"),
        ("SSL_CERT_FILE", __file__, "no certificates in .*py"),
    ],
)
def test_what_the_environment_says_of_the_way_there_is_one_line_where_it_is_wrong(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection._trusted.cache_clear()
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=words) as caught:
        Connection("https://api.test/v1", "sk-key", Settings())
    assert "s3" not in str(caught.value)


async def test_a_server_on_this_machine_is_called_past_the_environments_http_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    model = ScriptedModel(lambda body: "hello")
    with serving(model.app) as url:
        async with Upstream(url) as upstream:
            reply = await upstream({"model": "m", "messages": [{"role": "user", "content": "?"}]}, CallKey("", "chat"))
    assert reply.text == "hello"
