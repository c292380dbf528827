"""Further rollouts of calls in deployment: of which calls, under whose key, how many, and that no caller notices."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.live import MODEL, PRIOR
from tests.serve.fronts import BODY, CHAT, PATIENCE, QUESTION, Front, Serve, calling, is_biased, running
from tests.serve.test_feedback import written
from tests.serve.test_redecided_calls import MESSAGES, a_store, said
from tfgrpo.errors import InputError
from tfgrpo.serve.call_info import INFERENCE_HEADER
from tfgrpo.serve.proxy import Proxy, Recording, RelayTarget, Shelf
from tfgrpo.serve.proxy.shadow import further
from tfgrpo.serve.writing import Shadowing
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel

pytestmark = pytest.mark.usefixtures("written_in_thread")


def shadowed(**given: Any) -> Recording:
    return Recording(0.0, shadows=Shadowing(1.0, **given))


async def told(at: Front, *wanted: str) -> str:
    """The metrics, once all that is wanted stands in them."""
    async with asyncio.timeout(PATIENCE):
        while True:
            text = (await at.in_process.get("/metrics")).text
            if all(f"tfgrpo_shadow_rollouts_total{{result={one}" in text for one in wanted):
                return text
            await asyncio.sleep(0.05)


async def test_a_group_is_made_of_a_call_whose_caller_has_had_its_answer(front: Serve, shelf: Shelf) -> None:
    answered = asyncio.Event()

    class Held(ScriptedModel):
        async def app(self, scope: Any, receive: Any, send: Any) -> None:
            if self.requests:  # the first is the caller's
                await answered.wait()
            await super().app(scope, receive, send)

    model = Held(lambda body: "BILL" if body.get("stream") else "TECH")
    at = await front(model.app, key="sk-ours", recording=shadowed(group_size=3))
    body = {**BODY, "stream": True, "seed": 7, "temperature": 1}
    got = await at.outside.post("/v1/chat/completions", json=body, headers={"authorization": "Bearer sk-caller"})
    assert "BILL" in got.text
    answered.set()
    await told(at, '"made"} 2.0')
    assert [is_biased(asked) for asked in model.requests] == [True] * 3
    assert ["seed" in asked or "stream" in asked for asked in model.requests] == [True, False, False]
    assert {headers["authorization"] for headers in model.headers} == {"Bearer sk-ours"}
    assert [headers.get("user-agent") for headers in model.headers[1:]] == [None, None]
    one = got.headers[INFERENCE_HEADER]
    await written(shelf.path, lambda store: len(store.shadows(one)) == 2)
    with Store(shelf.path) as store:
        shadows, call = store.shadows(one), store.inference(one)
    assert call is not None
    assert json.loads(call.request)["messages"] == QUESTION
    assert {(shadow.prior, shadow.variant, shadow.namespace) for shadow in shadows} == {(PRIOR.id, "live", "default")}
    assert all("TECH" in shadow.response and not shadow.request for shadow in shadows)


async def test_a_budget_ends_and_a_busy_upstream_is_left_alone(front: Serve) -> None:
    at = await front(ScriptedModel(lambda body: "BILL").app, recording=shadowed(group_size=2, calls_a_day=2))
    for _ in range(3):
        await at.chat()
    await told(at, '"made"} 2.0', '"budget"} 1.0')
    statuses = iter((200, 429, 200))  # the second is a further rollout's
    busy = ScriptedModel(lambda body: Answer("BILL", status=next(statuses)))
    other = await front(busy.app, recording=shadowed(group_size=2))
    await other.chat()
    await told(other, '"failed"} 1.0')
    assert (await other.chat()).status_code == 200
    await told(other, '"paused"} 1.0')


async def test_no_caller_pays_for_a_further_rollout(front: Serve) -> None:
    model = ScriptedModel(lambda body: "BILL")
    at = await front(model.app, recording=shadowed(group_size=2))
    await at.chat(authorization="Bearer sk-caller")  # goes through to the upstream
    await at.in_process.post("/v1/chat/completions?key=secret", json=BODY)
    await at.chat(**{"x-tfgrpo-disable": "1"})
    await at.chat({**BODY, "tools": [{"type": "function", "function": {"name": "pay"}}]})
    await told(at, '"not plain"} 1.0')
    assert len(model.requests) == 4


async def test_alternatives_to_short_answers_are_asked_for_until_an_upstream_refuses_to_tell(front: Serve) -> None:
    model = ScriptedModel(lambda body: Answer("BILL", status=400 if body.get("logprobs") else 200))
    at = await front(model.app, recording=shadowed(group_size=2))
    for count in (1, 2):
        await at.chat({**BODY, "max_tokens": 4})
        await told(at, f'"made"}} {count}.0')
    assert ["logprobs" in asked for asked in model.requests] == [False, True, False, False, False]


async def test_what_is_refused_without_alternatives_too_is_no_word_on_them(front: Serve) -> None:
    statuses = iter((200, 400, 400, 200, 200))  # the second and the third are one further rollout's
    model = ScriptedModel(lambda body: Answer("BILL", status=next(statuses)))
    at = await front(model.app, recording=shadowed(group_size=2))
    for became in ("failed", "made"):
        await at.chat({**BODY, "max_tokens": 4})
        await told(at, f'"{became}"}} 1.0')
    assert ["logprobs" in asked for asked in model.requests] == [False, True, False, False, True]


async def test_a_label_is_decided_again_in_further_rollouts_too(tmp_path: Path) -> None:
    async def upstream(scope: Any, receive: Any, send: Any) -> None:
        content, kind = said(orjson.loads((await receive())["body"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind.encode())]})
        await send({"type": "http.response.body", "body": content})

    async with running(upstream) as address:
        path = a_store(tmp_path, f"{address}/v1")
        proxy = Proxy([RelayTarget.parse(f"{address}/v1")], Shelf(path, "default"), recording=shadowed(group_size=3))
        async with proxy, calling(proxy) as client:
            got = await client.post(CHAT, json={"model": "m", "messages": MESSAGES})
            await written(path, lambda store: len(store.shadows(got.headers[INFERENCE_HEADER])) == 2)
    with Store(path) as store:
        shadows = store.shadows(got.headers[INFERENCE_HEADER])
    assert {orjson.loads(one.response)["choices"][0]["message"]["content"] for one in shadows} == {"technical."}


def test_only_what_is_a_question_and_no_more_is_asked_again() -> None:
    plain = {"model": MODEL, "messages": QUESTION, "seed": 1, "stream": True, "n": 1}
    assert orjson.loads(further(orjson.dumps(plain), listed=True) or b"") == {"model": MODEL, "messages": QUESTION}
    acting: list[Any] = [
        {"tools": []}, {"functions": []}, {"store": True}, {"n": 2}, {"temperature": 0}, {"web_search_options": {}},
        {"messages": []}, {"messages": "x"}, {"messages": [*QUESTION, {"role": "assistant", "content": "x"}]},
        {"messages": [{"role": "tool", "content": "x"}, *QUESTION]}, {"messages": [7]}, {"background": True},
        {"messages": [{"role": "assistant", "tool_calls": [{}]}, *QUESTION]}, {"user": "x" * 300_000},
    ]  # fmt: skip
    assert Counter(further(orjson.dumps({**plain, **more}), listed=True) for more in acting) == {None: len(acting)}
    assert {further(given, listed=True) for given in (b"[]", b"{", b"7")} == {None}


def test_what_is_no_group_is_refused_at_the_start() -> None:
    for share, *others in ((2.0,), (float("nan"),), (0.5, 1), (0.5, 4, 0)):
        with pytest.raises(InputError, match="--"):
            Shadowing(share, *map(int, others))
    with pytest.raises(InputError, match="--record"):
        Recording(None, shadows=Shadowing(0.1))
