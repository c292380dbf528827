"""The live prior of an exported file, and of a `tfgrpo serve` elsewhere: followed, checked, and kept."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import MODEL, OTHER, PRIOR
from tfgrpo.priors.portable import Event, Portable, json_text
from tfgrpo.records import Frame, Prior
from tfgrpo.serve.access import Access
from tfgrpo.serve.places import FilePlace
from tfgrpo.serve.pulled import UrlPlace
from tfgrpo.serve.source import PriorSource, prior_source
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

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.path = scope["path"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append(headers)
        status = 404 if self.text is None else self.status
        etag = self.etag or f'"{(PRIOR if self.text == exported(PRIOR) else OTHER).id}"'
        if status == 200 and headers.get("if-none-match") == etag:
            status = 304
        content = (self.text or "").encode() if status == 200 else b""
        await send({"type": "http.response.start", "status": status, "headers": [(b"etag", etag.encode())]})
        await send({"type": "http.response.body", "body": content})


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Server, str]]:
    server = Server()
    with serving(server.app) as url:
        yield server, url


@pytest.fixture
def server(running: tuple[Server, str]) -> Server:
    running[0].__init__()  # type: ignore[misc]
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
    server.text = None
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
    source.path.write_text(altered(exported(PRIOR)))
    assert now(PriorSource(source.place.beside(NAMESPACE), NAMESPACE)) is None
    nobody = PriorSource(UrlPlace("http://127.0.0.1:9", NAMESPACE, folder=tmp_path / "none"), NAMESPACE)
    assert (now(nobody), nobody.reason) == (None, "store")


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


def test_a_file_serves_the_namespace_of_the_client_and_by_name_its_own(tmp_path: Path) -> None:
    path = tmp_path / "prior.json"
    path.write_text(exported(PRIOR))
    access = Access(prior_source(path, "bot"))
    assert access.prior == PRIOR
    assert access.of(NAMESPACE).prior == PRIOR
    assert access.of("nowhere").prior is None
    assert access.of("nowhere").reason == "namespace"
    access.close()
