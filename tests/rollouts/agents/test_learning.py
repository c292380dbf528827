"""Runs whose rollouts an agent makes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests import own_agents
from tests.rollouts.agents.made import always
from tests.routing import ADVICE, HARM, NOISE, SMALL, TASKS, WORDS, distilling, plan, talkative
from tests.routing import upstream as stored_upstream
from tfgrpo.errors import ModelError, UpstreamError
from tfgrpo.learning.result import LearningResult
from tfgrpo.learning.run import carry_out
from tfgrpo.observer import Silent
from tfgrpo.records import (
    ChatBody,
    Frame,
    Task,
    message_text,
)
from tfgrpo.rollouts.agents import Agent, FunctionAgent
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy


async def learned(
    agent: Agent, model: ScriptedModel, path: Path, settings: Settings, *, tasks: Sequence[Task] = TASKS
) -> LearningResult:
    with Store(path) as store:
        async with stored_upstream(model, store, settings) as calls:
            wanted = replace(plan(settings, tuple(tasks)), agent=agent, frame=Frame("fake"))
            return await carry_out(wanted, store, calls, Silent())


async def test_a_token_prior_is_learned_from_an_agents_calls(tmp_path: Path) -> None:
    agent = FunctionAgent("tests.own_agents:route")
    settings = Settings(steps=2, race=False, group_size=8, concurrency=8, experiences=False)
    model = ScriptedModel(SimulatedPolicy(WORDS, talkative))
    found = await learned(agent, model, tmp_path / "t.db", settings)
    biases = {entry.piece.decode(): entry.bias for entry in found.prior.biases}
    assert min(biases[label] - biases.get("The", 0.0) for label in ("billing", "technical", "sales")) > 1
    assert found.steps[-1].mean_reward > found.steps[0].mean_reward
    with Store(tmp_path / "t.db") as store:
        assert store.run(found.run.id).settings["agent"] == "tests.own_agents:route"
        assert len(store.groups(found.run.id)) == 2 * len(TASKS)


async def test_experiences_are_tried_and_measured_on_an_agent_and_resume_as_if_never_cut(tmp_path: Path) -> None:
    settings = Settings(steps=2, group_size=8, proposals=3, token_prior=False)
    agent = FunctionAgent("tests.own_agents:route")
    script = distilling({ADVICE: 0.45, HARM: -0.35, NOISE: 0.0})
    whole = await learned(agent, ScriptedModel(script), tmp_path / "whole.db", settings)
    runs, count = len(own_agents.RUNS), [0]
    assert [experience.text for experience in whole.prior.experiences] == [ADVICE]

    def cut(body: ChatBody) -> str | Answer:
        count[0] += 1
        return script(body) if count[0] <= 100 else Answer("no", status=401)

    with pytest.raises(UpstreamError):
        await learned(agent, ScriptedModel(cut), tmp_path / "cut.db", settings)
    finished = len(own_agents.RUNS) - runs
    resumed = await learned(agent, ScriptedModel(script), tmp_path / "cut.db", settings)
    assert (resumed.prior.id, resumed.fates, resumed.steps) == (whole.prior.id, whole.fates, whole.steps)
    assert len(own_agents.RUNS) - runs - finished < runs - 50, "what was over is not made again"


async def test_a_step_in_which_every_agent_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"every rollout of step 1 failed; the first one: .* made no model call"):
        await learned(FunctionAgent("tests.own_agents:calls_nobody"), always(), tmp_path / "t.db", SMALL)


async def test_no_token_prior_is_learned_for_an_agent_without_log_probabilities(tmp_path: Path) -> None:
    from tests.toy import tokenizer

    model = ScriptedModel(SimulatedPolicy(WORDS, talkative, logprobs=False))
    settings = replace(SMALL, steps=1)
    with Store(tmp_path / "t.db") as store:
        async with stored_upstream(model, store, settings) as calls:
            calls.tokenizer = tokenizer(WORDS)
            wanted = replace(plan(settings), agent=FunctionAgent("tests.own_agents:route"))
            found = await carry_out(wanted, store, calls, Silent())
    assert not found.prior.biases
    assert any("no token prior" in note for note in found.notes)


def uses_tools_when_shown(body: ChatBody) -> str | Answer:
    """Calls the tool in a part of its rollouts, and in all where it is shown how."""
    last, seen = body["messages"][-1], [message for message in body["messages"] if message["role"] == "tool"]
    if last["role"] == "tool":
        return str(last["content"]).removeprefix("the label is ")
    if not seen and body.get("seed", 0) % 5 > 1:
        return "The message"
    function = {"name": "look_up", "arguments": json.dumps({"text": message_text(last)})}
    return Answer("", tool_calls=[{"id": "call_1", "type": "function", "function": function}])


async def test_whole_rollouts_that_used_tools_enter_the_race_and_show_how(tmp_path: Path) -> None:
    settings = Settings(steps=3, group_size=6, experiences=False, token_prior=False)
    found = await learned(
        FunctionAgent("tests.own_agents:looks_up"), ScriptedModel(uses_tools_when_shown), tmp_path / "t.db", settings
    )
    whole = [arm for lap in found.race for arm in lap["arms"] if arm["source"].endswith("whole rollouts with tools")]
    assert whole
    assert whole[-1]["reward"] > 0.7
    assert found.prior.demonstrations
    assert any(message.get("tool_calls") for message in found.prior.demonstrations[0].messages)
