"""The openai SDK that is installed, whichever version: each way to make a call carries the prior exactly once.

`make matrix` runs it on the oldest 1.x, on 2.x and on 3.x.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.clients.every_api import EveryApi, Got
from tests.clients.ways import ASYNC, CHAT, COMPLETION, OTHERS, UNTOUCHED, there
from tests.live import PRIOR, TEXT, go_live
from tfgrpo import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI, info
from tfgrpo.testing import serving

BIASES = {"7": 1.5, "9": -2}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[EveryApi, str]]:
    upstream = EveryApi()
    with serving(upstream.app) as url:
        yield upstream, url


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return go_live(tmp_path_factory.mktemp("clients") / "s.db")


@pytest.fixture
def upstream(served: tuple[EveryApi, str]) -> EveryApi:
    served[0].requests.clear()
    return served[0]


@pytest.fixture
def options(served: tuple[EveryApi, str], store: Path) -> dict[str, Any]:
    return {"base_url": served[1], "api_key": "sk-caller", "store": store}


def carries_it_once(got: Got) -> bool:
    biased = got.body.get("logit_bias") == BIASES or "messages" not in got.body
    return got.raw.decode().count(TEXT) == 1 and got.mark == PRIOR.id and biased


def has(found: object) -> bool:
    """Whether a response tells the prior; what `stream()` of responses ends with has forgotten where it came from."""
    return info(found).prior == PRIOR.id


def test_every_way_carries_the_prior_once_and_tells_so(upstream: EveryApi, options: dict[str, Any]) -> None:
    with OpenAI(**options) as client:
        for name, way in there(CHAT | OTHERS, client).items():
            told = way(client)
            assert carries_it_once(upstream.last), name
            assert has(told), name


async def test_every_async_way_carries_the_prior_once_and_tells_so(upstream: EveryApi, options: dict[str, Any]) -> None:
    async with AsyncOpenAI(**options) as client:
        for name, way in ASYNC.items():
            told = await way(client)
            assert carries_it_once(upstream.last), name
            assert has(told), name


def test_a_retried_call_carries_it_once_each_time(upstream: EveryApi, options: dict[str, Any]) -> None:
    with OpenAI(**options) as client:
        upstream.statuses[:] = [500, 429]
        CHAT["chat create"](client)
    assert [carries_it_once(got) for got in upstream.requests] == [True] * 3


def test_completions_take_the_biases_alone(upstream: EveryApi, options: dict[str, Any]) -> None:
    with OpenAI(**options) as client:
        assert has(COMPLETION(client))
    assert upstream.last.body == {"model": "fake", "prompt": "Which queue?", "logit_bias": BIASES}


def test_what_is_no_question_to_a_model_goes_as_the_sdk_alone_sends_it(
    upstream: EveryApi, options: dict[str, Any]
) -> None:
    with OpenAI(**options) as ours, openai.OpenAI(base_url=options["base_url"], api_key="sk-caller") as theirs:
        for name, way in UNTOUCHED.items():
            for client in (ours, theirs):
                way(client)
            mine, plain = upstream.requests[-2:]
            if name != "multipart":  # whose boundary is drawn
                assert mine.raw == plain.raw, name
            assert {*mine.headers} == {*plain.headers}, name


def azure(served: tuple[EveryApi, str], store: Path) -> dict[str, Any]:
    host = served[1].removesuffix("/v1")
    return {"azure_endpoint": host, "api_key": "k", "api_version": "2024-10-21", "store": store}


async def test_azure_carries_it_too(upstream: EveryApi, served: tuple[EveryApi, str], store: Path) -> None:
    with AzureOpenAI(**azure(served, store)) as client:
        assert has(CHAT["chat create"](client))
        assert has(CHAT["chat of with_options"](client))
        assert has(OTHERS["responses create"](client))
    async with AsyncAzureOpenAI(**azure(served, store)) as other:
        assert has(await ASYNC["chat create"](other))
    assert [got.path for got in upstream.requests] == [
        "/openai/deployments/fake/chat/completions",
        "/openai/deployments/fake/chat/completions",
        "/openai/responses",
        "/openai/deployments/fake/chat/completions",
    ]
    assert all(carries_it_once(got) for got in upstream.requests)
