"""What a call came to: `info` of every kind of response, feedback, and what is kept."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from openai.resources.chat import Completions

from tests.clients.every_api import TEXT as ANSWER
from tests.clients.every_api import EveryApi
from tests.live import PRIOR, go_live
from tfgrpo import AsyncOpenAI, Info, OpenAI, TfgrpoError, disabled, info
from tfgrpo.serve import call_info
from tfgrpo.store import Feedback, Store
from tfgrpo.surfaces.http import PRIOR_HEADER
from tfgrpo.testing import serving

ASKED: Any = [{"role": "user", "content": "Which queue?"}]
CALL: Any = {"model": "fake", "messages": ASKED}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[EveryApi, str]]:
    upstream = EveryApi()
    with serving(upstream.app) as url:
        yield upstream, url


@pytest.fixture
def upstream(served: tuple[EveryApi, str]) -> EveryApi:
    served[0].requests.clear()
    served[0].request_id, served[0].refuses_prior = None, False
    return served[0]


@pytest.fixture
def options(served: tuple[EveryApi, str], tmp_path: Path) -> dict[str, Any]:
    return {"base_url": served[1], "api_key": "sk-caller", "store": go_live(tmp_path / "s.db"), "max_retries": 0}


@pytest.mark.parametrize("request_id", [None, "req_of_the_upstream"])
def test_a_parsed_response_tells_all_that_went_in(
    request_id: str | None, upstream: EveryApi, options: dict[str, Any]
) -> None:
    upstream.request_id = request_id
    with OpenAI(**options) as client:
        found = client.chat.completions.create(**CALL)
    known = info(found)
    assert known == Info(known.inference, PRIOR.id, "live", "default", None, None, PRIOR, way="bias")
    assert (known.experiences, dict(known.biases)) == (PRIOR.experiences, dict(PRIOR.logit_bias))
    assert info(str(known.inference)) == known
    assert request_id is None or found._request_id == request_id


def test_why_a_call_had_no_prior_is_told(upstream: EveryApi, options: dict[str, Any], tmp_path: Path) -> None:
    with OpenAI(**options) as client:
        create = client.chat.completions.create
        with disabled():
            reasons = [info(create(**CALL)).reason]
        reasons.append(info(create(**CALL, extra_headers={PRIOR_HEADER: "none"})).reason)
        reasons.append(info(create(**CALL, extra_headers={"x-tfgrpo-namespace": "nowhere"})).reason)
        reasons.append(info(create(model="fake", messages={})).reason)
        reasons.append(info(client.embeddings.with_raw_response.create(model="m", input="a")).reason)
    with OpenAI(**(options | {"store": tmp_path / "none.db"})) as client:
        reasons.append(info(client.chat.completions.create(**CALL)).reason)
    assert reasons == ["disabled", "disabled", "namespace", "shape", "route", "store"]
    assert [info(one).reason for one in ("inf_of_nobody", 7, None)] == ["unknown"] * 3


def test_what_a_proxy_gave_a_call_is_told_as_the_proxy_says(
    upstream: EveryApi, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {PRIOR_HEADER: "prior_of_it", "x-tfgrpo-variant": "canary", "x-tfgrpo-inference-id": "inf_of_it"}
    monkeypatch.setattr(upstream, "headers", said)
    with OpenAI(**(options | {"store": tmp_path / "none.db"})) as client:
        found = client.chat.completions.create(**CALL)
        raw = client.chat.completions.with_raw_response.create(**CALL)
    assert info(found) == info(raw) == Info("inf_of_it", "prior_of_it", "canary")
    assert {name: raw.headers[name] for name in said} == said


def test_a_prior_that_is_refused_is_left_out_and_told_unless_strict(
    upstream: EveryApi, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    upstream.refuses_prior = True
    with OpenAI(**options) as client:
        for _ in range(5):
            known = info(client.chat.completions.create(**CALL))
            assert known.prior is None
    assert known.reason == "suspended"
    assert len(upstream.requests) == 3 * 2 + 2  # three in a row are enough
    assert any("refused" in record.getMessage() for record in caplog.records)
    with OpenAI(**options, strict=True) as client, pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**CALL)


async def test_a_prior_that_is_refused_is_left_out_of_an_async_call_too(
    upstream: EveryApi, options: dict[str, Any]
) -> None:
    upstream.refuses_prior = True
    async with AsyncOpenAI(**options) as client:
        assert info(await client.chat.completions.create(**CALL)).reason == "refused"


def test_what_one_upstream_refuses_is_still_sent_to_another_of_the_same_machine(
    upstream: EveryApi, options: dict[str, Any]
) -> None:
    upstream.refuses_prior = True
    other = EveryApi()
    with serving(other.app) as url, OpenAI(**options) as client:
        for _ in range(4):
            reason = info(client.chat.completions.create(**CALL)).reason
        assert reason == "suspended"
        assert info(client.with_options(base_url=url).chat.completions.create(**CALL)).prior == PRIOR.id


def test_what_fails_without_the_prior_too_fails_as_it_would_have(upstream: EveryApi, options: dict[str, Any]) -> None:
    with OpenAI(**options) as client:
        upstream.statuses[:] = [400, 400]
        with pytest.raises(openai.BadRequestError, match="no"):
            client.chat.completions.create(**CALL)


def test_only_the_latest_calls_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_info, "KEPT", 10)
    latest = call_info._Latest()
    for number in range(100):
        latest.keep(Info(str(number)), str(number), f"req {number}")
    assert len(latest._known) == len(latest._order) == 10
    assert latest.find("99") == Info("99")


def test_an_id_that_a_gateway_gives_more_than_one_call_tells_of_the_latest(
    upstream: EveryApi, options: dict[str, Any]
) -> None:
    upstream.request_id = "of the trace"
    with OpenAI(**options) as client:
        assert info(client.chat.completions.create(**CALL)).prior == PRIOR.id
        with disabled():
            assert info(client.chat.completions.create(**CALL)).reason == "disabled"


STREAMS = pytest.mark.skipif(not hasattr(Completions, "stream"), reason="stream() was in beta on this openai")


@STREAMS
def test_what_a_stream_ends_with_is_known_by_its_id(upstream: EveryApi, options: dict[str, Any]) -> None:
    with OpenAI(**options) as client:
        with client.chat.completions.stream(**CALL) as stream:
            final = stream.get_final_completion()
        with client.responses.stream(model="fake", input="Which queue?") as responses:
            response = responses.get_final_response()
        for chunk in client.completions.create(model="fake", prompt="Which queue?", stream=True):
            assert info(chunk).biases == PRIOR.logit_bias
        with disabled(), client.chat.completions.stream(**CALL) as stream:
            last = stream.get_final_completion()
    assert last.id == final.id, "this upstream gives the same again: the latest call is told"
    assert (info(last).reason, info(response).prior) == ("disabled", PRIOR.id)


@STREAMS
async def test_what_an_async_stream_ends_with_is_known_too(upstream: EveryApi, options: dict[str, Any]) -> None:
    async with AsyncOpenAI(**options) as client, client.chat.completions.stream(**CALL) as stream:
        assert info(await stream.get_final_completion()).prior == PRIOR.id


def test_feedback_is_written_with_what_the_call_had(upstream: EveryApi, options: dict[str, Any]) -> None:
    with OpenAI(**options) as client:
        found = client.chat.completions.create(**CALL)
        raw = client.chat.completions.with_raw_response.create(**CALL)
        client.tfgrpo.feedback(found, 1.0, comment="right; my key is AKIAIOSFODNN7EXAMPLE")
        client.tfgrpo.feedback(raw, np.float32(0))  # pyrefly: ignore[bad-argument-type]  # what metrics give
        client.tfgrpo.feedback("inf_of_yesterday", 0.5)
        assert client.tfgrpo.flush()
        with Store(options["store"]) as store:
            first, second, third = store.feedback("default")
            assert store.inferences("default") == ()
        assert (first.inference, first.prior, first.variant) == (info(found).inference, PRIOR.id, "live")
        assert "AKIA" not in first.comment
        assert (second.inference, second.reward) == (info(raw).inference, 0.0)
        assert third == Feedback("inf_of_yesterday", "default", None, "none", 0.5)
        client.tfgrpo.close()


def test_a_label_tells_what_would_have_been_right_and_what_the_call_was_worth(
    upstream: EveryApi, options: dict[str, Any]
) -> None:
    with OpenAI(**options, record=True) as client:
        for label in (ANSWER, "something else"):
            client.tfgrpo.feedback(client.chat.completions.create(**CALL), label=label)
        client.tfgrpo.feedback("inf_1", 0.5, label="billing")
        for wrong in (" ", object(), "x" * 10_001):
            with pytest.raises(TfgrpoError, match="the label must be an answer"):
                client.tfgrpo.feedback("inf_1", label=wrong)
        client.tfgrpo.close()
    with Store(options["store"]) as store:
        found = [(one.reward, one.label) for one in store.feedback("default")]
    assert found == [(1.0, ANSWER), (0.0, "something else"), (0.5, "billing")]


@pytest.mark.parametrize("reward", [1.5, -1, float("nan"), "good", None])
def test_what_is_no_reward_is_refused(reward: Any, options: dict[str, Any]) -> None:
    with OpenAI(**options) as client, pytest.raises(TfgrpoError, match="from 0 to 1"):
        client.tfgrpo.feedback("inf_1", reward)


def test_feedback_on_what_is_no_call_of_ours_is_refused(options: dict[str, Any]) -> None:
    with OpenAI(**options) as client, pytest.raises(TfgrpoError, match="nothing is known of this response"):
        client.tfgrpo.feedback(object(), 1)


def test_calls_are_kept_as_they_were_written_and_answered_where_that_is_asked_for(
    upstream: EveryApi, options: dict[str, Any]
) -> None:
    secret = {"role": "user", "content": "My key is AKIAIOSFODNN7EXAMPLE."}
    with OpenAI(**options, record=True) as client:
        client.chat.completions.create(model="fake", messages=[secret])  # pyrefly: ignore[bad-argument-type]
        for _ in client.chat.completions.create(**CALL, stream=True):
            pass
        client.embeddings.create(model="m", input="a")
        client.tfgrpo.close()
    with Store(options["store"]) as store:
        whole, streamed = store.inferences("default")
    assert (whole.prior, whole.variant, whole.surface, whole.model, whole.status) == (
        PRIOR.id, "live", "chat", "fake", 200
    )  # fmt: skip
    assert "AKIA" not in whole.request
    assert set(json.loads(whole.request)) == {"model", "messages"}
    assert json.loads(whole.response)["choices"][0]["message"]["content"] == ANSWER
    assert streamed.response.count("data: ") > 2
    assert streamed.response.endswith("[DONE]\n\n")


async def test_async_streams_are_kept_too(upstream: EveryApi, options: dict[str, Any]) -> None:
    async with AsyncOpenAI(**options, record=True) as client:
        async for _ in await client.chat.completions.create(**CALL, stream=True):
            pass
        client.tfgrpo.close()
    with Store(options["store"]) as store:
        (call,) = store.inferences("default")
    assert call.response.endswith("[DONE]\n\n")


def test_an_answer_that_cannot_be_unpacked_is_all_that_is_not_kept(
    upstream: EveryApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with OpenAI(**options, record=True) as client:
        monkeypatch.setattr(upstream, "headers", {"content-encoding": "gzip"})
        with client.chat.completions.with_streaming_response.create(**CALL) as packed_wrongly:
            list(packed_wrongly.http_response.iter_raw())
        assert client.tfgrpo.flush()
        monkeypatch.setattr(upstream, "headers", {})
        client.chat.completions.create(**CALL)
        client.tfgrpo.feedback("inf_1", 1.0)
        client.tfgrpo.close()
    with Store(options["store"]) as store:
        assert (len(store.inferences("default")), len(store.feedback("default"))) == (1, 1)
    assert "an answer cannot be read (DecodingError)" in caplog.text


def test_a_store_that_cannot_be_written_costs_no_call(
    upstream: EveryApi, options: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options["store"] = tmp_path / "no" / "folder.db"
    before = {*threading.enumerate()}
    with OpenAI(**options, record=True) as client:
        for _ in range(2):
            client.chat.completions.create(**CALL)
            assert client.tfgrpo.flush()
        client.tfgrpo.close()
    assert "tfgrpo-recorder" not in {one.name for one in {*threading.enumerate()} - before}
    assert len([one for one in caplog.records if "is dropped" in one.getMessage()]) == 1


def test_what_is_no_store_keeps_no_calls(options: dict[str, Any]) -> None:
    for store in ("prior.json", "https://tfgrpo.invalid/prior.json"):
        with pytest.raises(TfgrpoError, match="keeps no calls"):
            OpenAI(**(options | {"store": store}), record=True)
