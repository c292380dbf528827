"""Decisions through the clients: the answers come under the live prior's offsets, and say so."""

import gzip
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai.types.decision import Decision

import tfgrpo
from tfgrpo.records import Experience, Frame, OptionOffset, Prior, QuestionOffsets
from tfgrpo.store import Store
from tfgrpo.surfaces.decided import FROZEN_FIELD

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


def choices(found: Decision) -> list[object]:
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


async def test_an_async_decision_too(tmp_path: Path) -> None:
    path = a_store(tmp_path, Prior(questions=(OFFSETS,)))
    http_client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    async with tfgrpo.AsyncOpenAI(api_key="k", store=path, http_client=http_client) as client:
        found = await client.decisions.create(model="m", input="x", questions=[QUESTION])
        plain = await client.decisions.create(
            model="m", input="x", questions=[QUESTION], extra_headers={"x-tfgrpo-prior": "none"}
        )
    assert choices(found) + choices(plain) == ["b", "a"]
    assert tfgrpo.info(found).prior
