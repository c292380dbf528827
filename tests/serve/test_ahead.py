"""What a client of ours sends is written once, with the prior; what is not plain is read once it is built."""

import json
from collections.abc import Iterator
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import openai
import pytest

import tfgrpo
from tests.clients.every_api import EveryApi, Got
from tests.live import PRIOR, TEXT, go_live
from tfgrpo.model.library import http
from tfgrpo.serve import mould
from tfgrpo.serve.drawing import Drawn
from tfgrpo.serve.exchange import Exchange
from tfgrpo.serve.source import PriorSource
from tfgrpo.store import Store
from tfgrpo.testing import serving

VERSION = int(openai.__version__.partition(".")[0])
pytestmark = pytest.mark.skipif(VERSION < 2, reason="older SDKs send no JSON that is bytes already")

ASKED: Any = [
    {"role": "user", "content": "Which queue? \u00e9"},
    {"role": "assistant", "content": None, "tool_calls": []},
    {"role": "user", "content": "null, page-1 and 0.00001"},
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EveryApi, dict[str, Any]]]:
    upstream = EveryApi()
    store = go_live(tmp_path_factory.mktemp("ahead") / "s.db")
    with serving(upstream.app) as url:
        yield upstream, {"base_url": url, "api_key": "sk-caller", "store": store}


@pytest.fixture
def upstream(served: tuple[EveryApi, dict[str, Any]]) -> Iterator[EveryApi]:
    served[0].requests.clear()
    yield served[0]
    served[0].refuses_prior = False


@pytest.fixture
def options(served: tuple[EveryApi, dict[str, Any]]) -> dict[str, Any]:
    return served[1]


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each call, whether what was sent had begun before it was built."""
    seen: list[bool] = []
    begin = Exchange.begin

    def told(exchange: Exchange) -> object:
        seen.append(exchange.drafted is not None)
        return begin(exchange)

    monkeypatch.setattr(Exchange, "begin", told)
    return seen


def looked(client: Any) -> Any:
    """A client whose source has looked at its store, as it has after the first call."""
    client.tfgrpo.current()
    return client


def has_it(got: Got) -> bool:
    return got.raw.decode().count(TEXT) == 1 and got.mark == PRIOR.id


async def test_a_plain_call_is_built_with_the_prior_in_it(
    upstream: EveryApi, options: dict[str, Any], ahead: list[bool]
) -> None:
    with looked(tfgrpo.OpenAI(**options)) as client:
        found = client.chat.completions.create(model="fake", messages=ASKED)
        raw = client.responses.with_raw_response.create(model="fake", input="Which queue?")
        again = client._client.send(raw.http_request)  # as the SDK does when a token is renewed
    async with looked(tfgrpo.AsyncOpenAI(**options)) as other:
        later = other.with_options(timeout=7)
        for _ in range(2):
            await later.chat.completions.create(model="fake", messages=ASKED)
    assert ahead == [True] * 5
    assert all(has_it(got) for got in upstream.requests)
    assert tfgrpo.info(found).prior == tfgrpo.info(raw).prior == tfgrpo.info(again).prior == PRIOR.id
    assert len({tfgrpo.info(one).inference for one in (found, raw, again)}) == 3


def test_a_request_made_of_the_last_one_is_as_the_http_client_builds_it(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: list[bool] = []
    fill = mould.Cast.filled

    def told(cast: mould.Cast, content: bytes) -> object:
        filled.append(True)
        return fill(cast, content)

    monkeypatch.setattr(mould.Cast, "filled", told)
    kept = _sent_in_turn(options)
    assert filled == [True] * 9
    monkeypatch.setattr(mould, "Cast", lambda *parts: None)  # nothing is kept
    assert kept == _sent_in_turn(options)
    assert filled == [True] * 9


def _sent_in_turn(options: dict[str, Any]) -> list[Any]:
    """What calls of one client come to, each as it is sent: headers, URL, limits of time and content."""
    sent: list[Any] = []

    def answer(request: http.Request) -> http.Response:
        sent.append((request.headers.raw, str(request.url), dict(request.extensions["timeout"]), request.content))
        status = 500 if len(sent) in (3, 4) else 200
        return http.Response(status, json={"id": "1", "choices": []}, headers={"retry-after-ms": "1"})

    limits = http.Timeout(9)
    with (
        http.Client(transport=http.MockTransport(answer), headers={"x-own": "1"}, auth=("u", "p")) as own,
        looked(tfgrpo.OpenAI(**options, http_client=own, timeout=limits)) as client,
    ):

        def call(**how: Any) -> None:
            for text in ("Which queue?", "Which queue, at last?"):
                client.chat.completions.create(model="fake", messages=[{"role": "user", "content": text}], **how)

        call()
        call()  # the first of these is tried three times
        call(timeout=7)
        call(extra_headers={"x-own": "2", "User-Agent": "me"})
        call(extra_query={"of": "it"})
        call()
        limits.read = 8.0
        call()
        own.headers["x-late"] = "1"
        call()
        own.params = own.params.set("key", "1")
        call()
        own.params = own.params.remove("key")
        own.cookies.set("known", "1")
        call()
        own.cookies.clear()
        client.with_options(default_headers={"x-own": "3"}).chat.completions.create(model="fake", messages=ASKED)
        call()
    return sent


def test_what_is_refused_goes_once_more_as_the_sdk_alone_writes_it(
    upstream: EveryApi, options: dict[str, Any], ahead: list[bool]
) -> None:
    upstream.refuses_prior = True
    call: Any = {"model": "fake", "messages": ASKED, "temperature": 0.1, "max_tokens": 7}
    plain = {name: value for name, value in options.items() if name != "store"}
    with looked(tfgrpo.OpenAI(**options)) as ours, openai.OpenAI(**plain) as theirs:
        found = ours.chat.completions.create(**call)
        theirs.chat.completions.create(**call)
    refused, again, alone = upstream.requests
    assert ahead == [True]
    assert has_it(refused)
    assert again.raw == alone.raw
    assert {*again.headers} == {*alone.headers}
    assert tfgrpo.info(found).reason == "refused"


class Adding(http.Client):
    """An HTTP client that has a part in what is sent."""

    def build_request(self, *args: Any, **options: Any) -> http.Request:
        request = super().build_request(*args, **options)
        body = {**json.loads(request.content), "user": "u"}
        return http.Request(request.method, request.url, json=body, extensions=request.extensions)


def test_what_an_http_client_adds_to_a_body_stays_there_when_the_prior_is_refused(
    upstream: EveryApi, options: dict[str, Any], ahead: list[bool]
) -> None:
    upstream.refuses_prior = True
    with Adding() as own, looked(tfgrpo.OpenAI(**options, http_client=own)) as client:
        client.chat.completions.create(model="fake", messages=ASKED)
    refused, again = upstream.requests
    assert has_it(refused)
    assert again.mark is None
    assert refused.body["user"] == again.body["user"] == "u"
    assert ahead == [False]


@pytest.mark.parametrize(
    "how",
    [
        {"extra_body": {"top_k": 3}},
        {"extra_headers": {"X-Tfgrpo-Sticky-Key": "u"}},
        {"extra_headers": {"Content-Length": "1"}},
        {"metadata": {"big": 2**70}},
        {"temperature": 1e-7},
    ],
    ids=lambda how: next(iter(how)),
)
def test_what_needs_care_is_read_once_it_is_built(
    how: dict[str, Any], upstream: EveryApi, options: dict[str, Any], ahead: list[bool]
) -> None:
    with looked(tfgrpo.OpenAI(**options)) as client:
        client.chat.completions.create(model="fake", messages=ASKED, **how)
    assert ahead == [False]
    assert has_it(upstream.last)
    assert (
        upstream.last.body.items() >= {**how.get("extra_body", {}), "messages": upstream.last.body["messages"]}.items()
    )
    assert how.get("metadata", upstream.last.body.get("metadata")) == upstream.last.body.get("metadata")


def test_headers_of_the_clients_are_heeded(upstream: EveryApi, options: dict[str, Any], ahead: list[bool]) -> None:
    nowhere = {"x-tfgrpo-namespace": "nowhere"}
    with looked(tfgrpo.OpenAI(**options, default_headers=nowhere)) as client:
        reasons = [tfgrpo.info(client.chat.completions.create(model="fake", messages=ASKED)).reason]
    with http.Client(headers=nowhere) as own, looked(tfgrpo.OpenAI(**options, http_client=own)) as client:
        reasons.append(tfgrpo.info(client.chat.completions.create(model="fake", messages=ASKED)).reason)
    with looked(tfgrpo.OpenAI(**options)) as client, tfgrpo.disabled():
        reasons.append(tfgrpo.info(client.chat.completions.create(model="fake", messages=ASKED)).reason)
    assert reasons == ["namespace", "namespace", "disabled"]
    assert ahead == [False] * 3


def test_what_the_sdk_refuses_to_write_it_still_does(options: dict[str, Any]) -> None:
    with looked(tfgrpo.OpenAI(**options)) as client:
        for bad, error in (
            (float("nan"), ValueError),
            ("\ud800", UnicodeEncodeError),
            (object(), TypeError),
            (UUID(int=1), TypeError),
            (Color.RED, TypeError),
        ):
            with pytest.raises(error):
                client.chat.completions.create(model="fake", messages=ASKED, metadata={"a": bad})


def test_without_a_prior_the_bytes_are_those_of_the_sdk(upstream: EveryApi, options: dict[str, Any]) -> None:
    plain = {name: value for name, value in options.items() if name != "store"}
    form: Any = {"content-type": "multipart/form-data; boundary=b"}
    calls: Any = [
        {"temperature": 1e-7, "top_p": 1e16},
        {"user": Named.ONE},
        {"metadata": {Named.ONE: "1"}},
        {"seed": 2**63},
        {"stop": ("a", "\u2028")},
    ]
    with looked(tfgrpo.OpenAI(**options, namespace="nowhere")) as ours, openai.OpenAI(**plain) as theirs:
        for how in calls:
            for client in (ours, theirs):
                client.chat.completions.create(model="fake", messages=ASKED, **how)
            assert upstream.requests[-1].raw == upstream.requests[-2].raw
        built = [_built(client, form) for client in (ours, theirs)]
    assert built[0] == built[1]
    assert (b"form-data" in built[0]) == (VERSION > 2)


def _built(client: openai.OpenAI, headers: Any) -> bytes:
    """What a call goes out as, which the server does not read."""
    with client.chat.completions.with_streaming_response.create(
        model="fake", messages=ASKED, extra_headers={**headers, "x-tfgrpo-prior": "none"}
    ) as found:
        return bytes(found.http_request.read())


def test_what_gets_no_prior_ahead_is_drawn_once(
    upstream: EveryApi, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = go_live(tmp_path / "s.db", state="canary")
    with Store(store) as opened:
        opened.add_share("default", PRIOR.id, 0.5)
    drawn: list[Drawn] = []
    draw = PriorSource.drawn_for

    def told(source: PriorSource, key: str | None, content: bytes = b"") -> Drawn:
        drawn.append(draw(source, key, content))
        return drawn[-1]

    monkeypatch.setattr(PriorSource, "drawn_for", told)
    with looked(tfgrpo.OpenAI(**(options | {"store": store}))) as client:
        for _ in range(12):
            client.chat.completions.create(model="fake", messages=ASKED)
    assert [bool(one.snapshot) for one in drawn] == [has_it(got) for got in upstream.requests]


class Color(Enum):
    """What JSON does not know."""

    RED = "red"


class Named(StrEnum):
    """A text whose value is another, which the SDK does not look at."""

    ONE = "one"

    def __init__(self, text: str) -> None:
        self._value_ = f"value of {text}"


class Looking(tfgrpo.OpenAI):
    """A client that adds to the options of its calls, by the SDK's hook."""

    def _prepare_options(self, options: Any) -> Any:
        prepared: Any = super()._prepare_options(options)
        prepared.json_data["user"] = "u"
        return prepared


def test_a_subclass_sees_the_options_of_a_call_as_ever(
    upstream: EveryApi, options: dict[str, Any], ahead: list[bool]
) -> None:
    with looked(Looking(**options)) as client:
        client.chat.completions.create(model="fake", messages=ASKED)
    assert upstream.last.body["user"] == "u"
    assert has_it(upstream.last)
    assert ahead == [False]


def test_an_sdk_that_calls_no_hook_gets_the_prior_once_the_request_is_built(
    upstream: EveryApi, options: dict[str, Any], ahead: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(tfgrpo.OpenAI, "_prepare_options")  # what nobody calls might as well not be there
    with looked(tfgrpo.OpenAI(**options)) as client:
        client.chat.completions.create(model="fake", messages=ASKED)
    assert has_it(upstream.last)
    assert ahead == [False]


class Signing(tfgrpo.OpenAI):
    """A client that signs what it has built, as providers of the SDK do."""

    def _prepare_request(self, request: Any) -> None:
        request.headers["content-digest"] = str(len(request.content))


def test_what_is_signed_as_it_is_built_goes_as_it_was_written(
    upstream: EveryApi, options: dict[str, Any], ahead: list[bool]
) -> None:
    with looked(Signing(**options)) as client:
        found = client.chat.completions.create(model="fake", messages=ASKED)
    assert tfgrpo.info(found).reason == "signed"
    assert json.loads(upstream.last.raw) == {"model": "fake", "messages": ASKED}
    assert upstream.last.headers["content-digest"] == str(len(upstream.last.raw))
    assert ahead == [False]


def test_a_call_that_is_kept_is_kept_as_it_was_written(
    upstream: EveryApi, options: dict[str, Any], ahead: list[bool], tmp_path: Path
) -> None:
    store = go_live(tmp_path / "s.db")
    with looked(tfgrpo.OpenAI(**(options | {"store": store}), record=True)) as client:
        client.chat.completions.create(model="fake", messages=ASKED)
        client.tfgrpo.close()
    assert ahead == [True]
    with Store(store) as opened:
        (kept,) = opened.inferences("default")
    assert json.loads(kept.request) == {"model": "fake", "messages": ASKED}
