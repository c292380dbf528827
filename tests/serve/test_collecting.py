"""Calls and feedback on their way to a collector: each once, sent again where it was away, in no call's way."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
import uvicorn

from tests.live import file_of, go_live
from tests.serve.fronts import PATIENCE, running
from tests.serve.test_door import given_key
from tfgrpo.errors import InputError, StoreError
from tfgrpo.serve.access import Access
from tfgrpo.serve.places import StorePlace
from tfgrpo.serve.proxy import Door, Proxy, Recording, Shelf
from tfgrpo.serve.pulled import UrlPlace
from tfgrpo.serve.recording import Recorder, check_recordable
from tfgrpo.serve.reporting import CALLS_PATH, Collector, read_row, row_of, trying_for
from tfgrpo.serve.source import PriorSource
from tfgrpo.serve.writing import RecordedCall, Writing
from tfgrpo.store import Feedback, Inference, Store

CALL = Inference(
    "inf_1", "math", "prior_1", "live", "chat", "m", 200, 0.5, '{"model": "m"}', "{}", {"arm": "live"}, 0.001
)
WORTH = Feedback("inf_1", "math", "prior_1", "live", 1.0, "good")


@pytest.fixture
async def collector(tmp_path: Path) -> AsyncIterator[tuple[str, Shelf]]:
    path = tmp_path / "collected.db"
    Store(path).close()
    app = Proxy([], shelf := Shelf(path))
    async with running(app) as url, app:
        yield url, shelf


def test_a_row_comes_out_as_it_went_in_and_what_is_none_is_told_by_its_field() -> None:
    for row in (
        CALL,
        WORTH,
        replace(CALL, request="", response="", draw=None, prior=None, at="2026-01-01T00:00:00.000Z"),
    ):
        kind: Any = type(row)
        assert read_row(kind, json.loads(json.dumps(row_of(row)))) == row
    kinds: Any = (
        (Inference, {"id": ""}, "id must be a text"),
        (Inference, {"number": 7}, "no field 'number'"),
        (Inference, {"status": "200"}, "status must be a whole"),
        (Inference, {"seconds": -1}, "seconds must"),
        (Inference, {"draw": [1]}, "draw must be what was drawn"),
        (Inference, {"response": 3}, "response must be a text"),
        (Feedback, {"reward": 2}, "reward must be a number from 0 to 1"),
        (Feedback, {"label": []}, "label must be an answer"),
        (Feedback, {"at": "yesterday"}, "at must be a time"),
        (Inference, {"at": "2026-13-26T12:00:00Z"}, "at must be a time"),
        (Inference, {"draw": {"arm": "live", "left_out": ["exp_1"]}}, "draw must be what was drawn"),
        (Inference, {"draw": {"arm": "live", "left_out": [[]], "p_left_out": 0.5}}, "draw must be what was drawn"),
        (Inference, {"draw": {"arm": "live", "p": 2}}, "draw must be what was drawn"),
        (Feedback, {"inference": 3}, "inference must"),
    )
    for kind, wrong, told in kinds:
        with pytest.raises(InputError, match=told):
            read_row(kind, {**row_of(CALL if kind is Inference else WORTH), **wrong})


async def test_a_batch_is_written_once_however_often_it_is_sent(collector: tuple[str, Shelf]) -> None:
    url, shelf = collector
    path = file_of(shelf)
    batch = {"calls": [row_of(CALL), row_of(replace(CALL, id="inf_2"))], "feedback": [row_of(WORTH)]}
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        for _ in range(2):
            answer = await client.post(CALLS_PATH, json=batch)
            assert (answer.status_code, answer.json()) == (200, {"taken": 3})
        for body, told in (
            (b"{", "no JSON"),
            (b"[]", "a batch is"),
            (b'{"calls": [{}]}', "call 1: "),
            (b"x" * 2**26, ""),
        ):
            answer = await client.post(CALLS_PATH, content=body)
            assert answer.status_code in (400, 413)
            assert told in answer.json()["error"]["message"]
        assert (await client.get(CALLS_PATH)).status_code == 405
        answer = await client.post("/v1/chat/completions", json={"model": "m", "messages": []})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_upstream")
        assert (await client.get("/readyz")).status_code == 200
        given_key(path, namespace="support")
        shelf.refresh()
        assert (await client.post(CALLS_PATH, json=batch)).status_code == 401
        headers = {"authorization": f"Bearer {given_key(path, namespace='sales')}"}
        shelf.refresh()
        forged = {"feedback": [row_of(replace(WORTH, namespace="sales", reward=0.0))]}  # of a call in `math`
        assert (await client.post(CALLS_PATH, json=forged, headers=headers)).status_code == 403
    with Store(path) as store:
        assert store.inference("inf_1") == CALL
        assert len(list(store.drawn_feedback("math"))) == 1


async def test_from_elsewhere_nobody_reports_without_a_key(tmp_path: Path) -> None:
    """Else whoever reaches the port of a proxy that callers bring their own keys to decides what is learned."""
    far = Door.at("0.0.0.0", lends_a_key=False, has_keys=False)
    app = Proxy([], shelf := Shelf(go_live(tmp_path / "s.db")), door=far)
    batch = {"calls": [row_of(CALL)], "feedback": [row_of(WORTH)]}
    async with app, running(app) as url, httpx2.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        refused = await client.post(CALLS_PATH, json=batch)
        assert (refused.status_code, "tfgrpo keys add" in refused.text) == (401, True)
        key = given_key(file_of(shelf), namespace="math")
        shelf.refresh()
        answer = await client.post(CALLS_PATH, json=batch, headers={"authorization": f"Bearer {key}"})
        assert answer.json() == {"taken": 2}


def test_what_a_collector_will_never_take_is_not_sent_again_and_what_it_may_take_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no URL to report to"):
        Collector("collector:8000")
    away = Collector("http://127.0.0.1:9/v1")
    waits = list[float]()

    def patient(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) < 6

    with pytest.raises(StoreError, match="cannot be reached: Connection refused"):
        away.send([CALL], [], patient)
    assert waits[-1] > 4
    assert waits[0] < 0.6
    began = time.monotonic()
    assert trying_for(0.1)(PATIENCE) is False
    assert time.monotonic() < began + PATIENCE


async def test_a_client_without_a_store_reports_and_is_not_held_up_while_the_collector_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "collected.db"
    Store(path).close()
    app = Proxy([], Shelf(path))
    held = socket.socket()
    held.bind(("127.0.0.1", 0))  # nobody listens yet
    monkeypatch.setenv("TFGRPO_REPORT_TO", f"http://127.0.0.1:{held.getsockname()[1]}")
    recorder = Recorder(check_recordable(StorePlace(tmp_path / "none.db", "math")))
    for number in range(50):  # a call that waited for the collector would wait for ever
        recorder.add(replace(CALL, id=f"inf_{number}"))
    recorder.add(WORTH)
    await asyncio.sleep(0.3)
    server = uvicorn.Server(uvicorn.Config(app, interface="asgi3", log_level="critical"))
    thread = Thread(target=server.run, args=([held],))
    thread.start()
    try:
        assert await asyncio.to_thread(recorder.flush, PATIENCE)
        with Store(path) as store:
            assert store.inference("inf_49") == replace(CALL, id="inf_49")
            assert store.inference("inf_0") is not None
        assert recorder.dropped == 0
    finally:
        recorder.close()
        server.should_exit = True
        thread.join()
    assert not (tmp_path / "none.db").exists()


async def test_a_proxy_reports_what_it_would_write(collector: tuple[str, Shelf], tmp_path: Path) -> None:
    url, shelf = collector
    call = RecordedCall("inf_9", "math", None, "none", "chat", "m", 200, 0.1, None, None, time.time())
    writing = Writing(tmp_path / "none.db", Recording(0.0, to=url))
    assert await asyncio.to_thread(writing.write, [call, replace(WORTH, inference="inf_9")]) == ""
    with Store(shelf.path) as store:
        found: Any = store.inference("inf_9")
        assert (found.namespace, found.variant, found.status) == ("math", "none", 200)
    refused = Writing(tmp_path / "none.db", Recording(0.0, to=f"{url}/nowhere"))
    assert "answered 404; calls and feedback are taken by" in await asyncio.to_thread(refused.write, [call])


async def test_feedback_that_a_collector_will_never_take_takes_nothing_later_with_it(
    collector: tuple[str, Shelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy with a key for one namespace: what it reports of another would be sent again before all that comes."""
    url, shelf = collector
    monkeypatch.setenv("TFGRPO_API_KEY", given_key(file_of(shelf), namespace="math"))
    shelf.refresh()
    call = RecordedCall("inf_9", "math", None, "none", "chat", "m", 200, 0.1, None, None, time.time())
    writing = Writing(tmp_path / "none.db", Recording(0.0, to=url))
    refused: list[RecordedCall | Feedback] = [
        call._replace(namespace="law"),
        replace(WORTH, inference="inf_9", namespace="law"),
    ]
    assert await asyncio.to_thread(writing.write, refused) == ""
    assert [what for what, why in writing.unkept if "answered 403" in why] == ["call", "feedback"]
    assert await asyncio.to_thread(writing.write, [call, replace(WORTH, inference="inf_9")]) == ""
    with Store(shelf.path) as store:
        assert (store.inference("inf_9") is not None, len(store.feedback("math")), writing.unkept) == (True, 1, ())


def test_a_place_that_is_a_server_is_reported_to_and_a_file_is_not(tmp_path: Path) -> None:
    found = check_recordable(UrlPlace("https://priors/v1", "math", folder=tmp_path))
    assert isinstance(found, Collector)
    assert found.name == "https://priors/tfgrpo/v1/calls"
    with pytest.raises(InputError, match="TFGRPO_REPORT_TO"):
        check_recordable(UrlPlace("https://bucket/prior.json", "math", folder=tmp_path))


def test_a_client_has_one_recorder_whatever_its_place(tmp_path: Path) -> None:
    access = Access(PriorSource(UrlPlace("http://127.0.0.1:9", "math", folder=tmp_path), "math"))
    assert access._written() is access._written()
    access.close()
