"""The live prior of an exported file, and of a `tfgrpo serve` elsewhere: followed, checked, and kept."""

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.live import MODEL, OTHER, PRIOR, file_of
from tests.serve.fronts import Recorder, Serve
from tfgrpo.priors.portable import Event, Portable, json_text
from tfgrpo.priors.signing import new_signing_key, signed_text, trust_key
from tfgrpo.records import Frame, Prior
from tfgrpo.serve.access import Access
from tfgrpo.serve.places import FilePlace, InForce
from tfgrpo.serve.proxy import Proxy, PulledFrom, PulledShelf, RelayTarget, Shelf
from tfgrpo.serve.proxy.asgi import error_body
from tfgrpo.serve.pulled import NONE_LIVE, UrlPlace
from tfgrpo.serve.source import PriorSource, prior_source
from tfgrpo.store import Store
from tfgrpo.testing import serving

NAMESPACE = "math"


def exported(prior: Prior) -> str:
    history = (Event("live", "", "rule", "", ""), Event("superseded", "", "rule", "", ""))
    return json_text(Portable(prior, Frame(MODEL), NAMESPACE, lineage=history))


class Server:
    """What answers for `tfgrpo serve`."""

    def __init__(self) -> None:
        self.text: str | None = exported(PRIOR)
        self.etag: str | None = None
        self.status = 200
        self.seen: list[dict[str, str]] = []
        self.path = ""
        self.nothing = json.dumps(error_body("invalid_request_error", NONE_LIVE, "no prior is live"))

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.path = scope["path"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append(headers)
        status = 404 if self.text is None else self.status
        etag = self.etag or f'"{(PRIOR if self.text == exported(PRIOR) else OTHER).id}"'
        if status == 200 and headers.get("if-none-match") == etag:
            status = 304
        content = (self.text or self.nothing).encode() if status in (200, 404) else b""
        await send({"type": "http.response.start", "status": status, "headers": [(b"etag", etag.encode())]})
        await send({"type": "http.response.body", "body": content})


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Server, str]]:
    server = Server()
    with serving(server.app) as url:
        yield server, url


@pytest.fixture
def server(running: tuple[Server, str]) -> Server:
    running[0].__init__()
    return running[0]


@pytest.fixture
def source(running: tuple[Server, str], server: Server, tmp_path: Path) -> PriorSource:
    return PriorSource(UrlPlace(running[1], NAMESPACE, folder=tmp_path), NAMESPACE)


def now(source: PriorSource) -> Prior | None:
    source.refresh()
    return source.snapshot.prior if source.snapshot else None


def test_a_prior_is_pulled_once_and_again_when_another_is_live(
    source: PriorSource, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFGRPO_API_KEY", "tfgrpo-1-secret")
    assert now(source) == PRIOR
    assert source.snapshot is not None
    assert (source.snapshot.namespace, source.snapshot.state, source.snapshot.frame) == (
        NAMESPACE,
        "live",
        Frame(MODEL),
    )
    first = source.snapshot.prior
    assert now(source) is first
    assert [seen.get("if-none-match") for seen in server.seen] == [None, f'"{PRIOR.id}"']
    assert (server.path, server.seen[0]["authorization"]) == ("/tfgrpo/v1/priors/math", "Bearer tfgrpo-1-secret")
    server.text = exported(OTHER)
    assert now(source) == OTHER
    server.text, told = None, server.nothing
    server.nothing = "<h1>404 Not Found</h1>"
    assert now(source) == OTHER, "a gateway before the server knows nothing of its priors"
    server.nothing = told
    assert (now(source), source.reason) == (None, "namespace")


def altered(text: str) -> str:
    return text.replace("When ", "whenever ")


@pytest.mark.parametrize("fault", ["altered", "other etag", "no JSON", "500", "401"])
def test_what_is_not_the_prior_that_it_says_is_refused_and_the_last_good_one_stays(
    fault: str, source: PriorSource, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.text = exported(OTHER)
    assert now(source) == OTHER
    server.text = exported(PRIOR)
    if fault == "altered":
        server.text, server.etag = altered(server.text), f'"{PRIOR.id}"'
    elif fault == "other etag":
        server.etag = '"prior_of_another"'
    elif fault == "no JSON":
        server.text, server.etag = "nothing", '"another"'
    elif fault.isdecimal():
        server.status = int(fault)
    for _ in range(3):
        assert now(source) == OTHER
    said = [record.getMessage() for record in caplog.records if record.name == "tfgrpo" and record.levelname != "DEBUG"]
    assert sum("stays in force" in line for line in said) == 1


def test_a_start_while_the_server_is_away_gets_the_last_good_one_from_disk(
    source: PriorSource, server: Server, tmp_path: Path
) -> None:
    assert now(source) == PRIOR
    server.status = 503
    assert now(PriorSource(source.place.beside(NAMESPACE), NAMESPACE)) == PRIOR
    file_of(source).write_text(altered(exported(PRIOR)))
    assert now(PriorSource(source.place.beside(NAMESPACE), NAMESPACE)) is None
    nobody = PriorSource(UrlPlace("http://127.0.0.1:9", NAMESPACE, folder=tmp_path / "none"), NAMESPACE)
    assert (now(nobody), nobody.reason) == (None, "store")


@pytest.mark.parametrize(
    "url",
    ["http://me:secret@127.0.0.1", "http://127.0.0.1:9/a b", "http://[me:secret@bad", "http://", "http://me:secret@[x"],
)
def test_a_url_that_is_none_means_no_prior_and_shows_no_password(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = PriorSource(UrlPlace(url, NAMESPACE, folder=tmp_path), NAMESPACE)
    assert (source.current(), source.reason) == (None, "store")
    source.close()
    assert "secret" not in caplog.text
    assert "cannot be reached" in caplog.text


def answering(content: bytes) -> tuple[str, list[bytes]]:
    """A server that gives one connection these bytes, and what it was asked."""
    listener, asked = socket.create_server(("127.0.0.1", 0)), list[bytes]()

    def answer() -> None:
        with listener, listener.accept()[0] as connection:
            asked.append(connection.recv(65_536))
            connection.sendall(content)

    Thread(target=answer, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}", asked


def test_a_server_that_speaks_something_else_means_no_prior(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url, _ = answering(b"SSH-2.0-OpenSSH_9.9\r\n")
    source = PriorSource(UrlPlace(url, NAMESPACE, folder=tmp_path), NAMESPACE)
    assert (now(source), source.reason) == (None, "store")
    assert "speaks no HTTP" in caplog.text


def test_the_key_goes_to_no_other_server_and_into_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere, asked = answering(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n")
    moved = f"HTTP/1.1 302 Found\r\nlocation: {elsewhere}/x\r\ncontent-length: 0\r\n\r\n"
    url, first = answering(moved.encode())
    monkeypatch.setenv("TFGRPO_API_KEY", "tfgrpo-1-secret\n")
    assert now(PriorSource(UrlPlace(url, NAMESPACE, folder=tmp_path), NAMESPACE)) is None
    assert b"Bearer tfgrpo-1-secret\r\n" in first[0]
    assert b"secret" not in asked[0]
    monkeypatch.setenv("TFGRPO_API_KEY", "tfgrpo-1\nsecret")
    assert now(PriorSource(UrlPlace(elsewhere, NAMESPACE, folder=tmp_path), NAMESPACE)) is None
    assert "TFGRPO_API_KEY is no key" in caplog.text
    assert "secret" not in caplog.text


def test_a_tag_that_something_between_made_weak_is_the_priors_own(source: PriorSource, server: Server) -> None:
    server.etag = f'W/"{PRIOR.id}"'
    assert now(source) == now(source) == PRIOR
    assert server.seen[1]["if-none-match"] == server.etag


def test_a_look_that_fails_as_nobody_foresaw_fails_no_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Odd(FilePlace):
        def look(self, known: InForce) -> InForce:
            raise LookupError("something of a caller's")

    source = PriorSource(Odd(tmp_path / "p.json", NAMESPACE), NAMESPACE)
    assert (now(source), source.reason) == (None, "store")
    assert "LookupError" in caplog.text
    assert "caller's" not in caplog.text


def test_a_copy_that_is_damaged_or_shut_away_is_none(
    running: tuple[Server, str], server: Server, tmp_path: Path
) -> None:
    server.status = 503
    place = UrlPlace(running[1], NAMESPACE, folder=tmp_path)
    place.path.write_bytes(b"\xff")
    assert now(PriorSource(place, NAMESPACE)) is None
    place.path.unlink()
    place.path.mkdir()
    assert now(PriorSource(place, NAMESPACE)) is None
    server.text = None
    assert now(PriorSource(place, NAMESPACE)) is None


def test_a_place_that_cannot_be_written_keeps_nothing_and_breaks_nothing(
    running: tuple[Server, str], server: Server, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert now(PriorSource(UrlPlace(running[1], NAMESPACE, folder=tmp_path / "file"), NAMESPACE)) == PRIOR


def test_a_file_is_followed_and_one_that_is_damaged_leaves_the_last_good_one(tmp_path: Path) -> None:
    path = tmp_path / "prior.json"
    source = prior_source(path)
    assert isinstance(source.place, FilePlace)
    assert (now(source), source.reason) == (None, "store")
    path.write_text(exported(PRIOR))
    assert now(source) == PRIOR
    first = source.snapshot
    assert now(source)
    assert source.snapshot is first
    for text in (altered(exported(OTHER)), "{", '{"experiences": []}', "\0"):
        path.write_text(text)
        os.utime(path, ns=(1, hash(text) % 2**40))
        assert now(source) == PRIOR
    path.write_text(exported(OTHER))
    assert now(source) == OTHER
    path.unlink()
    assert now(source) == OTHER


def test_a_file_in_the_home_of_nobody_is_one_that_is_not_there() -> None:
    source = prior_source("~nobody-of-that-name/prior.json")
    assert isinstance(source.place, FilePlace)
    assert (now(source), source.reason) == (None, "store")


def test_a_file_serves_the_namespace_of_the_client_and_by_name_its_own(tmp_path: Path) -> None:
    path = tmp_path / "prior.json"
    path.write_text(exported(PRIOR))
    access = Access(prior_source(path, "bot"))
    assert access.prior == PRIOR
    assert access.of(NAMESPACE).prior == PRIOR
    assert access.of("nowhere").prior is None
    assert access.of("nowhere").reason == "namespace"
    access.close()


async def test_a_canary_and_its_share_come_beside_the_live_prior(front: Serve, shelf: Shelf, tmp_path: Path) -> None:
    at = await front(Recorder())
    place = UrlPlace(str(at.outside.base_url), "default", folder=tmp_path)
    first = await asyncio.to_thread(place.look, InForce())
    assert first.live is not None
    assert (first.live.prior, first.canary, first.share) == (PRIOR, None, 0.0)
    with Store(file_of(shelf)) as store:
        store.add_prior(OTHER)
        store.set_state("default", OTHER.id, "canary", frame=Frame(MODEL))
        store.add_share("default", OTHER.id, 0.25)
    shelf.refresh()
    second = await asyncio.to_thread(place.look, first)
    assert (second.live, second.canary and second.canary.prior, second.share) == (first.live, OTHER, 0.25)
    assert await asyncio.to_thread(place.look, second) is second, "what has not changed is the same object"


async def test_a_proxy_serves_what_it_pulls_and_goes_on_with_it_while_the_server_is_away(
    front: Serve, running: tuple[Server, str], server: Server, tmp_path: Path
) -> None:
    place = UrlPlace(running[1], NAMESPACE, folder=tmp_path)
    pulled = PulledShelf(PulledFrom(place, tmp_path / "none.db"), NAMESPACE)
    app = Proxy(RelayTarget.parse(running[1]), pulled)
    async with app:
        assert pulled.snapshot is not None
        assert (pulled.snapshot.prior, pulled.trouble) == (PRIOR, None)
        server.status = 503
        pulled._due = 0.0
        await asyncio.to_thread(pulled.refresh)
        assert pulled.snapshot.prior == PRIOR
        assert pulled.trouble is not None
        assert "answered 503" in pulled.trouble
        server.status, server.text = 200, exported(OTHER)
        pulled._due = 0.0
        await asyncio.to_thread(pulled.refresh)
        assert pulled.snapshot.prior == OTHER
        assert not pulled.trouble
    assert not (tmp_path / "none.db").exists()


def test_only_a_signed_prior_is_taken_where_a_trust_file_is_named(
    running: tuple[Server, str], server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = new_signing_key(tmp_path / "key.pem")
    trust_key(tmp_path / "trusted", key.public, "ops")
    given = Portable(PRIOR, Frame(MODEL), NAMESPACE, lineage=(Event("live", "", "", "", ""),))
    server.text, server.etag = signed_text(given, key), f'"{PRIOR.id}"'
    source = PriorSource(UrlPlace(running[1], NAMESPACE, folder=tmp_path, trust=tmp_path / "trusted"), NAMESPACE)
    assert now(source) == PRIOR
    server.text, server.etag = exported(OTHER), f'"{OTHER.id}"'
    assert now(source) == PRIOR, "the last good one stays"
    assert "is not signed" in caplog.text
    file_of(source).write_text(exported(OTHER))
    server.status = 503
    assert now(PriorSource(source.place.beside(NAMESPACE), NAMESPACE)) is None, "nor does a copy that nobody signed"
    (tmp_path / "prior.json").write_text(exported(OTHER))
    assert now(prior_source(tmp_path / "prior.json", NAMESPACE, tmp_path / "trusted")) is None
    assert now(prior_source(tmp_path / "prior.json", NAMESPACE, tmp_path / "no such file")) is None


def test_a_prior_is_followed_wherever_fsspec_reads_and_on_any_web_server(
    running: tuple[Server, str], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "prior.json"
    source = prior_source(f"file://{path}", NAMESPACE)
    assert (now(source), source.reason) == (None, "store")
    path.write_text(exported(PRIOR))
    assert now(source) == PRIOR
    first = source.snapshot
    now(source)
    assert source.snapshot is first
    for text in ("garbage", "x" * 33_000_000, altered(exported(OTHER))):
        path.write_text(text)
        assert now(source) == PRIOR
    path.unlink()
    assert now(source) == PRIOR
    assert now(prior_source(f"file://{path}", NAMESPACE)) == PRIOR, "from the copy on disk"
    assert now(prior_source("nosuch://bucket/prior.json", NAMESPACE)) is None
    server.etag = '"an etag of its own"'
    anywhere = prior_source(f"{running[1]}/priors/live.json?version=3", NAMESPACE)
    assert now(anywhere) == now(anywhere) == PRIOR
    assert server.path == "/v1/priors/live.json"
