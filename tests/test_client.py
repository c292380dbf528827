import inspect
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.clients.ways import chat_of
from tests.live import MODEL, OTHER, PRIOR, TEXT, go_live
from tfgrpo import AsyncOpenAI, OpenAI
from tfgrpo.client import AsyncClientOptions, ClientOptions
from tfgrpo.model.library import http
from tfgrpo.records import Backend, ChatBody, Demonstration, Prior, backend_key
from tfgrpo.store import Store
from tfgrpo.surfaces.http import PRIOR_HEADER, REASON_HEADER, TOKEN_PRIOR_HEADER
from tfgrpo.testing import Answer, ScriptedModel, serving

QUESTION: Any = [{"role": "user", "content": "Which queue?"}]
TOOLS: Any = [{"type": "function", "function": {"name": "route", "parameters": {"type": "object"}}}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "route", "arguments": '{"queue": "BILL"}'}}


class Queue(BaseModel):
    code: str


def script(body: ChatBody) -> str | Answer:
    """A tool call where tools are offered, JSON where it is asked for, else words."""
    if "tools" in body:
        return Answer("", tool_calls=[CALL], finish_reason="tool_calls")
    return '{"code": "BILL"}' if "response_format" in body else "To BILL with it"


@pytest.fixture(scope="module")
def upstream() -> Iterator[tuple[ScriptedModel, str]]:
    model = ScriptedModel(script)
    with serving(model.app) as url:
        yield model, url


@pytest.fixture
def model(upstream: tuple[ScriptedModel, str], monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    model, url = upstream
    model.requests.clear()
    model.headers.clear()
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-caller")
    return model


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return go_live(tmp_path / "s.db")


def experiences_in(body: ChatBody) -> int:
    return str(body["messages"]).count(TEXT)


def is_biased(body: ChatBody) -> bool:
    return experiences_in(body) == 1 and body["logit_bias"] == {"7": 1.5, "9": -2.0}


def is_as_written(body: ChatBody) -> bool:
    return list(body["messages"]) == QUESTION and "logit_bias" not in body


# Blocking


def test_a_call_has_the_prior_and_says_so(model: ScriptedModel, store: Path) -> None:
    with OpenAI(store=store) as client:
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
        assert client.tfgrpo.prior == PRIOR
    assert raw.headers[PRIOR_HEADER] == PRIOR.id
    assert raw.parse().choices[0].message.content == "To BILL with it"
    assert is_biased(model.requests[0])
    assert model.headers[0][PRIOR_HEADER] == PRIOR.id
    assert model.headers[0]["authorization"] == "Bearer sk-caller"


def test_a_call_is_shown_the_nearest_demonstrations(model: ScriptedModel, tmp_path: Path) -> None:
    pool = tuple(Demonstration(text, text.upper()) for text in ("Where is my invoice?", "The app is broken"))
    path = go_live(tmp_path / "s.db", Prior(instruction="Route it.", demonstrations=pool, nearest=1))
    with OpenAI(store=path) as client:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "my app broke"}])
    assert [message["content"] for message in model.requests[0]["messages"]] == [
        "Route it.", "The app is broken", "THE APP IS BROKEN", "my app broke"
    ]  # fmt: skip


def test_streams_parsing_and_tools_work_as_ever(model: ScriptedModel, store: Path) -> None:
    with OpenAI(store=store) as client:
        create = client.chat.completions.create
        stream = create(model=MODEL, messages=QUESTION, stream=True)
        words = [chunk.choices[0].delta.content for chunk in stream]
        parsed = chat_of(client).parse(model=MODEL, messages=QUESTION, response_format=Queue)
        called = create(model=MODEL, messages=QUESTION, tools=TOOLS).choices[0]
        with client.chat.completions.with_streaming_response.create(model=MODEL, messages=QUESTION) as response:
            assert response.headers[PRIOR_HEADER] == PRIOR.id
            assert json.loads(response.read())["object"] == "chat.completion"
    assert words == ["To", " BILL", " with", " it", None]
    assert parsed.choices[0].message.parsed == Queue(code="BILL")
    assert called.message.tool_calls is not None
    assert called.message.tool_calls[0].id == "call_1"
    assert [is_biased(body) for body in model.requests] == [True] * 4
    assert model.requests[2]["tools"] == TOOLS


def test_other_routes_pass_untouched(model: ScriptedModel, store: Path) -> None:
    with OpenAI(store=store) as client:
        assert [entry.id for entry in client.models.list()] == [MODEL]
        echo = client.post("/embeddings", body={"messages": QUESTION}, cast_to=http.Response)
    assert echo.json() == {"messages": QUESTION}
    assert not any(PRIOR_HEADER in headers for headers in model.headers)
    assert (echo.headers[PRIOR_HEADER], echo.headers[REASON_HEADER]) == ("none", "route")


def test_the_callers_own_bias_wins(model: ScriptedModel, store: Path) -> None:
    with OpenAI(store=store) as client:
        client.chat.completions.create(model=MODEL, messages=QUESTION, logit_bias={"7": -100})
    assert model.requests[0]["logit_bias"] == {"7": -100, "9": -2.0}


def test_a_call_can_opt_out(model: ScriptedModel, store: Path) -> None:
    with OpenAI(store=store) as client:
        client.chat.completions.create(model=MODEL, messages=QUESTION, extra_headers={PRIOR_HEADER: "none"})
    assert is_as_written(model.requests[0])


def test_a_call_that_is_made_again_has_the_prior_once(store: Path) -> None:
    bodies: list[ChatBody] = []

    def failing_first(request: http.Request) -> http.Response:
        bodies.append(json.loads(request.content))
        status = 500 if len(bodies) < 3 else 200
        return http.Response(status, json={"choices": []}, headers={"retry-after-ms": "1"})

    http_client = http.Client(transport=http.MockTransport(failing_first))
    with OpenAI(store=store, api_key="sk", base_url="http://up/v1", http_client=http_client) as client:
        client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert [is_biased(body) for body in bodies] == [True] * 3


def test_copies_keep_the_store_the_namespace_and_what_is_in_memory(model: ScriptedModel, tmp_path: Path) -> None:
    path = go_live(tmp_path / "s.db", namespace="math")
    with OpenAI(store=path, namespace="math") as client, http.Client() as other:
        copies = [client.with_options(timeout=5), client.copy(max_retries=0).copy(), client.copy(http_client=other)]
        for copy in copies:
            copy.chat.completions.create(model=MODEL, messages=QUESTION)
            assert copy.tfgrpo is client.tfgrpo
            assert type(copy) is OpenAI
    assert [is_biased(body) for body in model.requests] == [True] * 3


def test_an_http_client_that_is_shared_stays_as_it_is_for_others(model: ScriptedModel, tmp_path: Path) -> None:
    with http.Client(headers={"x-own": "1"}) as shared:
        plain = openai.OpenAI(http_client=shared)
        first = OpenAI(http_client=shared, store=go_live(tmp_path / "a.db"))
        second = OpenAI(http_client=shared, store=go_live(tmp_path / "b.db", OTHER))
        for client in (plain, first, second, plain):
            client.chat.completions.create(model=MODEL, messages=QUESTION)
    used = [headers.get(PRIOR_HEADER) for headers in model.headers]
    assert used == [None, PRIOR.id, OTHER.id, None]
    assert [headers["x-own"] for headers in model.headers] == ["1"] * 4
    assert is_as_written(model.requests[3])


def test_proxies_of_the_environment_are_used_as_by_the_sdk(
    upstream: tuple[ScriptedModel, str], model: ScriptedModel, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", upstream[1])
    with OpenAI(store=store, base_url="http://api.invalid/v1") as client:
        client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert model.headers[0]["host"] == "api.invalid"
    assert is_biased(model.requests[0])


def test_timeouts_and_retries_are_the_sdks(model: ScriptedModel, store: Path) -> None:
    with OpenAI(store=store) as ours, openai.OpenAI() as theirs:
        assert (ours.timeout, ours.max_retries) == (theirs.timeout, theirs.max_retries)
        assert ours._client.timeout == theirs._client.timeout
    assert ours.is_closed()


def test_store_and_namespace_come_from_the_environment(
    model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFGRPO_STORE", str(go_live(tmp_path / "e.db", namespace="bot")))
    monkeypatch.setenv("TFGRPO_NAMESPACE", "bot")
    with OpenAI() as client:
        client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert is_biased(model.requests[0])


@pytest.mark.parametrize("content", [None, b"no database"], ids=["missing", "damaged"])
def test_a_store_that_cannot_be_used_is_said_once_and_fails_no_call(
    content: bytes | None, model: ScriptedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if content:
        (tmp_path / "s.db").write_bytes(content)
    with OpenAI(store=tmp_path / "s.db") as client:
        for _ in range(2):
            raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
            assert (raw.headers[PRIOR_HEADER], raw.headers[REASON_HEADER]) == ("none", "store")
        assert client.tfgrpo.prior is None
    assert [is_as_written(body) for body in model.requests] == [True, True]
    # the source of a test before may still be looking for a store that is gone
    told = [one for one in caplog.records if one.levelno == logging.WARNING and str(tmp_path) in one.getMessage()]
    assert len(told) == 1


@pytest.mark.parametrize(("ours", "theirs"), [(ClientOptions, openai.OpenAI), (AsyncClientOptions, openai.AsyncOpenAI)])
def test_the_constructors_offer_all_that_the_sdks_do(ours: type, theirs: type) -> None:
    taken = {name for name in inspect.signature(theirs).parameters if not name.startswith("_")}
    assert taken <= set(ours.__annotations__)  # an older SDK takes fewer


def test_an_unknown_option_is_refused_as_by_the_sdk() -> None:
    options: Any = {"api_kee": "sk"}
    with pytest.raises(TypeError, match="api_kee"):
        OpenAI(**options)


def remember(store: Path, url: str, backend: Backend) -> None:
    with Store(store) as opened:
        opened.add_probe(backend_key(url), MODEL, backend)


@pytest.mark.parametrize(
    ("backend", "why"),
    [
        (Backend(logit_bias="rejected"), "rejected"),
        (Backend(logit_bias="inert"), "inert"),
        (Backend(logit_bias="honoured", tokenizer="letters"), "other-tokenizer"),
    ],
)
def test_an_upstream_that_cannot_use_the_token_prior_never_sees_it(
    upstream: tuple[ScriptedModel, str], model: ScriptedModel, store: Path, backend: Backend, why: str
) -> None:
    remember(store, upstream[1], backend)
    with OpenAI(store=store) as client:
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
    assert (raw.headers[PRIOR_HEADER], raw.headers[TOKEN_PRIOR_HEADER]) == (PRIOR.id, why)
    assert experiences_in(model.requests[0]) == 1
    assert "logit_bias" not in model.requests[0]


def test_what_another_upstream_or_model_rejects_holds_for_no_other(
    upstream: tuple[ScriptedModel, str], model: ScriptedModel, store: Path
) -> None:
    remember(store, "http://elsewhere/v1", Backend(logit_bias="rejected"))
    with Store(store) as opened:
        opened.add_probe(backend_key(upstream[1]), "another", Backend(logit_bias="rejected"))
    with OpenAI(store=store) as client:
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
    assert TOKEN_PRIOR_HEADER not in raw.headers
    assert is_biased(model.requests[0])


# Async


async def test_an_async_call_says_why_it_has_no_token_prior(
    upstream: tuple[ScriptedModel, str], model: ScriptedModel, tmp_path: Path
) -> None:
    """Nothing is left of a prior that is a token prior alone: the call goes out as it was written."""
    store = go_live(tmp_path / "s.db", replace(PRIOR, experiences=()))
    remember(store, upstream[1], Backend(logit_bias="rejected"))
    async with AsyncOpenAI(store=store) as client:
        raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
    assert raw.headers[TOKEN_PRIOR_HEADER] == "rejected"
    assert (raw.headers[PRIOR_HEADER], raw.headers[REASON_HEADER]) == ("none", "rejected")
    assert is_as_written(model.requests[0])


async def test_an_async_call_has_the_prior_and_says_so(model: ScriptedModel, store: Path) -> None:
    async with AsyncOpenAI(store=store) as client:
        raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
        assert client.tfgrpo.prior == PRIOR
    assert raw.headers[PRIOR_HEADER] == PRIOR.id
    assert is_biased(model.requests[0])


async def test_async_streams_parsing_and_tools_work_as_ever(model: ScriptedModel, store: Path) -> None:
    async with AsyncOpenAI(store=store) as client:
        create = client.chat.completions.create
        stream = await create(model=MODEL, messages=QUESTION, stream=True)
        words = [chunk.choices[0].delta.content async for chunk in stream]
        parsed = await chat_of(client).parse(model=MODEL, messages=QUESTION, response_format=Queue)
        called = (await create(model=MODEL, messages=QUESTION, tools=TOOLS)).choices[0]
        assert [entry.id async for entry in client.models.list()] == [MODEL]
    assert words == ["To", " BILL", " with", " it", None]
    assert parsed.choices[0].message.parsed == Queue(code="BILL")
    assert called.message.tool_calls is not None
    assert [is_biased(body) for body in model.requests] == [True] * 3


async def test_an_async_call_that_is_made_again_has_the_prior_once(store: Path) -> None:
    bodies: list[ChatBody] = []

    def failing_first(request: http.Request) -> http.Response:
        bodies.append(json.loads(request.content))
        status = 500 if len(bodies) < 2 else 200
        return http.Response(status, json={"choices": []}, headers={"retry-after-ms": "1"})

    http_client = http.AsyncClient(transport=http.MockTransport(failing_first))
    async with AsyncOpenAI(store=store, api_key="sk", base_url="http://up/v1", http_client=http_client) as client:
        await client.with_options(timeout=3).chat.completions.create(model=MODEL, messages=QUESTION)
    assert [is_biased(body) for body in bodies] == [True] * 2


async def test_async_copies_keep_the_prior(model: ScriptedModel, store: Path) -> None:
    async with AsyncOpenAI(store=store) as client:
        copy = client.with_options(timeout=5).copy()
        await copy.chat.completions.create(model=MODEL, messages=QUESTION)
        assert copy.tfgrpo is client.tfgrpo
    assert is_biased(model.requests[0])


async def test_an_async_client_speaks_to_an_app_in_process(store: Path) -> None:
    model = ScriptedModel(script)
    http_client = http.AsyncClient(transport=http.ASGITransport(model.app))
    async with AsyncOpenAI(store=store, api_key="sk", base_url="http://app/v1", http_client=http_client) as client:
        await client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert is_biased(model.requests[0])
