"""The fakes that ship: one answer in every form, and a policy that is what it says."""

import asyncio
import math
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Mapping, MutableMapping
from typing import Any

import openai
import pytest

from tfgrpo.errors import ModelError
from tfgrpo.model.library import http
from tfgrpo.records import JSON, CallKey, ChatBody
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy, serving

ASKED: Any = [{"role": "user", "content": "one two three"}]
BODY: ChatBody = {"model": "fake", "messages": ASKED}
KEY = CallKey("run_1", "rollout")
CALLS: list[JSON] = [
    {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}},
    {"id": "call_2", "type": "function", "function": {"name": "stop", "arguments": "{}"}},
]
LOGPROBS = [{"id": 3, "token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": []}]
ANSWERS = [
    Answer("To  BILL\nwith it, please "),
    Answer(""),
    Answer("cut off", finish_reason="length"),
    Answer("a", logprobs=LOGPROBS),
    Answer(tool_calls=CALLS, finish_reason="tool_calls"),
    Answer("Let me see.", tool_calls=CALLS[:1], finish_reason="tool_calls"),
]


@pytest.fixture(name="client")
async def _client(request: pytest.FixtureRequest) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK, talking to the model that the test is given."""
    transport = http.ASGITransport(app=request.param.app)
    async with openai.AsyncOpenAI(
        base_url="http://fake/v1",
        api_key="none",
        max_retries=0,
        http_client=http.AsyncClient(transport=transport),
    ) as client:
        yield client


def model_of(answer: Answer) -> ScriptedModel:
    return ScriptedModel(lambda body: answer)


@pytest.mark.parametrize("client", [model_of(answer) for answer in ANSWERS], indirect=True)
async def test_a_stream_adds_up_to_the_json(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="fake", messages=ASKED, logprobs=True)
    text, calls, logprobs, finish, usage = "", dict[int, JSON](), list[JSON](), None, None
    stream = await client.chat.completions.create(
        model="fake", messages=ASKED, logprobs=True, stream=True, stream_options={"include_usage": True}
    )
    async for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            assert finish is None
            text += choice.delta.content or ""
            calls |= {call.index: call for call in choice.delta.tool_calls or ()}
            logprobs += (choice.logprobs and choice.logprobs.content) or ()
            finish = choice.finish_reason
    (told,) = whole.choices
    assert (text, finish, usage) == (told.message.content or "", told.finish_reason, whole.usage)
    streamed = [calls[place].model_dump(exclude={"index"}) for place in sorted(calls)]
    assert streamed == [call.model_dump() for call in told.message.tool_calls or ()]
    assert logprobs == ((told.logprobs and told.logprobs.content) or [])


@pytest.mark.parametrize("answer", ANSWERS)
async def test_the_model_says_the_same_with_and_without_http(answer: Answer) -> None:
    reply = await model_of(answer)({**BODY, "logprobs": True}, KEY)
    assert (reply.text, reply.finish_reason) == (answer.text, answer.finish_reason)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, len(answer.text.split()))
    assert (reply.trace is not None) == (answer.logprobs is not None)
    assert reply.message.get("tool_calls", ()) == (answer.tool_calls or ())


async def test_log_probabilities_come_only_when_asked_for() -> None:
    assert (await model_of(Answer("a", logprobs=LOGPROBS))(BODY, KEY)).trace is None


@pytest.mark.parametrize("client", [model_of(Answer("no", status=429, param="seed"))], indirect=True)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_is_one_over_http_and_without(client: openai.AsyncOpenAI, stream: bool) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model="fake", messages=ASKED, stream=stream)
    assert caught.value.param == "seed"
    with pytest.raises(ModelError, match="no"):
        await model_of(Answer("no", status=429))(BODY, KEY)


async def test_requests_are_kept_in_order_of_arrival() -> None:
    model = ScriptedModel(lambda body: str(body["seed"]))
    transport = http.ASGITransport(app=model.app)
    async with http.AsyncClient(transport=transport, base_url="http://fake") as client:
        for seed in range(3):
            sent = await client.post("/v1/chat/completions", json={**BODY, "seed": seed}, headers={"X-Turn": str(seed)})
            assert sent.json()["choices"][0]["message"]["content"] == str(seed)
    assert [body["seed"] for body in model.requests] == [0, 1, 2]
    assert [headers["x-turn"] for headers in model.headers] == ["0", "1", "2"]


async def test_the_routes_beside_the_chat() -> None:
    model = ScriptedModel(lambda body: "", name="small", owner="vllm")
    transport = http.ASGITransport(app=model.app)
    async with http.AsyncClient(transport=transport, base_url="http://fake") as client:
        (listed,) = (await client.get("/v1/models")).json()["data"]
        assert (listed["id"], listed["owned_by"]) == ("small", "vllm")
        for field in ("content", "prompt"):
            assert (await client.post("/tokenize", json={field: "to be or"})).json() == {"tokens": [2, 2, 2]}
        assert (await client.get("/health")).json() == {"status": "ok"}
        assert (await client.put("/v1/files/x?a=b", content=b"\x00\xff")).content == b"\x00\xff"


@pytest.mark.parametrize(
    "client", [ScriptedModel(lambda body: "", embed=lambda text: (float(len(text)), 0.5))], indirect=True
)
async def test_the_sdk_gets_embeddings_where_they_are_scripted(client: openai.AsyncOpenAI) -> None:
    found = await client.embeddings.create(model="fake", input=["a", "b c"], encoding_format="float")
    assert [entry.embedding for entry in found.data] == [[1.0, 0.5], [3.0, 0.5]]
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (3, 3)
    (one,) = (await client.embeddings.create(model="fake", input="four", encoding_format="float")).data
    assert one.embedding == [4.0, 0.5]


async def test_an_embedding_may_be_an_error() -> None:
    model = ScriptedModel(lambda body: "", embed=lambda text: Answer("no", status=404) if text == "bad" else (1.0,))
    transport = http.ASGITransport(app=model.app)
    async with http.AsyncClient(transport=transport, base_url="http://fake") as client:
        sent = await client.post("/v1/embeddings", json={"model": "m", "input": ["good", "bad"]})
    assert (sent.status_code, sent.json()["error"]["message"]) == (404, "no")
    assert model.embedded == [["good", "bad"]]


async def test_the_app_can_be_run_by_any_server() -> None:
    events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    said: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return next(events)

    async def send(event: MutableMapping[str, Any]) -> None:
        said.append(event)

    await model_of(Answer("")).app({"type": "lifespan"}, receive, send)
    assert [event["type"] for event in said] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_an_app_can_be_served_on_a_socket_and_is_gone_afterwards() -> None:
    with serving(model_of(Answer("yes")).app) as url, urllib.request.urlopen(f"{url}/models") as response:
        assert response.status == 200
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/models")


# The simulated policy

LOGITS = [1.0, 0.0, -1.0]
POLICY = SimulatedPolicy(("a", "b", "c"), lambda prompt: LOGITS)


def softmax(logits: list[float]) -> list[float]:
    weights = [math.exp(logit) for logit in logits]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("bias", [{}, {"2": 1.5, "0": -1.0}])
@pytest.mark.parametrize("after", [False, True])
def test_words_come_as_often_as_the_softmax_says(temperature: float, bias: Mapping[str, float], after: bool) -> None:
    policy = SimulatedPolicy(POLICY.words, POLICY.logits, after_bias=after, after_temperature=after)
    body = {**BODY, "temperature": temperature, "logit_bias": bias}
    seen = Counter(policy({**body, "seed": seed}).text for seed in range(1000))
    biased = [logit + bias.get(str(token), 0.0) for token, logit in enumerate(LOGITS)]
    for word, probability in zip(policy.words, softmax([logit / temperature for logit in biased]), strict=True):
        assert abs(seen[word] / 1000 - probability) < 4 * math.sqrt(probability * (1 - probability) / 1000)


@pytest.mark.parametrize("after_bias", [False, True])
@pytest.mark.parametrize("after_temperature", [False, True])
def test_log_probabilities_are_of_the_policy_that_is_said(after_bias: bool, after_temperature: bool) -> None:
    policy = SimulatedPolicy(POLICY.words, POLICY.logits, after_bias, after_temperature)
    answer = policy({**BODY, "temperature": 0.5, "logit_bias": {"2": 1.5}, "seed": 1, "top_logprobs": 2})
    logits = [logit + (1.5 if after_bias and token == 2 else 0.0) for token, logit in enumerate(LOGITS)]
    exact = [math.log(one) for one in softmax([logit / (0.5 if after_temperature else 1.0) for logit in logits])]
    assert answer.logprobs
    (entry,) = answer.logprobs
    assert policy.words[entry["id"]] == entry["token"] == answer.text
    ranked = sorted(range(3), key=lambda token: -exact[token])[:2]
    assert [listed["id"] for listed in entry["top_logprobs"]] == ranked
    for listed in (entry, *entry["top_logprobs"]):
        assert listed["logprob"] == pytest.approx(exact[listed["id"]])


def test_equal_requests_get_equal_answers_and_other_seeds_or_prompts_their_own() -> None:
    def said(seed: int, text: str = "?") -> str:
        return POLICY({"messages": [{"role": "user", "content": text}], "seed": seed, "temperature": 2.0}).text

    assert [said(seed) for seed in range(50)] == [said(seed) for seed in range(50)]
    assert [said(seed) for seed in range(50)] != [said(seed + 50) for seed in range(50)]
    assert [said(seed) for seed in range(50)] != [said(seed, "!") for seed in range(50)]


def test_at_temperature_zero_the_likeliest_word_is_certain() -> None:
    assert {POLICY({**BODY, "temperature": 0, "seed": seed}).text for seed in range(50)} == {"a"}
    forced = {POLICY({**BODY, "temperature": 0, "seed": seed, "logit_bias": {"2": 100}}).text for seed in range(50)}
    assert forced == {"c"}


async def test_the_policy_is_a_model_and_an_upstream() -> None:
    model = ScriptedModel(POLICY)
    replies = await asyncio.gather(
        *(model({**BODY, "seed": seed, "logprobs": True, "top_logprobs": 3}, KEY) for seed in range(9))
    )
    assert {reply.text for reply in replies} <= set(POLICY.words)
    assert all(reply.trace is not None and reply.trace.ids.shape == (1, 3) for reply in replies)
