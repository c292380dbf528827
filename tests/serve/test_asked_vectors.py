"""Calls in use whose prior chooses demonstrations by an embedding model, SIMULATED by a fake upstream: what is asked
for beside them, how often, and that no call fails for it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.live import MODEL, go_live
from tests.serve.fronts import Serve
from tests.surfaces.vectors import embedded
from tfgrpo import AsyncOpenAI, OpenAI
from tfgrpo.records import ChatBody, Prior
from tfgrpo.serve import asked_vectors
from tfgrpo.serve.asked_vectors import AskedVectors, WantedVector, embeddings_path
from tfgrpo.serve.proxy import Shelf
from tfgrpo.testing import Answer, ScriptedModel, serving

MEANINGS = {"Where is my invoice?": [1.0, 0.1], "The app is broken": [0.1, 1.0], "I was charged twice": [0.9, 0.3]}
POOL = tuple(embedded(text, text.upper(), MEANINGS[text]) for text in list(MEANINGS)[:2])
PRIOR = Prior(instruction="Route it.", demonstrations=POOL, nearest=1, embedding="near")
ASKED = "I was charged twice"
"""By trigrams it is nearer to neither in particular; by its vector it is an invoice."""
BY_WORDS = "The app: where is my"
"""Near to the broken app by its vector, and to the invoice by its trigrams."""
OTHERWISE = [0.0, 1.0]
INVOICE, BROKEN = (entry.input for entry in POOL)


def fake(embed: Any = None) -> ScriptedModel:
    return ScriptedModel(lambda body: "BILL", embed=embed or (lambda text: MEANINGS.get(text, OTHERWISE)))


def shown(body: ChatBody) -> str:
    """The demonstration in a request, by what it asks."""
    said = [message["content"] for message in body["messages"]]
    assert said[0] == "Route it."
    return str(said[1])


def asking(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture(autouse=True)
def vectors(monkeypatch: pytest.MonkeyPatch) -> Iterator[AskedVectors]:
    """None is known of another test."""
    fresh = AskedVectors()
    for place in ("tfgrpo.serve.exchange.VECTORS", "tfgrpo.serve.proxy.vectors.VECTORS"):
        monkeypatch.setattr(place, fresh)
    yield fresh


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return go_live(tmp_path / "s.db", PRIOR)


def test_a_client_asks_for_a_vector_once_a_text_and_shows_what_is_nearest_by_it(store: Path) -> None:
    model = fake()
    with serving(model.app) as url, OpenAI(store=store, base_url=url, api_key="sk-caller") as client:
        for text in (BY_WORDS, ASKED, BY_WORDS):
            client.chat.completions.create(model=MODEL, messages=asking(text))
        client.responses.with_raw_response.create(model=MODEL, input=ASKED)
    assert [shown(body) for body in model.requests[:3]] == [BROKEN, INVOICE, BROKEN]
    assert model.embedded == [[BY_WORDS], [ASKED]]
    assert {headers["authorization"] for headers in model.headers} == {"Bearer sk-caller"}
    assert [headers.get("x-tfgrpo-prior") for headers in model.headers[:2]] == [None, PRIOR.id]


async def test_an_async_client_does_so_too(store: Path) -> None:
    model = fake()
    with serving(model.app) as url:
        async with AsyncOpenAI(store=store, base_url=url, api_key="sk-caller") as client:
            for _ in range(2):
                await client.chat.completions.create(model=MODEL, messages=asking(BY_WORDS))
    assert [shown(body) for body in model.requests] == [BROKEN] * 2
    assert model.embedded == [[BY_WORDS]]


@pytest.mark.parametrize("status", [400, 404, 500])
def test_where_no_vector_is_to_be_had_trigrams_choose_and_it_is_said_once(
    store: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    model = fake(lambda text: Answer("no", status=status))
    with serving(model.app) as url, OpenAI(store=store, base_url=url, api_key="k") as client:
        for _ in range(3):
            client.chat.completions.create(model=MODEL, messages=asking(BY_WORDS))
    assert [shown(body) for body in model.requests] == [INVOICE] * 3
    assert len(model.embedded) == 1, "it is not asked again at once"
    said = [record.getMessage() for record in caplog.records if "no embedding by near" in record.getMessage()]
    assert said == [
        f"no embedding by near: the upstream answered {status}; trigrams choose the nearest demonstrations meanwhile"
    ]


def test_what_cannot_be_read_as_vectors_fails_no_call(store: Path) -> None:
    model = ScriptedModel(lambda body: "BILL")  # it has no such route, and echoes
    with serving(model.app) as url, OpenAI(store=store, base_url=url, api_key="k") as client:
        said = client.chat.completions.create(model=MODEL, messages=asking(BY_WORDS)).choices[0].message.content
    assert (said, shown(model.requests[0])) == ("BILL", INVOICE)


def test_a_prior_without_vectors_asks_for_none(tmp_path: Path) -> None:
    model, plain = fake(), replace(PRIOR, embedding="")
    with (
        serving(model.app) as url,
        OpenAI(store=go_live(tmp_path / "s.db", plain), base_url=url, api_key="k") as client,
    ):
        client.chat.completions.create(model=MODEL, messages=asking(BY_WORDS))
        client.chat.completions.create(model=MODEL, messages=asking(""))
    assert model.embedded == []


# Through the proxy


@pytest.fixture
def shelf(store: Path) -> Shelf:
    return Shelf(store, "default")


async def test_the_proxy_asks_the_upstream_of_the_call_once_a_text(front: Serve) -> None:
    model = fake()
    at = await front(model.app)
    async with openai.AsyncOpenAI(api_key="sk-caller", base_url="http://proxy/v1", http_client=at.of_sdk) as client:
        for text in (BY_WORDS, ASKED, BY_WORDS):
            await client.chat.completions.create(model=MODEL, messages=asking(text))
        await client.responses.with_raw_response.create(model=MODEL, input=ASKED)
    assert [shown(body) for body in model.requests[:3]] == [BROKEN, INVOICE, BROKEN]
    assert model.embedded == [[BY_WORDS], [ASKED]]
    assert {headers["authorization"] for headers in model.headers} == {"Bearer sk-caller"}


async def test_through_the_proxy_no_call_fails_for_want_of_a_vector(front: Serve) -> None:
    model = fake(lambda text: Answer("busy", status=503))
    at = await front(model.app)
    answers = [await at.chat({"model": MODEL, "messages": asking(BY_WORDS)}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [shown(body) for body in model.requests] == [INVOICE] * 2
    assert len(model.embedded) == 1


# What is known


def test_a_model_that_failed_is_asked_again_after_a_while() -> None:
    now = [0.0]
    known, wanted = AskedVectors(lambda: now[0]), WantedVector("http://up/embeddings", "near", "text")
    assert known.known(wanted) is None
    assert known.take(wanted, 0, b"") == (
        "",
        "no embedding by near: no answer came in time; trigrams choose the nearest demonstrations meanwhile",
    )
    assert known.known(wanted) == ""
    assert known.known(wanted._replace(model="other")) is None
    now[0] = 61.0
    assert known.known(wanted) is None
    vector, notice = known.take(wanted, 200, b'{"data": [{"index": 0, "embedding": [1, 0]}]}')
    assert (known.known(wanted), notice) == (vector, None)


def test_no_more_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_vectors, "_KEPT", 4)
    known, every = AskedVectors(), [WantedVector("http://up", "near", str(number)) for number in range(6)]
    for wanted in every:
        known.known(every[0])
        known.take(wanted, 200, b'{"data": [{"index": 0, "embedding": [1, 0]}]}')
    assert [known.known(wanted) is not None for wanted in every] == [True, False, False, True, True, True]


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/v1/chat/completions", "/v1/embeddings"),
        ("/v1/responses/", "/v1/embeddings"),
        ("/openai/deployments/gpt/chat/completions", "/openai/deployments/near/embeddings"),
        ("/v1/messages", None),
        ("/v1/models", None),
    ],
)
def test_embeddings_are_beside_the_route_of_the_call(path: str, there: str | None) -> None:
    assert embeddings_path(path, "near") == there
