"""By which way an upstream goes on with an answer: seen on SIMULATED upstreams, and on the embedded model."""

from pathlib import Path
from typing import Any, Literal

import pytest

from tests.going_on import UPSTREAMS, Continuing, upstream_named
from tests.inprocess import MemoryJournal, upstream
from tfgrpo.errors import UpstreamError
from tfgrpo.model import local
from tfgrpo.model.local.server import ONE_AFTER_THE_OTHER
from tfgrpo.model.upstream import Upstream
from tfgrpo.probe.goes_on import MOST_TRIED, with_way_on
from tfgrpo.records import Backend, Frame, GoesOn, Prior, Task
from tfgrpo.rollouts.bounded import BoundedExecutor, Bounds
from tfgrpo.rollouts.executor import ChatExecutor, rollout_once
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel

BY_LLAMA_CPP: tuple[GoesOn, ...] = ("message", "apply-template")


@pytest.mark.parametrize("name", UPSTREAMS)
async def test_the_way_is_the_first_that_goes_on_and_a_resumed_run_asks_no_answer_anew(name: str) -> None:
    there, journal = upstream_named(name), MemoryJournal()
    async with upstream(there.app, journal=journal) as calling:
        found = await with_way_on(calling, Backend(), Frame("m"), run="run_1")
        asked, refused = len(there.requests), there.refused
        assert await with_way_on(calling, Backend(), Frame("m"), run="run_1") == found
    assert found.goes_on == UPSTREAMS[name][1]
    assert calling.usage.calls <= 2 * MOST_TRIED  # what is replayed counts again
    assert len(there.requests) - asked == there.refused - refused
    assert calling.adapted.notes == ()


@pytest.mark.parametrize("status", [401, 402, 403, 404, 422])
async def test_a_form_that_is_refused_ends_no_run_whatever_the_status(status: int) -> None:
    async with upstream(Continuing("prefix", strict=True, refusal=status).app) as calling:
        assert (await with_way_on(calling, Backend(), Frame("m"), run="")).goes_on == "prefix"
    async with upstream(ScriptedModel(lambda body: Answer("no", status=status)).app) as calling:
        if status == 422:
            assert (await with_way_on(calling, Backend(), Frame("m"), run="")).goes_on == "text"
            return
        with pytest.raises(UpstreamError):
            await with_way_on(calling, Backend(), Frame("m"), run="")


async def test_a_template_that_is_nested_without_end_is_none() -> None:
    there = Continuing(routes=("/v1/completions",))

    async def nested(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] not in ("/apply-template", "/tokenize"):
            await there.app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"[" * 99_999})

    async with upstream(nested) as calling:
        assert (await with_way_on(calling, Backend(), Frame("m"), run="")).goes_on == "text"


async def test_what_a_server_is_known_for_is_tried_first() -> None:
    known: tuple[tuple[Literal["llama.cpp", "vllm"], str], ...]
    known = ("llama.cpp", "message"), ("vllm", "continue_final_message")
    for kind, way in known:
        there = Continuing("message")  # whatever stands beside it
        async with upstream(there.app) as calling:
            assert (await with_way_on(calling, Backend(kind), Frame("m"), run="")).goes_on == way
        assert len(there.requests) == 3


def test_what_was_tried_stays_known_where_it_was_not_looked_at_unless_other_software_came(tmp_path: Path) -> None:
    with Store(tmp_path / "t.db") as store:
        for found in (Backend(), Backend(goes_on="prefix"), Backend(context=9), Backend(goes_on="text"), Backend()):
            store.add_probe("http://h/v1", "m", found)
        assert store.probes()["http://h/v1"]["m"] == Backend(goes_on="text")
        store.add_probe("http://h/v1", "m", Backend("vllm", logprobs=True, alternatives=20, goes_on="tokenize"))
        store.add_probe("http://h/v1", "m", Backend("llama.cpp", logprobs=True))
        assert store.probes()["http://h/v1"]["m"] == Backend("llama.cpp", logprobs=True)


@pytest.mark.model
async def test_on_the_embedded_model_an_answer_in_chunks_has_the_words_of_the_whole_one_by_every_way() -> None:
    """At temperature 0 and on one slot, where it says the same of the same prompt; by chat as llama.cpp goes on, and by
    /completions behind the template of /apply-template."""
    task, frame = (
        Task("Tell a story about a fox and a crow."),
        Frame("local", request={"max_tokens": 120}, temperature=0),
    )
    with local.upstream("local", ONE_AFTER_THE_OTHER) as (url, model):
        frame = Frame(model, request=frame.request, temperature=0)
        async with Upstream(url) as calls:
            seen = await with_way_on(calls, Backend("llama.cpp"), frame, run="")
            assert seen.goes_on == "message"
            whole = await rollout_once(calls, frame, task, Prior(), backend=seen)
            for way in BY_LLAMA_CPP:
                backend = Backend("llama.cpp", goes_on=way)
                plain = ChatExecutor(calls, frame, backend, run="", stage="chat", seed=0)
                made = await BoundedExecutor(plain, Bounds(40, 30, 9), lambda: None)(task, Prior(), 0, 0)
                assert (made.text, made.finish_reason) == (whole.text, whole.finish_reason), way
                assert made.usage.completion_tokens == whole.usage.completion_tokens
                assert made.usage.calls > 3
