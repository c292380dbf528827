"""Runs whose answers are all listed: a few calls do what hundreds of rollouts did, and it is said where they do not."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.routing import SMALL, TOPICS, WORDS, failing_after, simulated, talkative, upstream
from tfgrpo.errors import TfgrpoError
from tfgrpo.learning.plan import Plan
from tfgrpo.learning.result import LearningResult
from tfgrpo.learning.run import carry_out
from tfgrpo.observer import Silent
from tfgrpo.records import ChatBody, Frame, Rollout, Task
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy

SETTINGS = Settings(race=False, experiences=False)
ONE_TOKEN = Frame("fake", "Route it.", {"max_tokens": 1})


def tasks(count: int, kind: str = "message") -> tuple[Task, ...]:
    topics = list(TOPICS.items()) * count
    return tuple(Task(f"{kind} {number} about {topic}", label) for number, (topic, label) in enumerate(topics[:count]))


def wanted(settings: Settings = SETTINGS, train: int = 20) -> Plan:
    reward = load_reward("exact")
    return Plan(tasks(train), reward, "exact", ONE_TOKEN, settings=settings, validation=tasks(12, "letter"))


async def learned(path: Path, model: ScriptedModel, plan: Plan) -> LearningResult:
    with Store(path) as store:
        async with upstream(model, store, plan.settings) as calls:
            return await carry_out(plan, store, calls, Silent())


async def test_a_whole_run_on_labels_of_one_token_takes_under_sixty_calls(tmp_path: Path) -> None:
    model = simulated()
    found = await learned(tmp_path / "a.db", model, wanted())
    assert len(model.requests) < 60
    assert found.promoted
    assert found.promotion is not None and found.promotion.trial is not None
    assert found.promotion.trial.statistic == "exact"
    assert found.candidate is not None
    raised = {entry.piece.decode() for entry in found.candidate.biases if entry.bias > 1}
    assert raised == {"billing", "technical", "sales"}
    assert [step.exact for step in found.steps] == [20] * 4
    assert found.steps[0].mean_reward < 0.2
    assert found.steps[-1].mean_reward > 0.75
    assert any("exact groups: 1 call a prompt lists 100.0%" in note for note in found.notes)


async def test_a_run_that_was_cut_short_ends_in_the_same_prior_and_repeats_no_call(tmp_path: Path) -> None:
    whole, path = simulated(), tmp_path / "b.db"
    first = await learned(tmp_path / "a.db", whole, wanted(train=8))
    for calls in (5, 6, 7):  # in the look, in a step, in the gate
        stopping = failing_after(calls, Answer("gone", status=401))
        with pytest.raises(TfgrpoError):
            await learned(path, stopping, wanted(train=8))
    rest = simulated()
    found = await learned(path, rest, wanted(train=8))
    assert found.resumed
    assert found.candidate is not None and first.candidate is not None
    assert found.candidate.id == first.candidate.id
    assert found.usage.calls == first.usage.calls == len(whole.requests)
    assert len(rest.requests) < len(whole.requests) - 8


async def test_where_answers_cannot_be_listed_rollouts_are_sampled(tmp_path: Path) -> None:
    def own(rollout: Rollout) -> float:
        return float(rollout.text == rollout.task.answer)

    small = replace(wanted(replace(SMALL, steps=1)), validation=())
    plans = [
        replace(small, settings=replace(small.settings, exact_groups="off")),
        replace(small, reward=own, reward_name="own"),
        replace(small, frame=Frame("fake", "Route it.")),
    ]
    for number, plan in enumerate(plans):
        model = simulated()
        found = await learned(tmp_path / f"{number}.db", model, plan)
        assert found.steps[0].exact == 0
        assert sum("top_logprobs" in body for body in model.requests) >= 20 * SMALL.group_size


def spread_over(others: int) -> SimulatedPolicy:
    words = (*WORDS, *(f"word {number}" for number in range(others)))
    return SimulatedPolicy(words, lambda prompt: [*talkative(prompt), *[0.5] * others])


async def test_as_many_alternatives_are_listed_as_come_where_they_are_more_than_twenty(tmp_path: Path) -> None:
    model = ScriptedModel(spread_over(60))
    found = await learned(tmp_path / "a.db", model, replace(wanted(replace(SMALL, steps=1)), validation=()))
    assert found.steps[0].exact == 20
    assert {body.get("top_logprobs") for body in model.requests} == {5, 100, len(WORDS) + 60}


async def test_answers_of_which_a_part_is_listed_are_looked_at_and_sampled(tmp_path: Path) -> None:
    model = ScriptedModel(spread_over(160))
    found = await learned(tmp_path / "a.db", model, replace(wanted(replace(SMALL, steps=1)), validation=()))
    assert found.steps[0].exact == 0
    looks = [note for note in found.notes if "could be listed (98% are needed)" in note]
    assert len(looks) == 1


async def test_in_a_race_each_way_to_prompt_is_listed_at_no_more_calls_than_its_rollouts(tmp_path: Path) -> None:
    settings = replace(SETTINGS, race=True, steps=2, demonstrations=True)
    exact, sampled = simulated(), simulated()
    found = await learned(tmp_path / "a.db", exact, replace(wanted(settings, train=12), validation=()))
    await learned(
        tmp_path / "b.db", sampled, replace(wanted(replace(settings, exact_groups="off"), train=12), validation=())
    )
    assert found.race
    assert [step.exact for step in found.steps] == [12, 12]
    best = found.race[-1]["arms"][0]
    assert best["reward"] > found.steps[0].mean_reward + 0.3  # judged as each would be with a token prior of its own
    assert len(exact.requests) <= len(sampled.requests)


async def test_an_upstream_that_takes_no_temperature_is_judged_by_its_rewards(tmp_path: Path) -> None:
    """What is listed tells of temperature 1 there, and no bet on production's would be a fair one."""
    policy = SimulatedPolicy(WORDS, talkative)

    def script(body: ChatBody) -> Answer:
        if "temperature" in body:
            return Answer("unsupported", status=400, param="temperature")
        return policy({**body, "temperature": 1.0})

    found = await learned(tmp_path / "a.db", ScriptedModel(script), wanted(replace(SETTINGS, steps=2), train=9))
    assert found.promotion is not None and found.promotion.trial is not None
    assert found.promotion.trial.statistic == "rewards"
