"""The prior around what others have made: clients, transports, forked processes, threads."""

import gc
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest

from tests.clients.every_api import EveryApi
from tests.live import BODY, PRIOR, TEXT, go_live
from tfgrpo import AsyncOpenAI, OpenAI, info, transport, wrap
from tfgrpo.errors import InputError
from tfgrpo.serve.carriers import carrier
from tfgrpo.testing import serving

CALL: Any = {"model": "fake", "messages": [{"role": "user", "content": "Which queue?"}]}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[EveryApi, str]]:
    upstream = EveryApi()
    with serving(upstream.app) as url:
        yield upstream, url


@pytest.fixture
def upstream(served: tuple[EveryApi, str]) -> EveryApi:
    served[0].requests.clear()
    return served[0]


@pytest.fixture
def options(served: tuple[EveryApi, str]) -> dict[str, Any]:
    return {"base_url": served[1], "api_key": "sk-caller"}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return go_live(tmp_path / "s.db")


def test_an_existing_client_is_wrapped_and_stays_as_it_is(
    upstream: EveryApi, options: dict[str, Any], store: Path
) -> None:
    with openai.OpenAI(**options, default_headers={"x-own": "1"}) as plain:
        ours = wrap(plain, store=store)
        assert type(ours) is openai.OpenAI
        found = [ours.chat.completions.create(**CALL), ours.with_options(timeout=3).chat.completions.create(**CALL)]
        plain.chat.completions.create(**CALL)
        again = wrap(ours, store=store)  # not twice
        again.chat.completions.create(**CALL)
    assert [info(one).prior for one in found] == [PRIOR.id] * 2
    assert [got.raw.decode().count(TEXT) for got in upstream.requests] == [1, 1, 0, 1]
    assert [got.headers["x-own"] for got in upstream.requests] == ["1"] * 4


def test_a_client_of_ours_is_wrapped_too_and_the_copy_has_the_prior_that_it_says(
    upstream: EveryApi, options: dict[str, Any], store: Path, tmp_path: Path
) -> None:
    with OpenAI(**options, store=tmp_path / "none.db") as first:
        again = wrap(first, store=store)
        assert info(again.chat.completions.create(**CALL)).prior == PRIOR.id == again.tfgrpo.snapshot.prior.id  # pyrefly: ignore[missing-attribute]
        assert info(first.chat.completions.create(**CALL)).reason == "store"


async def test_an_existing_async_client_is_wrapped(upstream: EveryApi, options: dict[str, Any], store: Path) -> None:
    async with openai.AsyncOpenAI(**options) as plain:
        found = await wrap(plain, store=store).chat.completions.create(**CALL)
    assert info(found).prior == PRIOR.id


@pytest.mark.parametrize("given", [None, "client", httpx2, object()])
def test_what_is_no_client_and_no_transport_is_refused_and_told_what_is(given: Any) -> None:
    with pytest.raises(InputError, match=r"tfgrpo\.wrap takes a client of openai or anthropic"):
        wrap(given)
    with pytest.raises(InputError, match=r"tfgrpo\.transport takes a transport of httpx or httpx2"):
        transport(given)


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_transport_of_either_library_gets_the_prior(
    library: Any, upstream: EveryApi, options: dict[str, Any], store: Path
) -> None:
    url = f"{options['base_url']}/chat/completions"
    with library.Client(transport=transport(library.HTTPTransport(), store=store)) as client:
        found = [client.post(url, json=BODY)]
    async with library.AsyncClient(transport=transport(library.AsyncHTTPTransport(), store=store)) as other:
        found.append(await other.post(url, json=BODY))
    assert [info(one).prior for one in found] == [PRIOR.id] * 2
    assert [got.raw.decode().count(TEXT) for got in upstream.requests] == [1, 1]


def test_an_sdk_that_is_given_a_client_of_the_older_library_keeps_it(
    upstream: EveryApi, options: dict[str, Any], store: Path
) -> None:
    with httpx.Client(headers={"x-own": "1"}, timeout=7) as shared:
        client = OpenAI(**options, store=store, http_client=shared)  # pyrefly: ignore[bad-argument-type]
        found = client.chat.completions.create(**CALL)
        theirs = openai.OpenAI(**options, http_client=shared)  # pyrefly: ignore[bad-argument-type]
        assert client.timeout == theirs.timeout
    assert info(found).prior == PRIOR.id
    assert upstream.last.headers["x-own"] == "1"


def test_what_reaches_the_transport_of_a_carrier_goes_through_the_other_client_too(
    upstream: EveryApi, options: dict[str, Any], store: Path
) -> None:
    with OpenAI(**options, store=store) as client, httpx2.Client(headers={"x-own": "1"}) as inner:
        carrying = carrier(inner, client.tfgrpo)
        response = httpx2.Client(transport=carrying._transport).post(
            f"{options['base_url']}/chat/completions", json=BODY
        )
        assert carrying.event_hooks == inner.event_hooks
        carrying.timeout = 3
        assert inner.timeout == httpx2.Timeout(3)
    assert info(response).prior == PRIOR.id


def test_what_is_no_http_client_is_refused_as_by_the_sdk(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="Invalid `http_client` argument"):
        OpenAI(**options, timeout=3, http_client="client")  # pyrefly: ignore[bad-argument-type]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_processes_speak_over_connections_of_their_own(
    upstream: EveryApi, options: dict[str, Any], store: Path
) -> None:
    def asks(client: OpenAI, name: str) -> bool:
        found = client.chat.completions.create(**CALL, extra_headers={"x-name": name})
        return info(found).prior == PRIOR.id

    with OpenAI(**options, store=store, max_retries=0) as client:
        assert asks(client, "before")
        children = []
        for number in range(4):
            if not (child := os.fork()):
                os._exit(0 if all(asks(client, f"{number}") for _ in range(10)) else 1)
            children.append(child)
        assert all([asks(client, "parent") for _ in range(10)])
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert len(upstream.requests) == 1 + 5 * 10


def test_threads_share_a_client(upstream: EveryApi, options: dict[str, Any], store: Path) -> None:
    def ask(number: int) -> bool:
        return info(client.chat.completions.create(**CALL)).prior == PRIOR.id

    with OpenAI(**options, store=store) as client, ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(160)))
    assert [got.raw.decode().count(TEXT) for got in upstream.requests] == [1] * 160


def test_a_client_that_nobody_has_any_more_closes_its_connections(options: dict[str, Any], store: Path) -> None:
    client = OpenAI(**options, store=store)
    inner = client._client.inner  # pyrefly: ignore[missing-attribute]
    client.chat.completions.create(**CALL)
    del client
    gc.collect()
    assert inner.is_closed


async def test_an_async_client_that_nobody_has_any_more_ends_quietly(options: dict[str, Any], store: Path) -> None:
    client = AsyncOpenAI(**options, store=store)
    await client.chat.completions.create(**CALL)
    await client.close()
    del client
