"""Decisions through the clients: the answers come under the live prior's offsets, and say so."""

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

import tfgrpo
from tests.serve.fronts import running
from tfgrpo.records import Experience, Frame, OptionOffset, Prior, QuestionOffsets
from tfgrpo.serve.proxy import Proxy, RelayTarget, Shelf
from tfgrpo.store import Store
from tfgrpo.surfaces.decided import FROZEN_FIELD

if TYPE_CHECKING:
    from openai.types.decision import Decision

pytest.importorskip("openai.types.decision", reason="openai 3 asks for decisions")
QUESTION: Any = {"type": "choice", "instructions": "Which?", "choices": [{"value": "a"}, {"value": "b"}]}
OFFSETS = QuestionOffsets("choice", "Which?", (OptionOffset("a", -2.0, -3.0, 9), OptionOffset("b", 2.0, 3.0, 9)))
ANSWER: Any = {
    "type": "choice",
    "name": None,
    "choice": "a",
    "confidence": 0.9,
    "probabilities": [{"value": "a", "probability": 0.9}, {"value": "b", "probability": 0.1}],
}
USAGE = {
    "input_tokens": 1,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 1,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 2,
}
SEEN: list[httpx2.Request] = []


def answer(request: httpx2.Request) -> httpx2.Response:
    SEEN.append(request)
    content = gzip.compress(json.dumps({"model": "m", "answers": [ANSWER], "usage": USAGE}).encode())
    return httpx2.Response(
        200, content=content, headers={"content-encoding": "gzip", "content-type": "application/json"}
    )


def choices(found: "Decision") -> list[object]:
    return [getattr(one, "choice", None) for one in found.answers]


def a_store(folder: Path, prior: Prior) -> Path:
    SEEN.clear()
    with Store(folder / "tfgrpo.db") as store:
        store.add_prior(prior)
        store.set_state("default", prior.id, "ungated", frame=Frame("m"))
    return folder / "tfgrpo.db"


@pytest.mark.parametrize(
    "prior", [Prior(questions=(OFFSETS,)), Prior((Experience("Look twice."),), questions=(OFFSETS,))]
)
def test_a_decision_comes_under_the_offsets_of_the_live_prior(tmp_path: Path, prior: Prior) -> None:
    http_client = httpx2.Client(transport=httpx2.MockTransport(answer))
    with tfgrpo.OpenAI(api_key="k", store=a_store(tmp_path, prior), http_client=http_client) as client:
        raw = client.decisions.with_raw_response.create(model="m", input="x", questions=[QUESTION])
        other = client.decisions.with_raw_response.create(model="other", input="x", questions=[QUESTION])
    found = raw.parse().answers[0]
    assert found.type == "choice"
    assert (found.choice, raw.headers["x-tfgrpo-offsets"], raw.headers["x-tfgrpo-prior"]) == ("b", "1", prior.id)
    assert found.confidence == pytest.approx(0.1 * 2.718281828**4 / (0.1 * 2.718281828**4 + 0.9), rel=1e-4)
    assert (found.model_extra or {})[FROZEN_FIELD]["choice"] == "a"
    assert SEEN[0].headers["x-tfgrpo-prior"] == prior.id  # a proxy on the way does not apply them again
    told = json.loads(SEEN[0].content)["questions"][0]["instructions"]
    assert told.startswith("Which?")
    assert ("Look twice." in told) == bool(prior.experiences)
    assert choices(other.parse()) == ["a"]  # offsets belong to the model that they were learned on
    assert "x-tfgrpo-offsets" not in other.headers


def _of_offsets(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of a prior that does not act; clients of other tests may still log of their own."""
    told = [one.getMessage() for one in caplog.records]
    return [line for line in told if "offset" in line]


async def test_an_async_decision_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = a_store(tmp_path, Prior(questions=(OFFSETS,)))
    http_client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    async with tfgrpo.AsyncOpenAI(api_key="k", store=path, http_client=http_client) as client:
        found = await client.decisions.create(model="m", input="x", questions=[QUESTION])
        plain = await client.decisions.create(
            model="m", input="x", questions=[QUESTION], extra_headers={"x-tfgrpo-prior": "none"}
        )
        assert _of_offsets(caplog) == []
        other: Any = {**QUESTION, "instructions": "Which one?"}
        await client.decisions.create(model="m", input="x", questions=[other])
        await client.decisions.create(model="else", input="x", questions=[QUESTION])
    assert choices(found) + choices(plain) == ["b", "a"]
    wanted = "no offsets for: other words", "learned on model 'm'"
    assert [words in notice for notice, words in zip(_of_offsets(caplog), wanted, strict=True)] == [True, True]
    assert (tfgrpo.info(found).offsets, tfgrpo.info(plain).offsets) == (1, 0)


async def test_options_of_callers_are_not_named_in_the_log_of_a_proxy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = iter(("Ms. First", "Ms. Second"))

    async def upstream(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        listed = [*ANSWER["probabilities"][:1], {"value": next(names), "probability": 0.1}]
        content = json.dumps({"model": "m", "answers": [{**ANSWER, "probabilities": listed}], "usage": USAGE}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": content})

    async with running(upstream) as address:
        shelf = Shelf(a_store(tmp_path, Prior(questions=(OFFSETS,))), "default")
        proxy = Proxy([RelayTarget.parse(f"{address}/v1")], shelf)
        async with proxy, running(proxy) as at, openai.AsyncOpenAI(api_key="k", base_url=f"{at}/v1") as client:
            for _ in range(2):
                await client.decisions.create(model="m", input="x", questions=[QUESTION])
    assert [one.getMessage() for one in caplog.records if "no offset" in one.getMessage()] == [
        "the prior has no offset for an option that callers ask for: such options keep their probability"
    ]
    assert "Ms." not in caplog.text


def test_options_that_differ_in_each_call_are_told_once_and_use_up_no_other_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = iter(range(200))

    def upstream(request: httpx2.Request) -> httpx2.Response:
        listed = [*ANSWER["probabilities"][:1], {"value": f"case {next(names)}", "probability": 0.1}]
        answers = [{**ANSWER, "probabilities": listed}]
        return httpx2.Response(200, json={"model": "m", "answers": answers, "usage": USAGE})

    store = a_store(tmp_path, Prior(questions=(OFFSETS,)))
    own = httpx2.Client(transport=httpx2.MockTransport(upstream))
    with tfgrpo.OpenAI(api_key="k", base_url="http://up/v1", store=store, http_client=own) as client:
        for _ in range(120):
            client.decisions.create(model="m", input="x", questions=[QUESTION])
        client.decisions.create(model="another", input="x", questions=[QUESTION])
    told = [one.getMessage() for one in caplog.records if "offset" in one.getMessage()]
    wanted = "no offset for 'case 0'", "learned on model 'm'"
    assert [words in line for line, words in zip(told, wanted, strict=True)] == [True, True]


async def test_a_decision_through_the_proxy_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prior = Prior(questions=(OFFSETS,))
    asked: list[Any] = []

    async def upstream(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        asked.append(scope["path"])
        content = gzip.compress(json.dumps({"model": "m", "answers": [ANSWER], "usage": USAGE}).encode())
        headers = [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async with running(upstream) as address:
        proxy = Proxy([RelayTarget.parse(f"{address}/v1")], Shelf(a_store(tmp_path, prior), "default"))
        async with proxy, running(proxy) as at:
            url = f"{at}/v1"
            async with openai.AsyncOpenAI(api_key="k", base_url=url) as client:
                raw = await client.decisions.with_raw_response.create(model="m", input="x", questions=[QUESTION])
                told = len(caplog.records)
                for words in ("Which one?", "Which of them?"):
                    other: Any = {**QUESTION, "instructions": words}
                    await client.decisions.create(model="m", input="x", questions=[other])
            async with tfgrpo.AsyncOpenAI(api_key="k", base_url=url, store=tmp_path / "tfgrpo.db") as client:
                both = await client.decisions.create(model="m", input="x", questions=[QUESTION])
    found = raw.parse()
    assert choices(found) == ["b"]
    assert (raw.headers["x-tfgrpo-offsets"], raw.headers["x-tfgrpo-prior"]) == ("1", prior.id)
    assert choices(both) == ["b"]
    assert getattr(both.answers[0], "confidence", 0) == getattr(found.answers[0], "confidence", 1)  # applied once
    assert asked == ["/v1/decisions"] * 4
    notices = [one.getMessage() for one in caplog.records]
    assert [one for one in notices[:told] if "another question" in one] == []
    assert len([one for one in notices if "no offsets for: other words" in one]) == 1


def test_a_header_of_the_upstreams_that_looks_like_ours_fails_no_call(tmp_path: Path) -> None:
    def refusing(request: httpx2.Request) -> httpx2.Response:
        refused = {"model": "m", "answers": [{"type": "refusal", "name": None, "refusal": "no"}], "usage": USAGE}
        return httpx2.Response(200, json=refused, headers={"x-tfgrpo-offsets": "many"})

    transport = httpx2.MockTransport(refusing)
    store = a_store(tmp_path, Prior(questions=(OFFSETS,)))
    with tfgrpo.OpenAI(
        store=store, api_key="sk", base_url="http://api.test/v1", http_client=httpx2.Client(transport=transport)
    ) as client:
        found = client.decisions.create(model="m", input="?", questions=[QUESTION])
        assert tfgrpo.info(found).offsets == 0
