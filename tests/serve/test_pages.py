"""What the proxy answers by itself: health, readiness, figures, priors to pull."""

import json
import re

import pytest

from tests.live import OTHER, PRIOR, file_of, go_live
from tests.serve.fronts import CHAT, Recorder, Serve, nobody
from tests.serve.test_door import LOCAL, given_key
from tfgrpo.priors.parse import parse_prior
from tfgrpo.priors.portable import Portable
from tfgrpo.serve.proxy import Door, Shelf

ADDRESS = "http://127.0.0.1"
PRIORS = "/tfgrpo/v1/priors/"


async def test_health_is_the_proxys_own_and_needs_nothing(front: Serve, shelf: Shelf) -> None:
    given_key(file_of(shelf))
    upstream = Recorder()
    at = await front(upstream, door=LOCAL)
    answer = await at.in_process.get("/healthz", headers={"host": "anything"})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert (await at.in_process.post("/healthz")).status_code == 405
    assert not upstream.scopes


async def test_ready_is_who_reaches_an_upstream_and_says_why_not(front: Serve, shelf: Shelf) -> None:
    with nobody() as away:
        at = await front(away)
        answer = await at.in_process.get("/readyz")
        assert (answer.status_code, answer.json()["upstreams"]) == (503, ["cannot be reached"])
        assert away not in answer.text
        answer = await (await front(Recorder(status=503))).in_process.get("/readyz")
        assert (answer.status_code, answer.json()["upstreams"]) == (503, ["answers 503"])
        at = await front(away, Recorder(status=401))
        answer = await at.in_process.get("/readyz")
        assert (answer.status_code, answer.json()["upstreams"]) == (200, ["cannot be reached", "ok"])
    file_of(shelf).write_bytes(b"no store")
    shelf.refresh()
    answer = await at.in_process.get("/readyz")
    assert (answer.status_code, answer.json()["prior"], "served" in answer.json()["store"]) == (200, PRIOR.id, True)


async def test_figures_tell_what_was_asked_and_no_name_of_a_caller(front: Serve) -> None:
    at = await front(Recorder())
    await at.chat()
    await at.chat(**{"x-tfgrpo-disable": "1"})
    await at.in_process.get("/v1/models/secret-name?key=sk-1")
    text = (await at.in_process.get("/metrics")).text
    lines = [
        'tfgrpo_requests_total{route="/chat/completions",status="200",surface="chat",variant="live"} 1.0',
        'tfgrpo_requests_total{route="/models",status="200",surface="none",variant="none"} 1.0',
        'tfgrpo_without_prior_total{reason="disabled"} 1.0',
        "tfgrpo_added_seconds_count 3.0",
        "tfgrpo_in_flight 0.0",
        "tfgrpo_store_readable 1.0",
    ]
    assert [line for line in lines if line not in text] == []
    assert not re.search("secret-name|sk-1", text)


async def test_pages_that_tell_something_are_for_admins_off_this_machine(front: Serve, shelf: Shelf) -> None:
    plain, admin = given_key(file_of(shelf), namespace="default"), given_key(file_of(shelf), admin=True)
    go_live(file_of(shelf), OTHER, namespace="support")
    at = await front(Recorder(), door=Door.at("0.0.0.0", lends_a_key=False, has_keys=True))

    async def status(path: str, key: str | None) -> int:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return (await at.in_process.get(path, headers=headers)).status_code

    asked = [
        (path, key) for path in ("/metrics", f"{PRIORS}default", f"{PRIORS}support") for key in (None, plain, admin)
    ]
    assert [await status(*one) for one in asked] == [401, 403, 200, 401, 200, 200, 401, 403, 200]


async def test_without_keys_such_pages_are_for_this_machine_alone(front: Serve) -> None:
    far = await front(Recorder(), door=Door.at("0.0.0.0", lends_a_key=False, has_keys=False))
    here = await front(Recorder(), door=LOCAL)
    for path in ("/metrics", f"{PRIORS}default"):
        assert (await far.in_process.get(path)).status_code == 401
        assert (await here.in_process.get(path, headers={"host": "localhost"})).status_code == 200
    assert (await far.in_process.post(CHAT, json={})).status_code == 200


async def test_a_prior_is_pulled_as_it_is_exported_and_once(front: Serve, shelf: Shelf) -> None:
    at = await front(Recorder())
    answer = await at.in_process.get(f"{PRIORS}default")
    read = parse_prior("proxy", answer.text)
    assert isinstance(read, Portable)
    assert (read.prior, read.namespace, [event.state for event in read.lineage]) == (PRIOR, "default", ["live"])
    assert answer.headers["etag"] == f'"{PRIOR.id}"'
    again = await at.in_process.get(f"{PRIORS}default", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    go_live(file_of(shelf), OTHER)
    shelf.refresh()
    newer = await at.in_process.get(f"{PRIORS}default", headers={"if-none-match": answer.headers["etag"]})
    assert (newer.status_code, json.loads(newer.text)["id"]) == (200, OTHER.id)
    assert (await at.in_process.get(f"{PRIORS}nobody")).status_code == 404


@pytest.mark.parametrize("path", ["/tfgrpo/v1/other", "/tfgrpo/nothing"])
async def test_what_could_be_a_page_of_ours_never_goes_upstream(path: str, front: Serve) -> None:
    upstream = Recorder()
    assert (await (await front(upstream)).in_process.get(path)).status_code == 404
    assert not upstream.scopes
