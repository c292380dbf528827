"""What the endpoint of a rollout answers, and refuses."""

import asyncio
import json

from tests import own_agents
from tests.rollouts.agents.made import (
    POSTS,
    PRIOR,
    TASK,
    URLLIB,
    Program,
    always,
    rolled,
    rolling,
)
from tfgrpo.records import (
    ChatBody,
)
from tfgrpo.rollouts.agents import FunctionAgent
from tfgrpo.settings import Settings
from tfgrpo.testing import Answer, ScriptedModel


async def test_streamed_calls_are_answered_with_events() -> None:
    model = always("billing it is")
    rollout = await rolled(FunctionAgent("tests.own_agents:streams"), model)
    assert (rollout.text, rollout.error) == ("billing it is", None)
    assert "stream" not in model.requests[0]
    assert "stream_options" not in model.requests[0]


async def test_what_an_agent_asks_after_its_time_is_refused(steady: None) -> None:
    model, agent = always(), FunctionAgent("tests.own_agents:stuck")
    async with rolling(agent, model, Settings(agent_timeout=0.5)) as executor:
        await executor(TASK, PRIOR, 0, 0)
        own_agents.release.set()
        assert await asyncio.to_thread(own_agents.over.wait, 60)
    assert len(own_agents.RUNS) == 2
    assert len(model.requests) == 1


OTHER_ROUTES = (
    URLLIB
    + """
import urllib.error
base, seen = os.environ["OPENAI_BASE_URL"], []
chat, nan = "/chat/completions", b'{"messages": [{"role": "user", "content": NaN}]}'
for path, body in [("/models", None), (chat, b"no"), (chat, b"{}"), (chat, nan)]:
    try:
        with urllib.request.urlopen(urllib.request.Request(base + path, body)) as response:
            seen.append(json.load(response)["data"][0]["id"])
    except urllib.error.HTTPError as error:
        seen.append([error.code, json.load(error)["error"]["code"]])
print(json.dumps(seen))
"""
)


async def test_what_is_no_chat_completion_is_refused_with_a_reason(program: Program) -> None:
    rollout = await rolled(program(OTHER_ROUTES), always())
    assert json.loads(rollout.text) == ["fake", *[[400, "bad_request"]] * 3]
    assert rollout.usage.calls == 1


FALLS_BACK = f"""{POSTS}
try:
    ask([{{"role": "user", "content": "too long"}}])
except urllib.error.HTTPError as error:
    assert error.code == 400
    print(json.loads(ask([{{"role": "user", "content": sys.argv[1]}}]))["choices"][0]["message"]["content"])
"""


async def test_a_call_that_fails_is_the_agents_to_deal_with(program: Program) -> None:
    def script(body: ChatBody) -> str | Answer:
        return Answer("too long", status=400) if "too long" in str(body["messages"]) else "billing"

    model = ScriptedModel(script)
    rollout = await rolled(program(FALLS_BACK), model)
    assert (rollout.text, rollout.error) == ("billing", None)
    assert len(model.requests) == 2, "what failed for good is not tried again"
