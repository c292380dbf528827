"""The models of a run: named, started, and open under one budget."""

from pathlib import Path

import pytest

from tests.inprocess import MemoryJournal
from tfgrpo.errors import InputError
from tfgrpo.model.budget import Spending
from tfgrpo.model.endpoints import EMBEDDING_SECONDS, Endpoint, Endpoints
from tfgrpo.records import CallKey
from tfgrpo.settings import Settings
from tfgrpo.testing import ScriptedModel, serving

HERE, THERE = "http://here:1/v1", "http://there:1/v1"
BODY = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    ("distiller", "own_endpoint"),
    [
        (Endpoint(), None),
        (Endpoint(model="other"), None),
        (Endpoint(HERE, "other"), None),
        (Endpoint(HERE, "other", "sk-1"), HERE),
        (Endpoint(THERE, "other"), THERE),
    ],
)
async def test_a_distiller_has_an_endpoint_of_its_own_where_it_is_elsewhere_or_has_a_key(
    distiller: Endpoint, own_endpoint: str | None
) -> None:
    named = Endpoints(Endpoint(HERE, "fake", "sk-0"), distiller)
    with named.started() as started:
        assert started.own == named.own
        assert started.distiller.model == distiller.model
        assert started.distiller.base_url == own_endpoint
        async with started.opened(Settings(), MemoryJournal()) as to:
            assert (to.distiller is None) == (own_endpoint is None)
            assert to.embedding is None


async def test_an_embedding_model_is_beside_the_model_itself_and_waited_for_less() -> None:
    named = Endpoints(Endpoint(HERE, "fake"), embedding=Endpoint(model="vectors"))
    async with named.opened(Settings(call_timeout=600), MemoryJournal()) as to:
        assert to.embedding is not None
        assert to.embedding.name == to.own.name == "here:1"
    assert EMBEDDING_SECONDS < 600


async def test_all_calls_are_counted_together_and_held_under_one_ceiling() -> None:
    model = ScriptedModel(lambda body: "yes")
    with serving(model.app) as url, serving(model.app) as other:
        named = Endpoints(Endpoint(url, "fake"), Endpoint(other, "fake"), spending=Spending(max_calls=2))
        async with named.opened(Settings(), MemoryJournal()) as to:
            assert to.distiller is not None
            await to.own(BODY, CallKey("run", "rollout"))
            await to.distiller(BODY, CallKey("run", "contrast"))
            assert to.usage.calls == to.budget.spent.calls == 2
            assert to.budget.calls_left == 0


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (Endpoints(Endpoint(HERE)), "which model? Name it with --model, or use --base-url local"),
        (Endpoints(Endpoint(HERE, "a"), Endpoint(THERE)), "which model proposes? Name it with --distiller-model"),
    ],
)
def test_a_model_without_a_name_is_asked_for(named: Endpoints, words: str) -> None:
    with pytest.raises(InputError, match=words.replace("?", r"\?")), named.started():
        pass


def test_a_model_may_be_nameless_and_is_never_shown_with_its_key() -> None:
    with Endpoint(HERE, "", "sk-secret").started() as there:
        assert there.model == ""
    assert "secret" not in repr(there)
    assert (Endpoint(HERE).name, Endpoint(HERE, "fake").name, Endpoint().name) == (HERE, "fake", "")
    assert [Endpoint(url).is_local for url in ("local", "local:a.gguf", HERE, None)] == [True, True, False, False]


@pytest.mark.model
def test_the_embedded_model_is_started_and_brings_its_name(tmp_path: Path) -> None:
    with Endpoints(Endpoint("local"), Endpoint("local")).started() as started:
        assert started.own.name == "smollm2-135m-instruct"
        assert started.own.base_url is not None
        assert started.own.base_url.startswith("http://127.0.0.1:")
        assert started.distiller == Endpoint()
