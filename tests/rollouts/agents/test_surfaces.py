"""Agents that speak other APIs than chat completions: biased, recorded, streamed to, and found again in the journal."""

import json

import pytest

from tests.clients.every_api import TEXT, EveryApi
from tests.inprocess import MemoryJournal, upstream
from tests.rollouts.agents.made import BACKEND, FRAME, POSTS, PRIOR, TASK, Program
from tfgrpo.errors import BudgetEnded, UpstreamError
from tfgrpo.model.budget import Budget, Ceiling
from tfgrpo.records import Rollout, message_text
from tfgrpo.rollouts.agents import Agent, FunctionAgent
from tfgrpo.rollouts.group import executors
from tfgrpo.settings import Settings

SAID = PRIOR.experiences[0].text
MESSAGES = """
import json, os, sys, urllib.request
def ask(**more):
    asked = {"model": os.environ["TFGRPO_MODEL"], "max_tokens": 9, "system": "Route it.",
             "messages": [{"role": "user", "content": sys.argv[1]}], **more}
    headers = {"x-api-key": os.environ["ANTHROPIC_API_KEY"], "content-type": "application/json"}
    url = os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(asked).encode(), headers)) as response:
        return response.read().decode()
whole, events = json.loads(ask()), ask(stream=True)
assert events.startswith("event: message_start") and "message_stop" in events, events
print(whole["content"][0]["text"])
"""
OTHER = POSTS + 'post("/completions", prompt=sys.argv[1])'
LACKED = POSTS + 'post("/responses", input=sys.argv[1])'
TWICE = POSTS + 'post("/embeddings", input=sys.argv[1]), post("/embeddings", input=sys.argv[1])'
CLIMBS = """
import http.client, os, urllib.error, urllib.parse, urllib.request
there = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
for path in ("/../admin", "/%2e%2e/admin", "/x/%252e%252e/%252e%252e/admin"):
    connection = http.client.HTTPConnection(there.netloc)
    connection.request("POST", there.path + path, b"{}")
    print(connection.getresponse().status)
"""


async def rolled(
    agent: Agent, server: EveryApi, journal: MemoryJournal | None = None, budget: Budget | None = None
) -> Rollout:
    journal, settings = journal or MemoryJournal(), Settings()
    async with (
        upstream(server.app, journal=journal, settings=settings, budget=budget) as calls,
        executors(agent, calls, settings, journal) as make,
    ):
        return await make(FRAME, BACKEND, run="run_1", stage="rollout", seed=3, top_logprobs=5)(TASK, PRIOR, 2, 5)


async def test_an_agent_that_speaks_responses_is_biased_on_every_turn_and_recorded_as_one_conversation() -> None:
    server, journal, agent = EveryApi(), MemoryJournal(), FunctionAgent("tests.own_agents:converses")
    rollout = await rolled(agent, server, journal)
    assert (rollout.error, rollout.text) == (None, TEXT)
    bodies = [got.body for got in server.requests]
    assert [got.path for got in server.requests] == ["/v1/responses"] * 2
    assert all(body["instructions"].startswith("Route it.\n\n") and SAID in body["instructions"] for body in bodies)
    assert all((body["temperature"], "stream" in body, "seed" in body) == (0.9, False, False) for body in bodies)
    assert [message["role"] for message in rollout.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert SAID in message_text(rollout.messages[0])
    assert rollout.messages[1]["content"] == TASK.input
    assert (rollout.usage.calls, rollout.usage.prompt_tokens) == (2, 14)
    again = await rolled(agent, server, journal)
    assert again == rollout
    assert len(server.requests) == 2


async def test_an_agent_that_speaks_to_anthropic_is_biased_recorded_and_streamed_to(program: Program) -> None:
    server = EveryApi()
    rollout = await rolled(program(MESSAGES), server)
    assert (rollout.error, rollout.text) == (None, TEXT)
    assert all(got.body["system"].startswith("Route it.\n\n") and SAID in got.body["system"] for got in server.requests)
    assert server.last.headers["x-api-key"].startswith("sk-test")
    assert server.last.headers["anthropic-version"]
    assert json.loads(server.last.raw)["model"] == "fake"


async def test_what_an_agent_asks_beside_its_model_goes_on_as_it_is_but_for_the_key() -> None:
    server, budget = EveryApi(), Budget(Ceiling(calls=9))
    rollout = await rolled(FunctionAgent("tests.own_agents:asks_beside"), server, budget=budget)
    assert (rollout.error, rollout.text) == (None, TEXT)
    assert rollout.messages[-2]["content"] == "[0.5] words"
    vectors, heard, listed, _ = server.requests
    assert vectors.body == {"model": "small", "input": [TASK.input], "encoding_format": "float"}
    assert b"RIFF" in heard.raw
    assert heard.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert [got.path for got in (heard, listed)] == ["/v1/audio/transcriptions", "/v1/files"]
    assert all(got.headers["authorization"].startswith("Bearer sk-test-") for got in (vectors, heard, listed))
    assert budget.spent.calls == 3, "each POST is a call"
    assert rollout.usage.calls == 1, "of the model there was one"


async def test_no_path_climbs_out_of_the_base_url(program: Program) -> None:
    server = EveryApi()
    rollout = await rolled(program(CLIMBS), server)
    assert not server.requests
    assert "no model call" in str(rollout.error)


async def test_a_ceiling_holds_for_what_is_asked_beside_the_model(program: Program) -> None:
    with pytest.raises(BudgetEnded):
        await rolled(program(TWICE), EveryApi(), budget=Budget(Ceiling(calls=1)))


async def test_a_surface_that_cannot_be_recorded_ends_the_run_at_its_first_call(program: Program) -> None:
    with pytest.raises(
        UpstreamError, match="POST /completions: for an agent POST /chat/completions, /responses, /mess"
    ):
        await rolled(program(OTHER), EveryApi())


async def test_an_upstream_without_the_agents_surface_is_said_to_lack_it_at_the_first_call(program: Program) -> None:
    server = EveryApi(statuses=[404] * 9)
    with pytest.raises(UpstreamError, match="the agent calls /responses, which this upstream may not have"):
        await rolled(program(LACKED), server)
    assert len(server.requests) == 1
