"""Calls in the journal: committed before anything is derived from them, and never made again."""

import asyncio
import json

import pytest

from tests.inprocess import URL, MemoryJournal, Server, completion, refusal, upstream
from tests.model.calls import BODY, KEY, sample
from tfgrpo.errors import BudgetEnded, ModelError, UpstreamError
from tfgrpo.model.budget import Budget, Ceiling
from tfgrpo.model.library import http
from tfgrpo.model.upstream import Upstream
from tfgrpo.records import JSON, CallKey, Usage
from tfgrpo.settings import Settings
from tfgrpo.testing import ScriptedModel, _Receive, _Scope, _Send, serving


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


@pytest.mark.parametrize(
    "response",
    [
        http.Response(200, text="<!DOCTYPE html><title>Welcome</title>"),
        http.Response(200, json={"choices": []}),
        http.Response(200, json=["choices"]),
        http.Response(200, content=b""),
        http.Response(200, text="[" * 100_000),
    ],
)
@pytest.mark.parametrize("dropping", [False, True])
async def test_an_answer_that_is_no_completion_fails_the_call_and_is_not_committed(
    response: http.Response, dropping: bool
) -> None:
    journal = MemoryJournal()
    server = Server(*[refusal(400, param="seed")] * dropping, response)
    async with upstream(server, journal=journal) as calling:
        with pytest.raises(ModelError, match="fake gave no chat completion: ") as caught:
            await calling(BODY, KEY)
        assert calling.usage == Usage()
    assert len(str(caught.value)) < 200
    assert journal.kept == {}


@pytest.mark.parametrize("told", [None, {}, {"prompt_tokens": 2**62, "completion_tokens": -1}])
async def test_what_a_server_does_not_count_is_estimated_so_that_a_ceiling_on_tokens_holds(told: JSON) -> None:
    journal, budget = MemoryJournal(), Budget(Ceiling(tokens=20))
    body = {**BODY, "messages": [{"role": "user", "content": "x" * 80}]}
    async with upstream(Server(completion("y" * 40, usage=told)), journal=journal, budget=budget) as calling:
        first = await calling(body, KEY)
        with pytest.raises(BudgetEnded, match="the budget of 20 tokens is used up"):
            await calling(body, sample(1))
    assert 20 < first.usage.prompt_tokens < 40
    assert 10 <= first.usage.completion_tokens < 30
    assert budget.spent.tokens == first.usage.tokens
    async with upstream(Server(completion()), journal=journal) as resumed:
        again = await resumed(body, KEY)
    assert (again.replayed, again.usage, resumed.usage) == (True, first.usage, first.usage)


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


@pytest.mark.parametrize(
    ("response", "found"),
    [
        (http.Response(200, json={"data": []}), {"data": []}),
        (http.Response(200, text="<html>"), None),
        (http.Response(200, content=b"\xff\xfe\x00"), None),
        (http.Response(404), None),
        (refusal(501), None),
        (http.ReadTimeout("hangs"), None),
    ],
)
async def test_a_route_beside_the_chat_may_be_missing(response: http.Response | Exception, found: JSON) -> None:
    journal, settings = MemoryJournal(), Settings(call_retries=0)
    async with upstream(Server(response), journal=journal, settings=settings) as calling:
        assert await calling.get("/models", KEY) == found
    server = Server(http.Response(200, json={"data": "another server"}))
    async with upstream(server, journal=journal) as resumed:
        assert await resumed.get("/models", KEY) == found
    assert server.requests == []


async def test_an_unreachable_server_is_not_a_missing_route() -> None:
    async with upstream(Server(http.ConnectError("nobody"))) as calling:
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
    server = Server(http.Response(200, json={"tokens": [1]}))
    async with upstream(server, url=url) as calling:
        assert await calling.post("/tokenize", {"content": "x"}, KEY) == {"tokens": [1]}
    assert str(server.requests[0].url) == asked
    assert json.loads(server.requests[0].content) == {"content": "x"}


def vectors(*rows: list[float]) -> http.Response:
    found = [{"index": place, "embedding": row} for place, row in enumerate(rows)]
    return http.Response(200, json={"data": found, "usage": {"prompt_tokens": 5, "total_tokens": 5}})


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
async def test_a_server_without_embeddings_says_so_at_the_first_call(response: http.Response, words: str) -> None:
    server = Server(response)
    async with upstream(server, options="--embedding-") as calling:
        with pytest.raises(ModelError) as caught:
            await calling.embed("near", ["one", "two"], KEY)
    assert str(caught.value).startswith(words)
    assert len(server.requests) == 1
