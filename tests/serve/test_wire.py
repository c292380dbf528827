"""The live prior over httpx2: transports, blocking and async."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.live import BODY, PRIOR, TEXT, go_live, sdk_json
from tfgrpo.serve.over_httpx2 import AsyncPriorTransport, PriorTransport
from tfgrpo.serve.source import PriorSource
from tfgrpo.surfaces.http import PRIOR_HEADER

URL = "http://upstream/v1/chat/completions"


class Upstream:
    """A handler for httpx2.MockTransport that keeps what it got."""

    def __init__(self, *responses: httpx2.Response) -> None:
        self.responses = list(responses)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return self.responses.pop(0) if self.responses else httpx2.Response(200, json={})

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]


@pytest.fixture
def source(tmp_path: Path) -> PriorSource:
    return PriorSource(go_live(tmp_path / "s.db"), "default")


def experiences_in(body: dict[str, object]) -> int:
    return str(body["messages"]).count(TEXT)


async def exchange(
    kind: str, upstream: Upstream, source: PriorSource, request: httpx2.Request, *, follow_redirects: bool = False
) -> httpx2.Response:
    """Send the request through either transport."""
    inner = httpx2.MockTransport(upstream)
    if kind == "sync":
        with httpx2.Client(transport=PriorTransport(inner, source)) as client:
            return client.send(request, follow_redirects=follow_redirects)
    async with httpx2.AsyncClient(transport=AsyncPriorTransport(inner, source)) as client:
        return await client.send(request, follow_redirects=follow_redirects)


both = pytest.mark.parametrize("kind", ["sync", "async"])


@both
async def test_a_transport_sends_a_marked_copy(kind: str, source: PriorSource) -> None:
    upstream = Upstream()
    request = httpx2.Request("POST", URL, json=BODY, headers={"authorization": "Bearer caller"})
    written = request.content
    response = await exchange(kind, upstream, source, request)
    (sent,) = upstream.requests
    assert experiences_in(upstream.bodies()[0]) == 1
    assert sent.headers["content-length"] == str(len(sent.content))
    assert sent.headers["authorization"] == "Bearer caller"
    assert sent.headers[PRIOR_HEADER] == response.headers[PRIOR_HEADER] == PRIOR.id
    assert request.content == written
    assert PRIOR_HEADER not in request.headers


@both
@pytest.mark.parametrize(
    "request_",
    [
        httpx2.Request("GET", "http://upstream/v1/models"),
        httpx2.Request("POST", "http://upstream/v1/embeddings", json=BODY),
        httpx2.Request("POST", URL, content=b"no JSON"),
        httpx2.Request("POST", URL, json=BODY, headers={PRIOR_HEADER: "prior_of_another"}),
        httpx2.Request("POST", URL, json=BODY, headers={PRIOR_HEADER: "none"}),
    ],
    ids=["GET", "embeddings", "no JSON", "marked", "opted out"],
)
async def test_everything_else_is_passed_on_as_the_very_same_request(
    kind: str, request_: httpx2.Request, source: PriorSource
) -> None:
    upstream = Upstream()
    response = await exchange(kind, upstream, source, request_)
    assert upstream.requests[0] is request_
    assert response.headers.get(PRIOR_HEADER, "none") == "none"


@both
async def test_without_a_store_the_request_passes(kind: str, tmp_path: Path) -> None:
    upstream = Upstream()
    request = httpx2.Request("POST", URL, json=BODY)
    await exchange(kind, upstream, PriorSource(tmp_path / "none.db", "default"), request)
    assert upstream.requests[0] is request


@both
async def test_a_redirected_request_is_biased_once_on_every_hop(kind: str, source: PriorSource) -> None:
    upstream = Upstream(httpx2.Response(307, headers={"location": "http://other/v1/chat/completions"}))
    await exchange(kind, upstream, source, httpx2.Request("POST", URL, json=BODY), follow_redirects=True)
    assert [experiences_in(body) for body in upstream.bodies()] == [1, 1]


@both
@pytest.mark.parametrize("number", [2**64, -(10**25), 2**64 - 1, 7])
async def test_a_long_integer_stays_what_it_is(kind: str, number: int, source: PriorSource) -> None:
    upstream = Upstream()
    said = {**BODY, "messages": [{"role": "user", "content": "1e+20"}], "metadata": {"id": number, "share": 0.5}}
    await exchange(kind, upstream, source, httpx2.Request("POST", URL, json=said))
    (sent,) = upstream.bodies()
    assert sent["metadata"] == {"id": number, "share": 0.5}
    assert isinstance(sent["metadata"]["id"], int)
    assert experiences_in(sent) == 1


@both
async def test_a_body_that_comes_in_pieces_gets_the_prior_too(kind: str, source: PriorSource) -> None:
    whole = sdk_json(BODY)

    def pieces() -> Iterator[bytes]:
        yield whole[:10]
        yield whole[10:]

    async def async_pieces() -> AsyncIterator[bytes]:
        for piece in pieces():
            yield piece

    upstream = Upstream()
    request = httpx2.Request("POST", URL, content=pieces() if kind == "sync" else async_pieces())
    await exchange(kind, upstream, source, request)
    (sent,) = upstream.requests
    assert experiences_in(upstream.bodies()[0]) == 1
    assert "transfer-encoding" not in sent.headers
    assert sent.headers["content-length"] == str(len(sent.content))


@both
async def test_a_model_of_another_name_is_warned_of_once(
    kind: str, source: PriorSource, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        request = httpx2.Request("POST", URL, json={**BODY, "model": "else"})
        await exchange(kind, Upstream(), source, request)
    assert len([record for record in caplog.records if "'else'" in record.getMessage()]) == 1


class Lifecycle(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """A transport that notes when it is opened and closed."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def __enter__(self) -> "Lifecycle":
        self.events.append("enter")
        return self

    def __exit__(self, *_: object) -> None:  # pyrefly: ignore[bad-override]  # httpx2 calls it by place
        self.events.append("exit")

    def close(self) -> None:
        self.events.append("close")

    async def __aenter__(self) -> "Lifecycle":
        self.events.append("enter")
        return self

    async def __aexit__(self, *_: object) -> None:  # pyrefly: ignore[bad-override]  # httpx2 calls it by place
        self.events.append("exit")

    async def aclose(self) -> None:
        self.events.append("close")


def test_the_inner_transport_is_opened_and_closed_with_its_client(source: PriorSource) -> None:
    inner = Lifecycle()
    with httpx2.Client(transport=PriorTransport(inner, source)):
        pass
    httpx2.Client(transport=PriorTransport(inner, source)).close()
    assert inner.events == ["enter", "exit", "close"]


async def test_the_inner_async_transport_is_opened_and_closed_with_its_client(source: PriorSource) -> None:
    inner = Lifecycle()
    async with httpx2.AsyncClient(transport=AsyncPriorTransport(inner, source)):
        pass
    await httpx2.AsyncClient(transport=AsyncPriorTransport(inner, source)).aclose()
    assert inner.events == ["enter", "exit", "close"]
