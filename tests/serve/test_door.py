"""Who may call the proxy."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.live import OTHER, PRIOR, file_of, go_live
from tests.serve.fronts import BODY, CHAT, Recorder, Serve
from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.serve.keys import find_key, new_key
from tfgrpo.serve.proxy import Door, Shelf
from tfgrpo.serve.proxy.shelf import Held
from tfgrpo.store import AccessKey, Store
from tfgrpo.surfaces.http import PRIOR_HEADER

LOCAL = Door.at("127.0.0.1", lends_a_key=True, has_keys=False)
HERE = {"host": "127.0.0.1:8000"}


def given_key(path: Path, name: str = "anna", **more: Any) -> str:
    """A new key that the store knows."""
    text, key = new_key(name, **more)
    with Store(path) as store:
        store.add_key(key)
    return text


def test_a_key_is_found_by_all_of_it_alone() -> None:
    text, key = new_key("anna")
    other, _ = new_key("ben")
    assert find_key(text, {key.id: key}) is key
    for wrong in (other, text[:-1], text + "x", "", "sk-1", text.replace("tfgrpo", "sk"), "tfgrpo-", "\udcff"):
        assert find_key(wrong, {key.id: key}) is None
    assert text.removeprefix("tfgrpo-") not in repr(key)


@each(
    ("host", "lends", "keys", "open_"),
    [
        ("127.0.0.1", True, False, True),
        ("localhost", True, False, True),
        ("0.0.0.0", True, False, False),
        ("0.0.0.0", True, True, True),
        ("0.0.0.0", False, False, True),
    ],
)
def test_the_upstreams_key_is_lent_to_nobody_unknown(host: str, lends: bool, keys: bool, open_: bool) -> None:
    if open_:
        assert Door.at(host, lends_a_key=lends, has_keys=keys).keys_only == (lends and host == "0.0.0.0")
    else:
        with pytest.raises(InputError, match=r"--host 0\.0\.0\.0 .* tfgrpo keys add NAME"):
            Door.at(host, lends_a_key=lends, has_keys=keys)


@each(
    ("headers", "code"),
    [
        (HERE, None),
        ({"host": "localhost:1"}, None),
        ({"host": "[::1]:8000"}, None),
        ({}, None),
        ({"host": "evil.example:8000"}, "host_not_allowed"),
        ({"host": "127.0.0.1.evil.example"}, "host_not_allowed"),
        ({**HERE, "origin": "http://127.0.0.1:8000"}, None),
        ({**HERE, "origin": "https://evil.example"}, "origin_not_allowed"),
        ({**HERE, "origin": "http://127.0.0.1:9999"}, "origin_not_allowed"),
        ({**HERE, "origin": "http://["}, "origin_not_allowed"),
        ({**HERE, "origin": "null", "content-type": "text/plain"}, "origin_not_allowed"),
        ({**HERE, "sec-fetch-site": "cross-site"}, "origin_not_allowed"),
        ({**HERE, "sec-fetch-site": "none"}, None),
    ],
)
def test_a_web_page_of_elsewhere_is_refused_whatever_it_sends(headers: dict[str, str], code: str | None) -> None:
    found = LOCAL.refusal(headers, None, asked=False)
    assert (found.code if found else None) == code


def test_names_and_pages_may_be_allowed() -> None:
    door = Door.at("0.0.0.0", lends_a_key=False, has_keys=False, hosts=("proxy.lan",), origins=("https://app.lan",))
    assert door.refusal({"host": "proxy.lan", "origin": "https://app.lan"}, None, asked=False) is None
    assert door.refusal({"host": "other.lan"}, None, asked=False) is not None


async def test_with_keys_every_call_needs_one_and_it_goes_no_further(front: Serve, shelf: Shelf) -> None:
    key = given_key(file_of(shelf))
    upstream = Recorder()
    at = await front(upstream, key="sk-upstream", door=LOCAL)
    refused = [
        await at.in_process.post(CHAT, json=BODY, headers=headers)
        for headers in ({}, {"authorization": "Bearer sk-other"}, {"authorization": f"Bearer {key[:-1]}"})
    ]
    assert [(one.status_code, one.json()["error"]["code"]) for one in refused] == [(401, "invalid_api_key")] * 3
    assert not upstream.scopes
    ways: list[dict[str, str]] = [{"authorization": f"Bearer {key}"}, {"api-key": key}, {"x-api-key": key}]
    for given in ways:
        assert (await at.in_process.post(CHAT, json=BODY, headers=given)).status_code == 200
    sent = [upstream.headers(place) for place in range(3)]
    assert [one.get(name) for one, name in zip(sent, ("authorization", "api-key", "x-api-key"), strict=True)] == [
        "Bearer sk-upstream", "sk-upstream", "sk-upstream",
    ]  # fmt: skip
    assert key not in str(sent)


def test_what_is_being_written_down_counts_until_it_is_read(shelf: Shelf) -> None:
    given_key(file_of(shelf), max_calls=2)
    seen = list[str | None]()

    class Watched(Shelf):
        def _read(self, store: Store) -> Held:
            seen.extend(key.used_up(self.spent(key)) for key in self.held.keys.values())
            return super()._read(store)

    watched = Watched(shelf.path)
    watched.refresh()
    (key,) = watched.held.keys.values()
    watched.spend(key, calls=2)
    watched.refresh()
    (known,) = watched.held.keys.values()
    assert (seen, known.used_up(watched.spent(known)), watched.spent(known).calls) == (["2 calls"], "2 calls", 0)
    watched.close()


async def test_a_key_that_is_revoked_or_used_up_calls_no_more(front: Serve, shelf: Shelf) -> None:
    key = given_key(file_of(shelf), max_calls=2)
    at = await front(Recorder(), door=LOCAL)
    statuses = [(await at.chat(authorization=f"Bearer {key}")).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    shelf.refresh()
    answer = await at.chat(authorization=f"Bearer {key}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
    with Store(file_of(shelf)) as store:
        (known,) = store.access_keys()
        assert known.spent.calls == 2
        store.revoke_key(known.id)
    shelf.refresh()
    answer = await at.chat(authorization=f"Bearer {key}")
    assert (answer.status_code, "revoked" in answer.json()["error"]["message"]) == (401, True)


async def test_a_key_may_be_worth_so_many_tokens(front: Serve, shelf: Shelf) -> None:
    key = given_key(file_of(shelf), max_tokens=50)
    usage = json.dumps({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 10}}).encode()
    upstream = Recorder(body=usage)
    at = await front(upstream, door=LOCAL)
    statuses = [
        (await at.chat(**{"authorization": f"Bearer {key}", "accept-encoding": "gzip"})).status_code for _ in range(3)
    ]
    assert statuses == [200, 200, 429]
    assert "accept-encoding" not in upstream.headers()


async def test_a_key_is_for_its_namespace(front: Serve, shelf: Shelf) -> None:
    go_live(file_of(shelf), OTHER, namespace="support")
    bound, free = given_key(file_of(shelf), namespace="support"), given_key(file_of(shelf))
    at = await front(Recorder(), door=LOCAL)
    asked = [
        ({"authorization": f"Bearer {bound}"}, OTHER.id),
        ({"authorization": f"Bearer {free}"}, PRIOR.id),
        ({"authorization": f"Bearer {free}", "x-tfgrpo-namespace": "support"}, OTHER.id),
    ]
    assert [(await at.chat(**headers)).headers[PRIOR_HEADER] for headers, _ in asked] == [prior for _, prior in asked]
    for body, headers in ((BODY, {"x-tfgrpo-namespace": "default"}), ({**BODY, "model": "fake@default"}, {})):
        refused = await at.chat(body, authorization=f"Bearer {bound}", **headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "namespace_not_allowed")


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
async def test_a_store_that_lost_its_keys_opens_no_door(host: str, front: Serve, shelf: Shelf, tmp_path: Path) -> None:
    given_key(file_of(shelf))
    at = await front(Recorder(), key="sk-upstream", door=Door.at(host, lends_a_key=True, has_keys=True))
    go_live(tmp_path / "new.db").rename(file_of(shelf))
    shelf.refresh()
    assert not shelf.held.keys
    assert (await at.chat()).status_code == 401


async def test_a_page_in_a_browser_reaches_nothing(front: Serve) -> None:
    upstream = Recorder()
    at = await front(upstream, key="sk-upstream", door=LOCAL)
    headers = {"host": "127.0.0.1", "origin": "https://evil.example", "content-type": "text/plain"}
    for path in (CHAT, "/v1/models", "/metrics", "/tfgrpo/v1/priors/default"):
        assert (await at.in_process.request("GET", path, headers=headers)).status_code == 403
    assert not upstream.scopes


def test_a_key_without_limits_is_never_used_up() -> None:
    assert AccessKey("a", "1", "anna").used_up() is None
