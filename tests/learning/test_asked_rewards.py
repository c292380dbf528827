"""Runs whose reward asks a model, or compares the rollouts of a group."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.routing import SMALL, TASKS, plan, simulated, upstream
from tfgrpo.deployment.history import happened
from tfgrpo.errors import ModelError
from tfgrpo.learning.plan import Plan
from tfgrpo.learning.result import LearningResult
from tfgrpo.learning.run import carry_out
from tfgrpo.observer import Silent
from tfgrpo.records import ChatBody, message_text
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel

ONE = replace(SMALL, steps=1, token_prior=False)


def rewarded(name: str) -> Plan:
    return replace(plan(ONE, TASKS[:3]), reward=load_reward(name), reward_name=name)


async def learned(wanted: Plan, model: ScriptedModel, path: Path, *, fresh: bool = True) -> LearningResult:
    with Store(path) as store:
        async with upstream(model, store, ONE) as calls:
            return await carry_out(wanted, store, calls, Silent(), fresh=fresh)


async def test_a_judge_is_asked_in_the_run_and_each_text_once(tmp_path: Path) -> None:
    policy = simulated()
    asked: list[ChatBody] = []

    def script(body: ChatBody) -> str | Answer:
        text = message_text(body["messages"][-1])
        if "How good is the attempt?" not in text:
            return policy.script(body)
        asked.append(body)
        good = "\nbilling\n" in text.partition("<attempt>")[2]
        return json.dumps({"why": f"Verdict {len(asked)}.", "score": 10 if good else 0})

    result = await learned(rewarded("judge@referee"), ScriptedModel(script), tmp_path / "t.db")
    with Store(tmp_path / "t.db") as store:
        rollouts = [one for group in store.groups(result.run.id) for one in group.rollouts]
        spent = dict(store.spent_by_stage(result.run.id))
    assert {one.reward for one in rollouts} == {0.0, 1.0}
    assert all((one.reward == 1.0) == (one.text == "billing") for one in rollouts)
    said = {(one.task.id, one.text, one.feedback) for one in rollouts}
    assert len(said) == len({feedback for *_, feedback in said}) == len(asked)  # the same text, the same verdict
    assert {body["model"] for body in asked} == {"referee"}
    assert spent["judge"].calls == len({(one.task.id, one.text) for one in rollouts})


@pytest.mark.parametrize("broken", [Answer("out of memory", status=501), "I am a teapot"])
async def test_a_run_whose_judge_was_broken_goes_on_once_it_is_back(tmp_path: Path, broken: str | Answer) -> None:
    policy, is_back = simulated(), False
    asked = {"judge": 0, "policy": 0}

    def script(body: ChatBody) -> str | Answer:
        judges = "How good is the attempt?" in message_text(body["messages"][1])
        asked["judge" if judges else "policy"] += 1
        if not judges:
            return policy.script(body)
        return json.dumps({"why": "", "score": 10}) if is_back else broken

    model, path = ScriptedModel(script), tmp_path / "t.db"
    for _ in range(2):  # however often it is started meanwhile
        with pytest.raises(ModelError, match="every rollout of step 1 failed"):
            await learned(rewarded("judge@referee"), model, path, fresh=False)
    with Store(path) as store:
        assert [entry.run.status for entry in store.runs()] == ["failed"]
        assert not store.lineage("default")
        assert "every rollout of step 1 failed; the first one: the reward failed" in happened(store, "default")[-1].why
    is_back, made = True, asked["policy"]
    result = await learned(rewarded("judge@referee"), model, path, fresh=False)
    assert result.resumed
    assert asked["policy"] == made  # no rollout is made twice
    with Store(path) as store:
        assert {one.reward for group in store.groups(result.run.id) for one in group.rollouts} == {1.0}


async def test_a_majority_teaches_without_any_answer(tmp_path: Path) -> None:
    result = await learned(rewarded("majority"), simulated(), tmp_path / "t.db")
    with Store(tmp_path / "t.db") as store:
        groups = store.groups(result.run.id)
    assert {one.reward for group in groups for one in group.rollouts} == {0.0, 1.0}
    for group in groups:
        texts = [one.text for one in group.rollouts]
        most = max(map(texts.count, texts))
        assert all((one.reward == 1.0) == (texts.count(one.text) == most > 1) for one in group.rollouts)
