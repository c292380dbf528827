"""Which prior a call gets: by its headers, by the `with` around it, by the key of a canary."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.live import BODY, MODEL, OTHER, PRIOR, go_live
from tfgrpo import disabled, transport, using
from tfgrpo.errors import InputError
from tfgrpo.records import Frame
from tfgrpo.serve.scope import KEY_HEADER, NAMESPACE_HEADER, OURS
from tfgrpo.serve.source import prior_source
from tfgrpo.store import Store
from tfgrpo.surfaces.http import PRIOR_HEADER, REASON_HEADER

URL = "http://up/v1/chat/completions"


class Caller:
    """A client whose calls end in a fake upstream."""

    def __init__(self, store: Path) -> None:
        self.sent: list[httpx2.Request] = []
        self.client = httpx2.Client(transport=transport(httpx2.MockTransport(self._answer), store=store))

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(request)
        return httpx2.Response(200, json={})

    def call(self, **headers: str) -> tuple[str | None, str | None]:
        """Which prior went out, and what the response says: the reason, or None."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.client.post(URL, json=BODY, headers=names)
        assert not {*OURS} & {*self.sent[-1].headers}
        return self.sent[-1].headers.get(PRIOR_HEADER), response.headers.get(REASON_HEADER)


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    go_live(tmp_path / "s.db", OTHER, namespace="math")
    made = Caller(go_live(tmp_path / "s.db"))
    with made.client:
        yield made


def test_the_innermost_says_which_prior_a_call_gets_and_its_own_headers_come_first(caller: Caller) -> None:
    named = {NAMESPACE_HEADER.replace("-", "_"): "math"}
    assert caller.call() == (PRIOR.id, None)
    assert caller.call(**named) == (OTHER.id, None)
    with using("math"):
        assert caller.call() == (OTHER.id, None)
        assert caller.call(**{NAMESPACE_HEADER.replace("-", "_"): "default"}) == (PRIOR.id, None)
        with disabled():
            assert caller.call() == ("none", "disabled")
            assert caller.call(**named) == ("none", "disabled")
            with using("default"):
                assert caller.call() == (PRIOR.id, None)
        with using(key="anna"):
            assert caller.call() == (OTHER.id, None)
    assert caller.call() == (PRIOR.id, None)
    assert caller.call(x_tfgrpo_disable="1") == ("none", "disabled")
    assert caller.call(x_tfgrpo_disable="0") == (PRIOR.id, None)


def test_a_namespace_that_is_not_there_means_no_prior_and_says_so(caller: Caller) -> None:
    with using("nowhere"):
        assert caller.call() == (None, "namespace")


async def test_tasks_that_run_at_once_each_have_their_own(tmp_path: Path) -> None:
    go_live(tmp_path / "s.db", OTHER, namespace="math")
    sent: dict[str, str | None] = {}

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent[request.headers["x-name"]] = request.headers.get(PRIOR_HEADER)
        return httpx2.Response(200, json={})

    inner = transport(httpx2.MockTransport(answer), store=go_live(tmp_path / "s.db"))
    async with httpx2.AsyncClient(transport=inner) as client:

        async def call(name: str) -> None:
            with using(name):
                await asyncio.sleep(0)
                await client.post(URL, json=BODY, headers={"x-name": name})

        await asyncio.gather(*(call(name) for name in ("default", "math")))
    assert sent == {"default": PRIOR.id, "math": OTHER.id}


@pytest.mark.parametrize("given", [{"namespace": ""}, {"namespace": 7}, {"key": ""}])
def test_what_is_no_name_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match=f"tfgrpo.using: {next(iter(given))} is"), using(**given):
        pass


def test_a_key_keeps_its_variant_and_a_growing_share_only_adds_keys(tmp_path: Path) -> None:
    path = go_live(tmp_path / "s.db")
    source = prior_source(path)
    keys = [f"user-{number}" for number in range(400)]
    before: set[str] = set()
    with Store(path) as store:
        store.add_prior(OTHER)
        store.set_state("default", OTHER.id, "canary", frame=Frame(MODEL))
        for share in (0.1, 0.5, 1.0):
            store.add_share("default", OTHER.id, share)
            source.refresh()
            found = {key for key in keys if (got := source.snapshot_for(key)) and got.prior == OTHER}
            assert before <= found
            assert abs(len(found) / len(keys) - share) < 0.06
            before = found
    source.close()


def test_a_canary_is_given_to_calls_of_its_keys_and_told_as_one(tmp_path: Path) -> None:
    path = go_live(tmp_path / "s.db")
    with Store(path) as store:
        store.add_prior(OTHER)
        store.set_state("default", OTHER.id, "canary", frame=Frame(MODEL))
        store.add_share("default", OTHER.id, 0.5)
    caller = Caller(path)
    by_header = {key: caller.call(**{KEY_HEADER.replace("-", "_"): key})[0] for key in "abcdefgh"}
    assert {*by_header.values()} == {PRIOR.id, OTHER.id}
    for key, prior in by_header.items():
        with using(key=key):
            assert caller.call() == (prior, None)
