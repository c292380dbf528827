"""Functions as agents."""

import pytest

from tests.rollouts.agents.made import always, rolled
from tfgrpo.records import (
    message_text,
)
from tfgrpo.rollouts.agents import FunctionAgent
from tfgrpo.rollouts.executor import is_own_failure
from tfgrpo.settings import Settings
from tfgrpo.testing import Answer, ScriptedModel


@pytest.mark.parametrize("name", ["route", "route_async"])
async def test_a_function_is_given_a_biased_and_recorded_client(name: str) -> None:
    model = ScriptedModel(lambda body: "billing" if "first" not in message_text(body["messages"][-1]) else "hm")
    rollout = await rolled(FunctionAgent(f"tests.own_agents:{name}"), model)
    assert (rollout.text, rollout.error) == ("billing", None)
    assert all("logit_bias" in body and body["temperature"] == 0.9 for body in model.requests)
    assert rollout.usage.calls == len(model.requests)
    assert [message["role"] for message in rollout.messages][:3] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("returns_none", "the agent returned None, which is no answer"),
        ("returns_client", "the agent returned a OpenAI; an answer is a text, or JSON"),
        (
            "calls_nobody",
            "the agent made no model call at its base URL (OPENAI_BASE_URL, or the client that it is given)",
        ),
        ("crashes", "the agent failed: ValueError: no luck with ***"),
        ("stuck", "the agent gave no answer within 0.5 s (--agent-timeout)"),
        ("stuck_async", "the agent gave no answer within 0.5 s (--agent-timeout)"),
    ],
)
async def test_a_function_that_fails_is_a_rollout_with_an_error(name: str, error: str) -> None:
    settings = Settings(agent_timeout=0.5) if name.startswith("stuck") else Settings()
    rollout = await rolled(FunctionAgent(f"tests.own_agents:{name}"), always(), settings)
    assert rollout.error == error


async def test_an_answer_may_be_json() -> None:
    assert (await rolled(FunctionAgent("tests.own_agents:returns_object"), always())).text == '{"label":"billing"}'


async def test_an_agent_that_breaks_down_over_an_outage_is_not_to_blame_for_it() -> None:
    """The upstream's failure stands first, so it is told from the agent's own."""
    lost = await rolled(
        FunctionAgent("tests.own_agents:route"),
        ScriptedModel(lambda _: Answer("busy", status=503)),
        Settings(call_retries=0),
    )
    assert (lost.error or "").startswith("fake answered 503: busy; the agent failed: ")
    assert not is_own_failure(lost)
    assert is_own_failure(await rolled(FunctionAgent("tests.own_agents:crashes"), always()))
