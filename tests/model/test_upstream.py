"""One model call through the real SDK: what is sent, dropped and committed, and what every failure says."""

import asyncio
import json
import socket
import traceback

import httpx2
import pytest

from tests.inprocess import AT_ONCE, URL, MemoryJournal, Server, completion, refusal, upstream
from tfgrpo.errors import InputError, ModelError, TfgrpoError, UpstreamError
from tfgrpo.model.budget import Budget, Ceiling
from tfgrpo.model.upstream import Upstream
from tfgrpo.records import JSON, CallKey, ChatBody, Usage
from tfgrpo.settings import Settings
from tfgrpo.testing import Answer, ScriptedModel, _Receive, _Scope, _Send, serving

KEY = CallKey("run_1", "rollout", 0, "task_1", 0)
BODY: ChatBody = {
    "model": "fake",
    "messages": [{"role": "user", "content": "Where is my invoice?"}],
    "temperature": 0.7,
    "top_p": 1.0,
    "seed": 5,
    "max_tokens": 8,
    "logit_bias": {"7": 1.5},
    "logprobs": True,
    "top_logprobs": 20,
}
SECRET = "sk-very-secret-0123456789"


def sample(number: int) -> CallKey:
    return CallKey("run_1", "rollout", 0, "task_1", number)


async def failure(server: Server, *, key: str | None = SECRET, url: str = URL, calls: int = 1) -> TfgrpoError:
    """The error of the last of that many calls."""
    async with upstream(server, key=key, url=url, settings=Settings(call_retries=0)) as calling:
        for number in range(calls - 1):
            await calling(BODY, sample(number))
        with pytest.raises(TfgrpoError) as caught:
            await calling(BODY, KEY)
    return caught.value


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


# What is sent and what comes back


async def test_the_body_is_sent_as_it_is_and_the_answer_counted() -> None:
    server = Server(completion("billing"))
    async with upstream(server) as calling:
        reply = await calling(BODY, KEY)
        await calling(BODY, KEY)
        assert (reply.text, reply.finish_reason, reply.usage) == ("billing", "stop", Usage(1, 7, 2))
        assert calling.usage == Usage(2, 14, 4)
        assert calling.dropped == {}
    assert server.bodies == [BODY, BODY]
    assert str(server.requests[0].url) == f"{URL}/chat/completions"


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


@pytest.mark.parametrize(
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


# Parameters that an upstream rejects


@pytest.mark.parametrize(
    ("response", "name"),
    [
        (refusal(400, "Unsupported value", param="temperature", code="unsupported_value"), "temperature"),
        (refusal(400, "Invalid key in 'logit_bias': 200000.", param="logit_bias.200000"), "logit_bias"),
        (refusal(400, "'top_k' is not allowed here; temperature is"), "top_k"),
        (refusal(400, "property 'logit_bias' is unsupported", param=""), "logit_bias"),
        (refusal(422, "Extra inputs are not permitted: min_p"), "min_p"),
        (httpx2.Response(400, json={"object": "error", "message": "no seed here", "code": 400}), "seed"),
        (httpx2.Response(400, json={"error": "top_logprobs is out of range"}), "top_logprobs"),
        (httpx2.Response(422, json={"detail": [{"loc": ["body", "repeat_penalty"]}]}), "repeat_penalty"),
        (httpx2.Response(400, text="unknown field: repetition_penalty"), "repetition_penalty"),
    ],
)
async def test_a_rejected_parameter_is_dropped_once_remembered_and_reported(
    response: httpx2.Response, name: str
) -> None:
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


async def test_what_was_dropped_is_known_again_after_a_replay() -> None:
    journal = MemoryJournal()
    async with upstream(Server(refusal(400, param="logprobs"), completion()), journal=journal) as first:
        await first(BODY, sample(0))
    server = Server(completion())
    async with upstream(server, journal=journal) as resumed:
        assert (await resumed(BODY, sample(0))).text == "yes"
        assert resumed.dropped == first.dropped == {"logprobs": "rejected by fake with 400"}
        await resumed(BODY, sample(1))
    assert [set(BODY) - set(body) for body in server.bodies] == [{"logprobs", "top_logprobs"}]


async def test_a_server_cannot_say_that_something_was_dropped() -> None:
    journal = MemoryJournal()
    for _ in range(2):
        async with upstream(Server(completion(tfgrpo_dropped={"seed": "!"})), journal=journal) as calling:
            await calling(BODY, KEY)
            assert calling.dropped == {}


@pytest.mark.parametrize(
    "response",
    [
        refusal(400, "Your temperature of 0.7 is fine, the message is not", param="messages"),
        refusal(400, "This is nothing about parameters"),
        refusal(400, "maximum context length is 2048 tokens, max_tokens is too large", param=None),
        refusal(400, "the request exceeds it", param="max_completion_tokens"),
        refusal(413, "max_tokens too large"),
        httpx2.Response(400, text="<html>Bad Request</html>"),
        httpx2.Response(400, json=["a list"]),
    ],
)
async def test_a_refusal_of_anything_else_fails_the_call_alone(response: httpx2.Response) -> None:
    server = Server(response)
    error = await failure(server)
    assert type(error) is ModelError
    assert str(error).startswith(f"fake answered {response.status_code}: ")
    assert len(server.requests) == 1


# Failures


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (refusal(401, "bad key"), "fake answered 401: it refuses the key in OPENAI_API_KEY"),
        (refusal(403, "bad key"), "fake answered 403: it refuses the key in OPENAI_API_KEY"),
        (refusal(402, "pay"), "fake answered 402: the account's quota is spent"),
        (
            refusal(429, "quota", {"x-should-retry": "false"}, code="insufficient_quota"),
            "fake answered 429: the account's quota is spent",
        ),
        (
            refusal(404, "The model `x`\ndoes not exist"),
            "fake answered 404: The model `x` does not exist; are --model and --base-url right?",
        ),
    ],
)
async def test_what_no_call_can_get_past_stops_the_run(response: httpx2.Response, words: str) -> None:
    error = await failure(Server(response))
    assert isinstance(error, UpstreamError)
    assert str(error) == words


async def test_a_key_that_is_wanted_and_not_given_is_asked_for() -> None:
    assert "it wants a key; set OPENAI_API_KEY" in str(await failure(Server(refusal(401)), key=None))


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 413, 429, 500])
@pytest.mark.parametrize("before", [0, 61, 82, 262])
async def test_no_error_ever_quotes_the_key(status: int, before: int) -> None:
    """Wherever the key stands in the echo: cutting long words short must not leave half of it."""
    words = f"{'x' * before} Authorization: Bearer {SECRET}"
    for response in (refusal(status, words), httpx2.Response(status, text=words, headers=AT_ONCE)):
        error = await failure(Server(response))
        shown = "".join(traceback.format_exception(error)) + str(error)
        assert SECRET[:12] not in shown


@pytest.mark.parametrize("lost", [httpx2.ConnectError(""), httpx2.ReadError(SECRET), httpx2.ReadTimeout("")])
async def test_no_error_shows_the_password_of_a_base_url(lost: Exception) -> None:
    url = f"http://me:{SECRET}@fake:8080/v1"
    error = await failure(Server(lost), key="other-key", url=url)
    assert "fake:8080" in str(error)
    assert "very-secret" not in "".join(traceback.format_exception(error))
    echoing = Server(refusal(400, f"http://me:{SECRET}@fake:8080"))
    assert "very-secret" not in str(await failure(echoing, url=url, key="other-key"))


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
        (httpx2.ConnectError("nobody there"), 1, UpstreamError, "cannot reach fake: nobody there;"),
        (httpx2.ConnectError("nobody there"), 2, UpstreamError, "cannot reach fake: nobody there;"),
        (httpx2.ConnectTimeout(""), 2, UpstreamError, "cannot reach fake: ConnectTimeout;"),
        (httpx2.ReadError("cut\noff"), 1, UpstreamError, "cannot reach fake: cut off;"),
        (httpx2.ReadError("cut off"), 2, ModelError, "cannot reach fake: cut off;"),
        (httpx2.ReadTimeout(""), 1, UpstreamError, "fake did not answer within 600 s;"),
        (httpx2.ReadTimeout(""), 2, ModelError, "fake did not answer within 600 s;"),
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
        httpx2.Response(502, text="<html>Bad gateway</html>", headers=AT_ONCE),
    ],
)
@pytest.mark.parametrize("answered", [False, True])
async def test_a_busy_server_is_asked_again(busy: httpx2.Response, answered: bool) -> None:
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


@pytest.mark.parametrize(
    "response",
    [
        httpx2.Response(200, text="<!DOCTYPE html><title>Welcome</title>"),
        httpx2.Response(200, json={"error": {"message": "overloaded"}}),
        httpx2.Response(200, json={"choices": []}),
        httpx2.Response(200, json=["choices"]),
        httpx2.Response(200, content=b""),
        httpx2.Response(200, text="[" * 100_000),
    ],
)
@pytest.mark.parametrize("dropping", [False, True])
async def test_an_answer_that_is_no_completion_fails_the_call_and_is_not_committed(
    response: httpx2.Response, dropping: bool
) -> None:
    journal = MemoryJournal()
    server = Server(*[refusal(400, param="seed")] * dropping, response)
    async with upstream(server, journal=journal) as calling:
        with pytest.raises(ModelError, match="fake gave no chat completion: ") as caught:
            await calling(BODY, KEY)
        assert calling.usage == Usage()
    assert len(str(caught.value)) < 200
    assert journal.kept == {}


# Bounded, cancelled


async def test_no_more_calls_are_in_flight_than_the_settings_allow() -> None:
    flying, most = 0, 0

    async def app(scope: _Scope, receive: _Receive, send: _Send) -> None:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        for _ in range(20):
            await asyncio.sleep(0)
        await model.app(scope, receive, send)
        flying -= 1

    model = ScriptedModel(lambda body: "yes")
    async with upstream(app, settings=Settings(concurrency=3)) as calling:
        await asyncio.gather(*(calling(BODY, sample(number)) for number in range(12)))
    assert most == 3
    assert len(model.requests) == 12


async def test_a_cancelled_call_leaves_nothing_behind() -> None:
    reached, patience = asyncio.Event(), True

    async def app(scope: _Scope, receive: _Receive, send: _Send) -> None:
        reached.set()
        if patience:
            await asyncio.Event().wait()
        await ScriptedModel(lambda body: "yes").app(scope, receive, send)

    journal = MemoryJournal()
    async with upstream(app, settings=Settings(concurrency=1), journal=journal) as calling:
        call = asyncio.create_task(calling(BODY, KEY))
        await reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert journal.kept == {}
        patience = False
        assert (await calling(BODY, KEY)).text == "yes"  # its slot is free again


async def test_a_call_over_a_real_socket_can_be_cancelled() -> None:
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def app(scope: _Scope, receive: _Receive, send: _Send) -> None:
        loop.call_soon_threadsafe(reached.set)
        while (await receive())["type"] != "http.disconnect":
            pass

    with serving(app) as url:
        async with Upstream(url) as calling:
            call = asyncio.create_task(calling(BODY, KEY))
            await reached.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert asyncio.all_tasks() == {asyncio.current_task()}


# The journal


class SlowJournal(MemoryJournal):
    """Says when it has been handed a response, and commits it when told."""

    def __init__(self) -> None:
        super().__init__()
        self.handed, self.go = asyncio.Event(), asyncio.Event()

    async def record(self, key: CallKey, request: str, response: str, usage: Usage) -> None:
        self.handed.set()
        await self.go.wait()
        await super().record(key, request, response, usage)


async def test_nothing_is_derived_from_a_response_before_it_is_committed() -> None:
    journal = SlowJournal()
    async with upstream(Server(completion()), journal=journal) as calling:
        call = asyncio.create_task(calling(BODY, KEY))
        await journal.handed.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not call.done()
        assert calling.usage == Usage()
        journal.go.set()
        assert (await call).text == "yes"
        assert calling.usage == Usage(1, 7, 2)


async def test_a_committed_call_is_not_repeated_and_counts_again() -> None:
    journal, server = MemoryJournal(), Server(completion("once"))
    async with upstream(server, journal=journal) as calling:
        first = await calling(BODY, KEY)
    async with upstream(server, journal=journal) as resumed:
        again = await resumed(BODY, KEY)
        assert resumed.usage == first.usage
    assert (again.text, again.message, again.usage) == (first.text, first.message, first.usage)
    assert len(server.requests) == 1
    assert [usage for _, _, usage in journal.kept.values()] == [Usage(1, 7, 2)]


async def test_every_call_of_a_run_is_committed_under_its_own_key() -> None:
    journal, server = MemoryJournal(), Server(completion())
    keys = [sample(0), sample(1), CallKey("run_1", "rollout", 1, "task_1", 0), CallKey("run_1", "contrast")]
    async with upstream(server, journal=journal) as calling:
        await asyncio.gather(*(calling(BODY, key) for key in keys))
    assert set(journal.kept) == set(keys)
    assert len({request for request, _, _ in journal.kept.values()}) == 1


async def test_a_call_outside_of_any_run_is_not_committed() -> None:
    journal = MemoryJournal()
    async with upstream(Server(completion()), journal=journal) as calling:
        await calling(BODY, CallKey("", "chat"))
        await calling.get("/models", CallKey("", "probe"))
    assert journal.kept == {}


# The routes beside the chat


@pytest.mark.parametrize(
    ("response", "found"),
    [
        (httpx2.Response(200, json={"data": []}), {"data": []}),
        (httpx2.Response(200, text="<html>"), None),
        (httpx2.Response(200, content=b"\xff\xfe\x00"), None),
        (httpx2.Response(404), None),
        (refusal(501), None),
        (httpx2.ReadTimeout("hangs"), None),
    ],
)
async def test_a_route_beside_the_chat_may_be_missing(response: httpx2.Response | Exception, found: JSON) -> None:
    journal, settings = MemoryJournal(), Settings(call_retries=0)
    async with upstream(Server(response), journal=journal, settings=settings) as calling:
        assert await calling.get("/models", KEY) == found
    server = Server(httpx2.Response(200, json={"data": "another server"}))
    async with upstream(server, journal=journal) as resumed:
        assert await resumed.get("/models", KEY) == found
    assert server.requests == []


async def test_a_loading_server_is_waited_for() -> None:
    async with upstream(Server(refusal(503), refusal(503), httpx2.Response(200, json=1))) as calling:
        assert await calling.get("/models", KEY) == 1


async def test_an_unreachable_server_is_not_a_missing_route() -> None:
    async with upstream(Server(httpx2.ConnectError("nobody"))) as calling:
        with pytest.raises(UpstreamError, match="cannot reach fake: nobody"):
            await calling.get("/models", KEY)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://fake/v1", "http://fake/tokenize"),
        ("http://fake:8080/v1/", "http://fake:8080/tokenize"),
        ("http://fake", "http://fake/tokenize"),
        ("https://fake/openai/v1", "https://fake/openai/tokenize"),
    ],
)
async def test_tokenize_is_at_the_servers_root(url: str, asked: str) -> None:
    server = Server(httpx2.Response(200, json={"tokens": [1]}))
    async with upstream(server, url=url) as calling:
        assert await calling.post("/tokenize", {"content": "x"}, KEY) == {"tokens": [1]}
    assert str(server.requests[0].url) == asked
    assert json.loads(server.requests[0].content) == {"content": "x"}


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


# Embeddings


def vectors(*rows: list[float]) -> httpx2.Response:
    found = [{"index": place, "embedding": row} for place, row in enumerate(rows)]
    return httpx2.Response(200, json={"data": found, "usage": {"prompt_tokens": 5, "total_tokens": 5}})


async def test_texts_are_embedded_in_one_call_that_is_counted_and_committed() -> None:
    server, journal, asked = Server(vectors([1, 0], [0, 1])), MemoryJournal(), list[str]()

    def price(model: str, usage: Usage) -> float:
        asked.append(model)
        return usage.tokens / 10

    budget = Budget(Ceiling(), price)
    async with upstream(server, journal=journal, budget=budget) as calling:
        found = await calling.embed("near", ["one", "two"], KEY)
        assert calling.usage == found.usage == Usage(1, 5, 0)
    assert found.vectors == ((1.0, 0.0), (0.0, 1.0))
    assert str(server.requests[0].url) == f"{URL}/embeddings"
    assert server.bodies == [{"model": "near", "input": ["one", "two"]}]
    assert (budget.spent.calls, budget.spent.usd, asked) == (1, 0.5, ["near"])
    async with upstream(Server(refusal(500)), journal=journal) as calling:
        again = await calling.embed("near", ["one", "two"], KEY)
        assert (again, again.replayed) == (found, True)


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (vectors([1, 0]), "fake gave no embeddings of 2 texts: "),
        (completion(), "fake gave no embeddings of 2 texts: "),
        (refusal(501, "start it with --embeddings"), "fake answered 501: start it with --embeddings"),
        (refusal(400, "not an embedding model"), "fake answered 400: not an embedding model"),
        (refusal(404, "no"), "fake answered 404: no; are --embedding-model and --embedding-base-url right?"),
        (refusal(401, "no"), "fake answered 401: it refuses the key in OPENAI_API_KEY (or --embedding-key-env)"),
    ],
)
async def test_a_server_without_embeddings_says_so_at_the_first_call(response: httpx2.Response, words: str) -> None:
    server = Server(response)
    async with upstream(server, options="--embedding-") as calling:
        with pytest.raises(ModelError) as caught:
            await calling.embed("near", ["one", "two"], KEY)
    assert str(caught.value).startswith(words)
    assert len(server.requests) == 1


async def test_an_endpoint_that_is_not_there_is_named_by_the_options_that_name_it() -> None:
    async with upstream(Server(httpx2.ConnectError("refused")), options="--distiller-") as calling:
        with pytest.raises(UpstreamError, match=r"is --distiller-base-url right\?"):
            await calling(BODY, KEY)
