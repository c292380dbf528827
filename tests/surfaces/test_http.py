import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live import MODEL, OTHER, PRIOR, TEXT, go_live
from tfgrpo.records import Demonstration, Frame, Prior, Snapshot
from tfgrpo.serve.source import CHECK_SECONDS, PriorSource, prior_source
from tfgrpo.serve.wire import AsyncPriorTransport, PriorTransport
from tfgrpo.store import Store
from tfgrpo.surfaces.http import PRIOR_HEADER, rewrite, takes_prior

SNAPSHOT = Snapshot("default", PRIOR, "live", Frame(model=MODEL))
TOKENS_ONLY = Snapshot("default", Prior(biases=PRIOR.biases), "live", Frame(model=MODEL))
NOTHING = Snapshot("default", Prior(), "live", Frame(model=MODEL))
URL = "http://upstream/v1/chat/completions"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Où est ma facture ?"}]}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def sdk_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


# The decision


def test_a_chat_request_gets_experiences_and_token_prior() -> None:
    decision = rewrite(sdk_json(BODY), SNAPSHOT)
    assert decision.prior == PRIOR.id
    assert decision.notice is None
    sent = json.loads(decision.content or b"")
    assert TEXT in sent["messages"][0]["content"]
    assert sent["messages"][1:] == BODY["messages"]
    assert sent["logit_bias"] == {"7": 1.5, "9": -2.0}


@pytest.mark.parametrize(
    ("prior", "first"),
    [
        (Prior(instruction="Reply with a code."), {"role": "system", "content": "Reply with a code."}),
        (Prior(demonstrations=(Demonstration("청구서?", "BILL"),)), {"role": "user", "content": "청구서?"}),
        (Prior(demonstrations=(Demonstration("청구서?", "BILL"),), nearest=8), {"role": "user", "content": "청구서?"}),
    ],
)
def test_a_way_to_prompt_alone_is_a_prior_too(prior: Prior, first: dict[str, str]) -> None:
    decision = rewrite(sdk_json(BODY), Snapshot("default", prior, "live", Frame(model=MODEL)))
    assert (decision.prior, decision.marks) == (prior.id, {PRIOR_HEADER: prior.id})
    sent = json.loads(decision.content or b"")
    assert sent["messages"][0] == first
    assert sent["messages"][-1:] == BODY["messages"]


@pytest.mark.parametrize(
    ("prior", "what"),
    [(Prior(instruction="x"), "instructions"), (Prior(demonstrations=(Demonstration("a", "b"),)), "demonstrations")],
)
def test_a_way_to_prompt_that_was_learned_on_another_family_is_told(prior: Prior, what: str) -> None:
    decision = rewrite(sdk_json({**BODY, "model": "gpt-4o"}), Snapshot("default", prior, "live", Frame(model="llama")))
    assert decision.content is not None
    assert decision.notice is not None
    assert decision.notice.startswith(f"the {what} of namespace 'default' were learned on model 'llama'")


def test_what_the_sdk_wrote_is_sent_again_to_the_byte() -> None:
    messages = [{"role": "system", "content": "a\u2028b"}, {"role": "user", "content": 'é "☃" \\ \n'}]
    sent = rewrite(sdk_json({**BODY, "messages": messages}), SNAPSHOT).content or b""
    assert all(sdk_json(message) in sent for message in messages)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
messages_lists = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]), "content": json_values}
    ),
    min_size=1,
    max_size=4,
)


@given(messages_lists, st.dictionaries(st.sampled_from(["n", "tools", "metadata", "user"]), json_values))
def test_the_callers_values_survive_in_order(messages: list[dict[str, object]], more: dict[str, object]) -> None:
    body = {"model": MODEL, **more, "messages": messages}
    sent = json.loads(rewrite(json.dumps(body).encode(), SNAPSHOT).content or b"")
    ours = [place for place, message in enumerate(sent["messages"]) if TEXT in str(message["content"])]
    assert len(ours) == 1
    del sent["messages"][ours[0]], sent["logit_bias"]
    assert sent == body


def test_half_a_surrogate_pair_travels_escaped_as_it_came() -> None:
    body = b'{"model":"fake","messages":[{"role":"user","content":"\\ud83d"}]}'
    sent = rewrite(body, SNAPSHOT).content or b""
    assert json.loads(sent)["messages"][1]["content"] == "\ud83d"


def test_another_model_gets_the_experiences_alone_and_a_word_about_it() -> None:
    decision = rewrite(sdk_json({**BODY, "model": "else\n"}), SNAPSHOT)
    sent = json.loads(decision.content or b"")
    assert TEXT in sent["messages"][0]["content"]
    assert "logit_bias" not in sent
    assert decision.notice is not None
    assert MODEL in decision.notice
    assert "'else'" in decision.notice
    assert "--model" in decision.notice


@pytest.mark.parametrize(
    ("prior", "model", "told"),
    [
        (OTHER, "fake", []),
        (OTHER, "maker/Fake-2025-04-14", []),
        (OTHER, "else", ["experiences", "may hurt on 'else'", "tfgrpo eval TASKS --namespace 'math' --model 'else'"]),
        (OTHER, None, []),
        (PRIOR, "maker/fake", ["token prior", "left out for 'maker/fake'"]),
        (PRIOR, "else", ["left out for 'else'", "may hurt on 'else'", "tfgrpo eval TASKS"]),
        (TOKENS_ONLY.prior, "else", ["left out for 'else'"]),
    ],
)
def test_a_model_of_another_family_comes_with_a_word_about_it(prior: Prior, model: Any, told: list[str]) -> None:
    decision = rewrite(sdk_json({**BODY, "model": model}), Snapshot("math", prior, "live", Frame(MODEL)))
    assert (decision.content is None) == (not prior.experiences)
    assert (decision.notice is None) == (not told)
    assert [words for words in told if words not in (decision.notice or "")] == []
    assert ("eval" in (decision.notice or "")) == ("tfgrpo eval TASKS" in " ".join(told))


def test_nothing_is_sent_of_a_token_prior_for_another_model() -> None:
    decision = rewrite(sdk_json({**BODY, "model": "else"}), TOKENS_ONLY)
    assert (decision.content, decision.prior) == (None, "none")
    assert decision.notice


def test_an_empty_prior_leaves_the_body_alone() -> None:
    assert rewrite(sdk_json(BODY), NOTHING).content is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"\x1f\x8b\x08 compressed",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b'"messages"',
        b"{}",
        b'{"messages":{}}',
        b'{"messages":[]}',
        b'{"messages":["hello"]}',
        b'{"messages":[{"role":"user","content":"a"}],"logit_bias":[1]}',
    ],
)
def test_what_is_no_chat_request_is_left_to_the_upstream(body: bytes) -> None:
    assert rewrite(body, SNAPSHOT).content is None


@pytest.mark.parametrize(
    ("method", "path", "headers", "taken"),
    [
        ("POST", "/v1/chat/completions", set(), True),
        ("POST", "/openai/deployments/x/chat/completions", set(), True),
        ("POST", "/chat/completions/", {"content-type"}, True),
        ("GET", "/v1/chat/completions", set(), False),
        ("POST", "/v1/chat/completions/id", set(), False),
        ("POST", "/v1/embeddings", set(), False),
        ("POST", "/v1/chat/completions", {PRIOR_HEADER}, False),
        ("POST", "/v1/chat/completions", {"x-amz-date"}, False),
        ("POST", "/v1/chat/completions", {"content-digest"}, False),
    ],
)
def test_only_unmarked_unsealed_chat_completions_take_a_prior(
    method: str, path: str, headers: set[str], taken: bool
) -> None:
    assert takes_prior(method, path, headers) is taken


# The source


def test_the_store_is_looked_at_once_in_a_while(tmp_path: Path) -> None:
    clock = Clock()
    source = PriorSource(go_live(tmp_path / "s.db"), "default", clock=clock)
    assert source.snapshot is None
    assert source.prior == PRIOR
    go_live(source.path, OTHER)
    clock.now = CHECK_SECONDS - 0.01
    assert source.prior == PRIOR
    clock.now = CHECK_SECONDS
    assert source.prior == OTHER
    assert source.snapshot == Snapshot("default", OTHER, "live", Frame(model=MODEL))


async def test_an_event_loop_gets_the_same(tmp_path: Path) -> None:
    clock = Clock()
    source = PriorSource(go_live(tmp_path / "s.db"), "default", clock=clock)
    for _ in range(2):
        snapshot = await source.current_async()
        assert snapshot is not None
        assert snapshot.prior == PRIOR


def test_threads_that_come_first_all_get_the_prior(tmp_path: Path) -> None:
    source = PriorSource(go_live(tmp_path / "s.db"), "default")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: source.prior, range(32))) == {PRIOR}


def test_a_source_that_was_closed_opens_again(tmp_path: Path) -> None:
    source = PriorSource(go_live(tmp_path / "s.db"), "default")
    source.refresh()
    source.close()
    go_live(source.path, OTHER)
    source.refresh()
    assert source.snapshot is not None
    assert source.snapshot.prior == OTHER


def test_a_forked_process_opens_the_store_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = PriorSource(go_live(tmp_path / "s.db"), "default")
    source.refresh()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    go_live(source.path, OTHER)
    source.refresh()
    assert source.prior == OTHER


def test_a_prior_that_is_rolled_back_is_given_no_more(tmp_path: Path) -> None:
    source = PriorSource(go_live(tmp_path / "s.db"), "default")
    assert source.prior == PRIOR
    with Store(source.path) as store:
        store.set_state("default", PRIOR.id, "rolled back", frame=Frame(model=MODEL), by="anna")
    source.refresh()
    assert source.snapshot is None


def test_namespaces_are_apart(tmp_path: Path) -> None:
    go_live(tmp_path / "s.db", OTHER, namespace="math")
    assert PriorSource(go_live(tmp_path / "s.db"), "math").prior == OTHER


def _missing(path: Path) -> None:
    pass


def _folder(path: Path) -> None:
    path.mkdir()


def _text(path: Path) -> None:
    path.write_text("no database")


def _cut_off(path: Path) -> None:
    go_live(path)
    path.write_bytes(path.read_bytes()[:4096])


def _from_the_future(path: Path) -> None:
    with Store(path) as store:
        db = store._db
        db.execute("INSERT INTO migrations (number, name, tfgrpo) VALUES (9999, 'later', '99.0')")
        db.commit()


def _empty(path: Path) -> None:
    Store(path).close()


UNUSABLE = [_missing, _folder, _text, _cut_off, _from_the_future, _empty]


@pytest.mark.parametrize("make", UNUSABLE)
def test_a_store_that_gives_nothing_means_no_prior_and_is_said_once(
    make: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "s.db")
    source = PriorSource(tmp_path / "s.db", "default")
    for _ in range(3):
        source.refresh()
        assert source.prior is None
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("tfgrpo", logging.WARNING)
    assert "s.db" in record.getMessage()


def test_a_store_that_appears_disappears_and_comes_back_is_followed(tmp_path: Path) -> None:
    source = PriorSource(tmp_path / "s.db", "default")
    states = []
    for step in (None, lambda: go_live(source.path), source.path.unlink, lambda: go_live(source.path, OTHER)):
        if step:
            step()
        source.refresh()
        states.append(source.snapshot and source.snapshot.prior)
    assert states == [None, PRIOR, None, OTHER]


def test_a_store_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    source = PriorSource(go_live(tmp_path / "s.db"), "default")
    source.refresh()
    go_live(tmp_path / "new.db", OTHER).rename(source.path)
    source.refresh()
    source.refresh()
    assert source.prior == OTHER


def test_strangers_cannot_fill_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = PriorSource(tmp_path / "s.db", "default")
    for number in range(1_000):
        source.say(f"model {number}")
        source.say(f"model {number}")
    assert len(caplog.records) == 100


def test_arguments_come_before_the_environment_and_that_before_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TFGRPO_STORE", "TFGRPO_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    source = prior_source()
    assert (source.path, source.namespace) == (Path("tfgrpo.db"), "default")
    monkeypatch.setenv("TFGRPO_STORE", str(tmp_path / "e.db"))
    monkeypatch.setenv("TFGRPO_NAMESPACE", "math")
    source = prior_source()
    assert (source.path, source.namespace) == (tmp_path / "e.db", "math")
    source = prior_source(tmp_path / "a.db", "bot")
    assert (source.path, source.namespace) == (tmp_path / "a.db", "bot")


# The transports


class Upstream:
    """A handler for httpx2.MockTransport that keeps what it got."""

    def __init__(self, *responses: httpx2.Response) -> None:
        self.responses = list(responses)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return self.responses.pop(0) if self.responses else httpx2.Response(200, json={})

    def bodies(self) -> list[dict[str, object]]:
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
    assert PRIOR_HEADER not in response.headers


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

    def __exit__(self, *_: object) -> None:
        self.events.append("exit")

    def close(self) -> None:
        self.events.append("close")

    async def __aenter__(self) -> "Lifecycle":
        self.events.append("enter")
        return self

    async def __aexit__(self, *_: object) -> None:
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
