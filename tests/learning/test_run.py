"""The whole loop on simulated policies with known effects."""

import asyncio
import json
import shutil
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.routing import (
    ADVICE,
    HARM,
    NOISE,
    SMALL,
    TASKS,
    TOPICS,
    WORDS,
    distilling,
    failing_after,
    plan,
    run,
    simulated,
    talkative,
    upstream,
)
from tests.toy import tokenizer
from tfgrpo.cli.lines.learning import learned_lines
from tfgrpo.errors import ModelError, UpstreamError
from tfgrpo.learning.experiences import RESTS_AFTER
from tfgrpo.learning.result import LearningResult
from tfgrpo.learning.run import carry_out
from tfgrpo.model.library import http
from tfgrpo.model.upstream import Upstream
from tfgrpo.observer import Silent
from tfgrpo.records import JSON, ChatBody, Decision, Experience, Frame, RunStatus, Task, Usage, message_text
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, Script, ScriptedModel, SimulatedPolicy
from tfgrpo.text import counted

Wholes: TypeAlias = Callable[[str], tuple[LearningResult, Path]]


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> Wholes:
    """What runs that nothing interrupts come to, by name, with their stores: each is made once."""

    @cache
    def made(name: str) -> tuple[LearningResult, Path]:
        script, settings = RUNS[name]
        path = tmp_path_factory.mktemp("whole") / "t.db"
        return asyncio.run(run(ScriptedModel(script), path, settings)), path

    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> LearningResult:
    """What a run that nothing interrupts comes to, through the real SDK."""
    return asyncio.run(run(simulated(), tmp_path_factory.mktemp("whole") / "t.db", sdk=True))


async def test_a_token_prior_is_learned_stored_and_live(tmp_path: Path) -> None:
    learned = await run(simulated(), tmp_path / "t.db", Settings(steps=3, experiences=False), sdk=True)
    biases = {entry.piece.decode(): entry.bias for entry in learned.prior.biases}
    assert learned.changed
    assert min(biases[label] - biases.get("The", 0.0) for label in ("billing", "technical", "sales")) > 1
    assert learned.steps[-1].mean_reward > learned.steps[0].mean_reward + 0.2
    with Store(tmp_path / "t.db") as store:
        snapshot = store.live("default")
        assert snapshot is not None
        assert (snapshot.prior, snapshot.state, snapshot.frame.system) == (learned.prior, "ungated", "Route it.")
        groups = store.groups(learned.run.id)
        assert [len(group.rollouts) for group in groups] == [8] * len(TASKS) * 3
        assert store.run(learned.run.id).status == "finished"


async def test_every_request_states_its_sampling_and_its_own_seed(tmp_path: Path) -> None:
    model = simulated()
    await run(model, tmp_path / "t.db")
    rollouts = [body for body in model.requests if message_text(body["messages"][0]) == "Route it."]
    assert len(rollouts) == 2 * SMALL.group_size * len(TASKS)
    assert len({body["seed"] for body in rollouts}) == len(rollouts)
    assert {(body["temperature"], body["top_p"], body["top_logprobs"]) for body in rollouts} == {(0.7, 1.0, 20)}


class Disordered(ScriptedModel):
    """Answers in an order of completion of its own."""

    async def _complete(self, body: ChatBody, send: Any) -> None:
        for _ in range(zlib.crc32(json.dumps(body).encode()) % 13):  # differs between requests
            await asyncio.sleep(0)
        await super()._complete(body, send)


async def test_the_order_of_completion_does_not_matter(tmp_path: Path, whole: LearningResult) -> None:
    other = await run(Disordered(SimulatedPolicy(WORDS, talkative)), tmp_path / "other.db")
    assert other.prior.id == whole.prior.id


@pytest.mark.parametrize("calls", [5, 40, 80])
async def test_a_run_that_failed_goes_on_without_repeating_a_call(
    tmp_path: Path, whole: LearningResult, calls: int
) -> None:
    with pytest.raises(UpstreamError, match="401"):
        await run(failing_after(calls, Answer("no", status=401)), tmp_path / "cut.db")
    with Store(tmp_path / "cut.db") as store:
        (entry,) = store.runs()
        assert entry.run.status == "failed"
        committed = store.spent(entry.run.id).calls
        assert committed == calls
    model = simulated()
    resumed = await run(model, tmp_path / "cut.db")
    assert resumed.resumed
    assert resumed.prior.id == whole.prior.id
    assert len(model.requests) == whole.usage.calls - committed


async def test_a_cancelled_run_keeps_its_calls_and_goes_on(tmp_path: Path, whole: LearningResult) -> None:
    reached, policy = asyncio.Event(), SimulatedPolicy(WORDS, talkative)
    model = ScriptedModel(policy)

    def script(body: ChatBody) -> Answer:
        if len(model.requests) > 60:
            reached.set()
        return policy(body)

    model.script = script
    task = asyncio.create_task(run(model, tmp_path / "cut.db"))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with Store(tmp_path / "cut.db") as store:
        assert store.runs()[0].run.status == "interrupted"
        assert store.spent(store.runs()[0].run.id).calls > 0
    assert (await run(simulated(), tmp_path / "cut.db")).prior.id == whole.prior.id


async def test_fresh_starts_anew(tmp_path: Path) -> None:
    with pytest.raises(UpstreamError):
        await run(failing_after(40, Answer("no", status=401)), tmp_path / "t.db")
    learned = await run(simulated(), tmp_path / "t.db", fresh=True)
    assert not learned.resumed
    assert learned.run.attempt == 1


async def test_a_second_run_goes_on_from_the_live_prior(tmp_path: Path) -> None:
    first = await run(simulated(), tmp_path / "t.db", replace(SMALL, steps=1, bias_cap=1.0))
    second = await run(simulated(), tmp_path / "t.db")
    assert second.run.parent == first.prior.id
    assert second.prior.parent == first.prior.id
    assert second.steps[0].mean_reward > first.steps[0].mean_reward
    with Store(tmp_path / "t.db") as store:
        assert [entry.state for entry in store.lineage("default")] == ["ungated", "ungated", "superseded"]


class KilledAtTheEnd(Store):
    """Dies after the new prior went live, before the run is said to be finished."""

    def end(self, run_id: str, status: RunStatus, usage: Usage, result: Mapping[str, JSON]) -> None:
        if status == "finished":
            raise KeyboardInterrupt
        super().end(run_id, status, usage, result)


async def test_a_run_killed_after_its_prior_went_live_is_the_one_that_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), KilledAtTheEnd(tmp_path / "t.db") as store:
        async with upstream(simulated(), store) as calls:
            await carry_out(plan(), store, calls, Silent())
    model = simulated()
    learned = await run(model, tmp_path / "t.db")
    assert learned.resumed
    assert model.requests == []
    with Store(tmp_path / "t.db") as store:
        assert [entry.prior for entry in store.lineage("default")] == [learned.prior.id]


async def test_an_upstream_that_rejects_logit_bias_never_sees_one_again(tmp_path: Path) -> None:
    policy = SimulatedPolicy(WORDS, talkative)

    def script(body: ChatBody) -> Answer:
        if "logit_bias" in body:
            return Answer("logit_bias is not supported", status=400, param="logit_bias")
        return policy(body)

    model = ScriptedModel(script)
    learned = await run(model, tmp_path / "t.db")
    assert not learned.changed
    assert any("does not honour logit_bias (rejected)" in note for note in learned.notes)
    assert sum("logit_bias" in body for body in model.requests) == 1


async def test_logit_bias_rejected_in_mid_run_ends_the_token_prior_and_loses_no_rollout(tmp_path: Path) -> None:
    policy = SimulatedPolicy(WORDS, talkative)

    def script(body: ChatBody) -> Answer:
        if "logit_bias" in body and len(model.requests) > 20:
            return Answer("logit_bias is not supported", status=400, param="logit_bias")
        return policy(body)

    model = ScriptedModel(script)
    learned = await run(model, tmp_path / "t.db")
    assert not learned.changed
    assert any("token prior ends here" in note for note in learned.notes)
    assert [step.failed for step in learned.steps] == [0, 0]


async def test_rollouts_behind_a_token_prior_are_sampled_from_the_whole_policy(tmp_path: Path) -> None:
    model = simulated()
    with Store(tmp_path / "t.db") as store:
        async with upstream(model, store) as calls:
            narrow = replace(plan(), frame=Frame("fake", "Route it.", top_p=0.9))
            learned = await carry_out(narrow, store, calls, Silent())
    assert {body["top_p"] for body in model.requests} == {1.0}
    assert any("top_p 1, not 0.9" in note for note in learned.notes)


async def test_an_upstream_that_fails_throughout_is_one_clear_error(tmp_path: Path) -> None:
    model = failing_after(3, Answer("the model is out of order", status=422))
    with pytest.raises(ModelError, match=r"every rollout of step 1 failed; the first one: .* out of order"):
        await run(model, tmp_path / "t.db")


async def test_a_model_that_takes_no_sampling_parameters_is_sent_none_and_the_diversity_of_groups_is_told(
    tmp_path: Path,
) -> None:
    refused = ("temperature", "top_p", "seed", "logit_bias", "logprobs", "top_logprobs")

    def script(body: ChatBody) -> Answer:
        named = next((name for name in refused if name in body), None)
        return Answer("unsupported", status=400, param=named) if named else Answer("billing")

    learned = await run(ScriptedModel(script), tmp_path / "t.db", replace(SMALL, steps=1))
    assert "no temperature is taken: answers of a group differ by 0% (0%: all alike)" in learned.notes


async def test_at_temperature_zero_no_token_prior_is_learned_and_it_is_said(tmp_path: Path) -> None:
    model = simulated()
    with Store(tmp_path / "t.db") as store:
        async with upstream(model, store) as calls:
            settings = replace(SMALL, stop_hopeless=False)
            greedy = replace(plan(settings), frame=Frame("fake", "Route it.", temperature=0.0))
            learned = await carry_out(greedy, store, calls, Silent())
    assert not learned.changed
    assert any("at temperature 0" in note for note in learned.notes)


async def test_a_run_goes_on_at_another_address(tmp_path: Path) -> None:
    """The embedded model has another port each time that it is started."""
    with pytest.raises(UpstreamError):
        await run(failing_after(40, Answer("no", status=401)), tmp_path / "t.db")
    model = simulated()
    with Store(tmp_path / "t.db") as store:
        transport = http.ASGITransport(app=model.app)
        async with (
            http.AsyncClient(transport=transport) as client,
            Upstream("http://elsewhere:1234/v1", settings=SMALL, journal=store, http_client=client) as calls,
        ):
            learned = await carry_out(plan(), store, calls, Silent())
    assert learned.resumed


def test_what_others_add_after_a_run_began_does_not_change_how_it_goes_on(tmp_path: Path, wholes: Wholes) -> None:
    (whole, _), (script, settings), count = wholes("three experiences"), RUNS["three experiences"], [0]

    def cut(body: ChatBody) -> str | Answer:
        count[0] += 1
        return script(body) if count[0] <= 130 else Answer("no", status=401)

    with pytest.raises(UpstreamError):
        asyncio.run(run(ScriptedModel(cut), tmp_path / "cut.db", settings))
    with Store(tmp_path / "cut.db") as store:
        late = Experience("When it is late, sleep.")
        store.add_experiences("default", [late])
        store.add_decisions("default", [Decision(late.id, "kept", "I like it", by="someone")])
    resumed = asyncio.run(run(ScriptedModel(script), tmp_path / "cut.db", settings))
    assert resumed.prior.id == whole.prior.id


async def test_what_a_person_retires_while_a_run_goes_on_is_not_kept(tmp_path: Path) -> None:
    settings = Settings(steps=4, group_size=8, proposals=3, token_prior=False)
    script, count = distilling({ADVICE: 0.45, HARM: -0.35, NOISE: 0.0}), [0]

    def overseen(body: ChatBody) -> str:
        count[0] += 1
        if count[0] == 300:
            with Store(tmp_path / "t.db") as store:
                store.add_decisions("default", [Decision(Experience(ADVICE).id, "retired", "no", by="ann")])
        return script(body)

    learned = await run(ScriptedModel(overseen), tmp_path / "t.db", settings)
    assert ADVICE not in [experience.text for experience in learned.prior.experiences]
    with Store(tmp_path / "t.db") as store:
        (status,) = [one for one in store.experiences("default") if one.experience.text == ADVICE]
        assert status.decision is not None
        assert (status.decision.verdict, status.decision.by) == ("retired", "ann")


async def test_some_failed_rollouts_are_data(tmp_path: Path) -> None:
    policy = SimulatedPolicy(WORDS, talkative)

    def script(body: ChatBody) -> Answer:
        if int(body["seed"]) % 10 == 0:
            return Answer("content policy", status=422)
        return policy(body)

    learned = await run(ScriptedModel(script), tmp_path / "t.db")
    assert sum(step.failed for step in learned.steps) > 5
    assert all("422" in (step.first_error or "") for step in learned.steps if step.failed)
    assert learned.changed


MEASURED = Settings(steps=4, group_size=8, proposals=3, token_prior=False)


def test_experiences_are_proposed_measured_and_judged(wholes: Wholes) -> None:
    learned, path = wholes("three experiences")
    with Store(path) as store:
        found = {status.experience.text: status for status in store.experiences("default")}
    assert [experience.text for experience in learned.prior.experiences] == [ADVICE]
    fates = {text: status.decision.verdict for text, status in found.items() if status.decision}
    assert fates[ADVICE] == "kept"
    assert fates[HARM] == "retired"
    assert fates[NOISE] != "kept"
    effect = found[ADVICE].effect
    assert effect is not None
    assert abs(effect.mean - 0.45) < 3 * effect.sd
    assert effect.evidence > 100


async def test_only_what_applies_is_shown_measured_and_served(tmp_path: Path) -> None:
    advice = "When an invoice is meant, answer with the label alone."

    def script(body: ChatBody) -> str:
        texts = "\n".join(message_text(message) for message in body["messages"])
        if "<attempts>" in texts:
            proposed = {"operation": "ADD", "text": advice} if "message 0 about" in texts else {"operation": "NONE"}
            return json.dumps([proposed])
        right = next((label for topic, label in TOPICS.items() if topic in texts), "billing")
        return right if body["seed"] % 1000 < (900 if advice in texts else 300) else "The message"

    model = ScriptedModel(script)
    settings = replace(MEASURED, only_what_applies=True, steps=2)
    tasks = (*TASKS, *(Task(f"further {task.prompt}", task.answer) for task in TASKS))
    with Store(tmp_path / "t.db") as store:
        async with upstream(model, store, settings) as calls:
            learned = await carry_out(plan(settings, tasks), store, calls, Silent())
    assert [experience.text for experience in learned.prior.experiences] == [f"[on asks invoice] {advice}"]
    rolled = [body["messages"] for body in model.requests if message_text(body["messages"][0]) == "Route it."]
    shown = [message_text(messages[-1]) for messages in rolled if advice in str(messages)]
    assert shown
    assert {said.partition("\n\n")[0].split()[-1] for said in shown} == {"invoice"}
    (told,) = [note for note in learned.notes if note.startswith("only what applies: ")]
    assert "by 1 of 1 kept experience, and" in told
    with Store(tmp_path / "t.db") as store:
        (status,) = store.experiences("default")
        assert status.effect
        assert status.effect.mean > 2 * status.effect.sd


async def test_a_kept_experience_is_measured_again_over_a_window_of_runs(tmp_path: Path) -> None:
    path, script = tmp_path / "t.db", distilling({ADVICE: 0.45})
    evidence = []
    for number in range(3):
        learned = await run(ScriptedModel(script), path, replace(MEASURED, seed=number, effect_window=1))
        with Store(path) as store:
            (status,) = [one for one in store.experiences("default") if one.experience.text == ADVICE]
            evidence.append(sum(len(group.scored) for group in store.groups(learned.run.id)))
        assert status.decision is not None
        assert status.decision.verdict == "kept"
    assert status.effect is not None
    assert evidence[2] < status.effect.evidence <= evidence[1] + evidence[2], "not those of the first run"
    (told,) = [note for note in learned.notes if note.startswith("kept experiences stay measured")]
    assert f"from {evidence[1] + evidence[2]:,} ({evidence[1]:,} of earlier runs)" in told
    assert "showing 10 points takes about 1,904" in told


def test_a_kept_experience_that_no_longer_helps_is_retired(tmp_path: Path, wholes: Wholes) -> None:
    first, before = wholes("one experience")
    path = Path(shutil.copy(before, tmp_path))
    turned = ScriptedModel(distilling({ADVICE: -0.45}, base=0.7))
    asyncio.run(run(turned, path, replace(MEASURED, seed=1, effect_window=0, kept_exclusion=0.5)))
    assert ADVICE in [experience.text for experience in first.prior.experiences]
    with Store(path) as store:
        (status,) = [one for one in store.experiences("default") if one.experience.text == ADVICE]
    assert status.decision is not None
    assert (status.decision.verdict, status.decision.by) == ("retired", "rule")


@pytest.mark.parametrize(
    "other",
    [Frame("fake", "Route it now."), Frame("fake", "Route it.", temperature=0.2)],
    ids=["system", "temperature"],
)
def test_only_rollouts_under_the_same_frame_count(tmp_path: Path, wholes: Wholes, other: Frame) -> None:
    async def again(store: Store) -> LearningResult:
        async with upstream(ScriptedModel(RUNS["one experience"][0]), store, MEASURED) as calls:
            return await carry_out(replace(plan(MEASURED), frame=other), store, calls, Silent())

    with Store(Path(shutil.copy(wholes("one experience")[1], tmp_path))) as store:
        second = asyncio.run(again(store))
        (status,) = [one for one in store.experiences("default") if one.experience.text == ADVICE]
        assert status.effect is not None
        assert status.effect.evidence <= sum(len(group.scored) for group in store.groups(second.run.id))


@pytest.mark.parametrize(("cap", "shown"), [(1, 0), (10_000, 1)])
async def test_experiences_are_shown_within_their_cap_counted_by_the_models_tokenizer(
    tmp_path: Path, cap: int, shown: int
) -> None:
    asked: list[str] = []

    def encode(text: str) -> list[int]:
        asked.append(text)
        return [0] * len(text)

    settings = replace(MEASURED, steps=2, prior_tokens=cap, demonstrations=False)
    model = ScriptedModel(distilling({ADVICE: 0.0}))
    with Store(tmp_path / "t.db") as store:
        async with upstream(model, store, settings) as calls:
            calls.tokenizer = replace(tokenizer(WORDS), encode=encode)
            await carry_out(plan(settings), store, calls, Silent())
    assert any(ADVICE in text for text in asked)
    rollouts = [body for body in model.requests if "<attempts>" not in str(body) and "<proposals>" not in str(body)]
    assert any(ADVICE in str(body["messages"]) for body in rollouts) == bool(shown)


async def test_tasks_that_teach_nothing_are_visited_less_and_counted(tmp_path: Path) -> None:
    settings = Settings(steps=4, group_size=4, experiences=False, token_prior=False)
    learned = await run(ScriptedModel(lambda _: "billing"), tmp_path / "t.db", settings)
    assert [step.rested for step in learned.steps[:2]] == [0, 0]
    solved, failed = 4, 8  # a third of the messages are for billing
    assert "\nmean reward by step, of the tasks that it visited: " in "\n".join(learned_lines(learned))
    rested = sum(step.rested for step in learned.steps[2:])
    assert rested == failed + 2 * solved, "what is failed rests once in two steps, what is solved for good"
    with Store(tmp_path / "t.db") as store:
        assert len(store.groups(learned.run.id)) == 4 * len(TASKS) - rested


async def test_a_run_with_resting_tasks_is_resumed_as_if_it_had_not_been_cut(tmp_path: Path) -> None:
    settings = Settings(steps=4, group_size=4, proposals=3, token_prior=False)
    script = distilling({ADVICE: 0.55, NOISE: 0.0}, base=0.44)
    whole = await run(ScriptedModel(script), tmp_path / "whole.db", settings)
    assert sum(step.rested for step in whole.steps) > 0
    count = [0]

    def cut(body: ChatBody) -> str | Answer:
        count[0] += 1
        return script(body) if count[0] <= 170 else Answer("no", status=401)

    with pytest.raises(UpstreamError):
        await run(ScriptedModel(cut), tmp_path / "cut.db", settings)
    resumed = await run(ScriptedModel(script), tmp_path / "cut.db", settings)
    assert (resumed.prior.id, resumed.steps) == (whole.prior.id, whole.steps)


async def test_long_answers_earn_less_where_that_is_asked_for(tmp_path: Path) -> None:
    def script(body: ChatBody) -> str:
        return "billing" if body["seed"] % 2 else "answer: " + "well " * 30 + "billing"

    wanted = replace(plan(replace(SMALL, token_prior=False, overlong="20:10")), reward=load_reward("contains"))
    with Store(tmp_path / "t.db") as store:
        async with upstream(ScriptedModel(script), store) as calls:
            learned = await carry_out(wanted, store, calls, Silent())
        rollouts = [rollout for group in store.groups(learned.run.id) for rollout in group.rollouts]
    right = [rollout for rollout in rollouts if rollout.task.answer == "billing"]
    assert {(rollout.text == "billing", rollout.reward) for rollout in right} == {(True, 1.0), (False, 0.0)}


@pytest.mark.parametrize("calls", [20, 130, 250])
def test_a_resumed_run_starts_from_the_experiences_that_it_once_started_from(
    tmp_path: Path, wholes: Wholes, calls: int
) -> None:
    (whole, path), (script, settings), count = wholes("three experiences"), RUNS["three experiences"], [0]

    def cut(body: ChatBody) -> str | Answer:
        count[0] += 1
        return script(body) if count[0] <= calls else Answer("no", status=401)

    with pytest.raises(UpstreamError):
        asyncio.run(run(ScriptedModel(cut), tmp_path / "cut.db", settings))
    resumed = asyncio.run(run(ScriptedModel(script), tmp_path / "cut.db", settings))
    assert (resumed.prior.id, resumed.fates, resumed.steps) == (whole.prior.id, whole.fates, whole.steps)
    with Store(path) as one, Store(tmp_path / "cut.db") as other:
        assert one.experiences("default") == other.experiences("default")


WORSE = "When a message is long, greet its sender warmly before you route it."
SCREENING = replace(MEASURED, steps=2, trial_experiences=1, demonstrations=False)
harmful = distilling({WORSE: -0.75, ADVICE: 0.1}, base=0.8)
"""A SIMULATED policy that a text which is proposed first makes wrong nearly always."""


async def test_a_text_that_does_clearly_worse_at_its_own_tasks_leaves_its_place_to_the_next(tmp_path: Path) -> None:
    learned = await run(ScriptedModel(harmful), tmp_path / "t.db", SCREENING)
    assert "step 1: of 1 text screened, 1 did clearly worse at their own tasks" in learned.notes
    with Store(tmp_path / "t.db") as store:
        found = {one.experience.text: one.decision for one in store.experiences("default") if one.decision}
        shown = {text for group in store.groups(learned.run.id) for one in group.rollouts for text in one.included}
        spent = store.spent_by_stage(learned.run.id)
    assert found[WORSE].verdict == "refused"
    assert found[WORSE].why.startswith("screened: 4 attempts at its own tasks earned 0.")
    assert shown == {Experience(ADVICE).id}
    assert spent["rollout screen"].calls == 4


@pytest.mark.parametrize("calls", [116, 119, 121])
async def test_a_resumed_run_screens_as_it_did(tmp_path: Path, calls: int) -> None:
    whole, count = await run(ScriptedModel(harmful), tmp_path / "whole.db", SCREENING), [0]

    def cut(body: ChatBody) -> str | Answer:
        count[0] += 1
        return harmful(body) if count[0] <= calls else Answer("no", status=401)

    with pytest.raises(UpstreamError):
        await run(ScriptedModel(cut), tmp_path / "cut.db", SCREENING)
    resumed = await run(ScriptedModel(harmful), tmp_path / "cut.db", SCREENING)
    assert (resumed.prior.id, resumed.fates, resumed.steps) == (whole.prior.id, whole.fates, whole.steps)
    assert resumed.usage.calls == whole.usage.calls


def imitating(body: ChatBody) -> str:
    """A model that no advice helps, and examples do, the more the better; its distiller proposes nothing."""
    texts = "\n".join(message_text(message) for message in body["messages"])
    if "<attempts>" in texts:
        return "[]"
    shown = sum(message["role"] == "assistant" for message in body["messages"])
    right = next((label for topic, label in TOPICS.items() if topic in message_text(body["messages"][-1])), "billing")
    return right if body["seed"] % 1000 < 250 + 80 * min(shown, 8) else "The message"


MANY = Settings(steps=2, group_size=8, token_prior=False)
RUNS: Mapping[str, tuple[Script, Settings]] = {
    "one experience": (distilling({ADVICE: 0.45}), MEASURED),
    "three experiences": (distilling({ADVICE: 0.45, HARM: -0.35, NOISE: 0.0}), replace(MEASURED, steps=3)),
    "examples race": (imitating, MANY),
}
"""What answers, and by which settings a run learns from that."""


def test_examples_win_the_race_where_they_help(wholes: Wholes) -> None:
    learned, path = wholes("examples race")
    assert len(learned.prior.demonstrations) >= 8
    assert [arm["source"] for arm in learned.race[-1]["arms"]][-1] in ("frozen", "4 examples, draw 1")
    with Store(path) as store:
        groups, raced = store.groups(learned.run.id), store.variants(learned.run.id)
    assert {rollout.variant for group in groups for rollout in group.rollouts} <= {variant.id for variant, _ in raced}


async def test_no_task_sees_its_own_example(tmp_path: Path) -> None:
    model = ScriptedModel(imitating)
    await run(model, tmp_path / "t.db", replace(MANY, steps=1))
    for body in model.requests:
        turns = [message_text(message) for message in body["messages"]]
        assert turns[-1] not in turns[:-1]


@pytest.mark.parametrize("off", [{"demonstrations": False}, {"race": False}, {"recipe": "paper"}])
async def test_examples_can_be_left_out(tmp_path: Path, off: dict[str, JSON]) -> None:
    model = ScriptedModel(imitating)
    await run(model, tmp_path / "t.db", Settings.for_recipe(off.pop("recipe", "measured"), steps=1, **off))
    rollouts = [body["messages"] for body in model.requests if "<tasks>" not in json.dumps(body["messages"])]
    assert not any(message["role"] == "assistant" for turns in rollouts for message in turns)


@pytest.mark.parametrize("calls", [30, 120, 180])
def test_a_resumed_run_deals_the_same_arms(tmp_path: Path, wholes: Wholes, calls: int) -> None:
    (whole, path), count = wholes("examples race"), [0]

    def cut(body: ChatBody) -> str | Answer:
        count[0] += 1
        return imitating(body) if count[0] <= calls else Answer("no", status=401)

    with pytest.raises(UpstreamError):
        asyncio.run(run(ScriptedModel(cut), tmp_path / "cut.db", MANY))
    resumed = asyncio.run(run(ScriptedModel(imitating), tmp_path / "cut.db", MANY))
    assert (resumed.prior.id, resumed.race) == (whole.prior.id, whole.race)
    with Store(path) as one, Store(tmp_path / "cut.db") as other:
        assert one.variants(whole.run.id) == other.variants(whole.run.id)


@pytest.mark.parametrize("race", [True, False])
def test_a_live_prior_that_no_longer_fits_is_left_out_and_ends_no_run(
    tmp_path: Path, wholes: Wholes, race: bool
) -> None:
    first, path = wholes("examples race")
    assert first.prior.demonstrations
    tight = replace(MANY, steps=1, prior_tokens=3, race=race)
    second = asyncio.run(run(ScriptedModel(imitating), Path(shutil.copy(path, tmp_path)), tight))
    assert any("left out, for they take more than 3 tokens" in note and "live" in note for note in second.notes)


async def test_an_arm_whose_requests_are_all_refused_leaves_at_once_and_it_is_said(tmp_path: Path) -> None:
    def short(body: ChatBody) -> str | Answer:
        long = sum(message["role"] == "assistant" for message in body["messages"]) > 4
        return Answer("the context is too long", status=400) if long else imitating(body)

    learned = await run(ScriptedModel(short), tmp_path / "t.db", MANY)
    assert 0 < len(learned.prior.demonstrations) <= 4 or learned.prior.nearest == 4
    assert "8 examples, draw 1" not in {arm["source"] for arm in learned.race[0]["arms"]}
    (said,) = (note for note in learned.notes if "8 examples, draw 1" in note)
    assert "is left out: all its rollouts failed" in said
    assert "the context is too long" in said


LONG = tuple(replace(task, input=f"{'Dear all, ' * 60}{task.prompt}") for task in TASKS)


@pytest.mark.parametrize("told", [True, False])
async def test_an_arm_that_the_context_has_no_room_for_costs_no_round(tmp_path: Path, told: bool) -> None:
    """A SIMULATED policy behind a context of 1,500 tokens, a token for every three bytes."""
    refused = [0]

    def short(body: ChatBody) -> str | Answer:
        said = "".join(message_text(message) for message in body["messages"])
        if len(said) > 3 * 1_500 and "<" not in said:  # else the distiller is asked
            refused[0] += 1
            return Answer("This model's maximum context length is 1500 tokens", status=400)
        return imitating(body)

    model = ScriptedModel(short, context=1_500 if told else 0)
    with Store(tmp_path / "t.db") as store:
        async with upstream(model, store, MANY) as calls:
            settings = replace(MANY, prior_tokens=4_000)
            learned = await carry_out(plan(settings, LONG), store, calls, Silent())
        groups = store.groups(learned.run.id)
    out = [note for note in learned.notes if " is left out: it" in note]
    assert {note.split(" is ")[0] for note in out} == {
        "race: 8 examples, draw 1",
        "race: 8 examples, draw 2",
        "race: 11 examples, draw 1",
        "race: 11 examples, draw 2",
        "race: 8 nearest of 12",
    }
    assert all(("1,500 tokens of the model's context" if told else "refused as too long") in note for note in out)
    assert refused[0] == (0 if told else len(out))
    assert not any(rollout.error for group in groups for rollout in group.rollouts)
    assert 0 < len(learned.prior.demonstrations) <= 4 or learned.prior.nearest == 4


async def test_answers_that_the_reward_does_not_take_are_no_examples(tmp_path: Path) -> None:
    patterns = tuple(replace(task, answer=f"^{task.answer}$") for task in TASKS)
    model = ScriptedModel(imitating)
    with Store(tmp_path / "t.db") as store:
        async with upstream(model, store, MANY) as calls:
            wanted = replace(plan(replace(MANY, steps=1), patterns), reward=load_reward("regex"))
            learned = await carry_out(wanted, store, calls, Silent())
    assert any("none is shown as an example" in note for note in learned.notes)
    assert learned.race == ()


async def test_labels_take_turns_at_being_distilled(tmp_path: Path) -> None:
    asked: list[str] = []

    def talking(body: ChatBody) -> str:
        said = "".join(message_text(message) for message in body["messages"])
        if "<attempts>" not in said:
            return "The message"
        asked.extend(label for label in TOPICS.values() if f"<answer>\n{label}\n</answer>" in said)
        return "[]"

    few = Settings(
        steps=2, group_size=2, distilled_groups=3, token_prior=False, distiller_retries=0, stop_hopeless=False
    )
    await run(ScriptedModel(talking), tmp_path / "t.db", few)
    assert sorted(asked) == sorted([*TOPICS.values()] * 2)


TEN = [
    {"operation": "ADD", "text": f"When case {number} comes, take way {number}.", "from": ["P1"]}
    for number in range(10)
]
HALF = json.dumps([{"operation": "ADD", "text": ADVICE, "from": ["P1"]}])[:-20]
GERMAN = "Wenn eine Nachricht zugeordnet wird, antworte nur mit dem Wort."


@pytest.mark.parametrize(
    ("answer", "adopted", "why"),
    [
        ("I think it went well.", 0, "0 JSON values"),
        ("我认为这次尝试做得很好。", 0, "0 JSON values"),
        (HALF, 0, "JSON is broken"),
        (json.dumps([{"operation": "UPDATE", "text": ADVICE, "target": "E9"}]), 1, ""),
        (json.dumps([{"operation": "DELETE", "target": "exp_0123456789"}]), 0, ""),
        (json.dumps(TEN), 1, ""),
        (json.dumps([{"operation": "ADD", "text": GERMAN, "from": ["P1"]}]), 1, ""),
        ("very " * 10_000, 0, "50000 characters"),
        (json.dumps([{"operation": "ADD", "text": "very " * 10_000}]), 0, "characters"),
        (Answer(HALF, finish_reason="length"), 0, "cut off"),
        ("", 0, "0 JSON values"),
        (Answer("no", status=422), 0, "422"),
    ],
    ids=[
        "prose",
        "prose in another language",
        "half a JSON",
        "UPDATE of nothing",
        "DELETE of nothing",
        "ten for one",
        "another language",
        "50k characters",
        "50k characters in JSON",
        "cut off",
        "nothing",
        "an error",
    ],
)
async def test_a_distiller_that_answers_badly_costs_no_rollout(
    tmp_path: Path, answer: str | Answer, adopted: int, why: str
) -> None:
    def script(body: ChatBody) -> str | Answer:
        texts = "\n".join(message_text(message) for message in body["messages"])
        return answer if "<attempts>" in texts or "<proposals>" in texts else "billing"

    settings = Settings(steps=1, group_size=2, proposals=1, token_prior=False)
    learned = await run(ScriptedModel(script), tmp_path / "t.db", settings)
    failures = learned.steps[0].undistilled
    assert 0 < len(failures) <= RESTS_AFTER if why else not failures, "then it rests"
    assert all(why in failure for failure in failures)
    assert any(f"{counted(len(failures), 'group')} could not be distilled" in note for note in learned.notes) == bool(
        why
    )
    assert learned.fates == ({"on trial": adopted} if adopted else {})
    with Store(tmp_path / "t.db") as store:
        groups = store.groups(learned.run.id)
        assert store.run(learned.run.id).status == "finished"
    assert [len(group.scored) for group in groups] == [2] * len(TASKS)


async def test_where_logit_bias_is_rejected_labels_are_decided_again_in_learning_too(tmp_path: Path) -> None:
    """From a policy that mostly talks: what is learned makes it say labels, and no request has a bias."""
    others = [f"other{number}" for number in range(100)]
    policy = SimulatedPolicy([*WORDS, *others], lambda prompt: [*talkative(prompt), *(-20.0 for _ in others)])

    def script(body: ChatBody) -> Answer:
        refused = Answer("logit_bias is not supported", status=400, param="logit_bias")
        return refused if "logit_bias" in body else policy(body)

    model = ScriptedModel(script)
    labelled = replace(plan(), frame=Frame("fake", "Route it.", labels=("billing", "technical", "sales")))
    with Store(tmp_path / "t.db") as store:
        async with upstream(model, store) as calls:
            learned = await carry_out(labelled, store, calls, Silent())
        snapshot = store.live("default")
    assert sum("logit_bias" in body for body in model.requests) == 1  # the probe's
    assert {body.get("top_logprobs") for body in model.requests} == {5, 100}, "the probe's, and all that are of use"
    assert any("deciding the label again" in note for note in learned.notes)
    raised = {entry.piece.decode() for entry in learned.prior.biases if entry.bias > 0}
    assert raised <= {"billing", "technical", "sales"}
    assert raised
    assert learned.steps[-1].mean_reward > learned.steps[0].mean_reward + 0.1
    assert snapshot
    assert snapshot.frame.labels == labelled.frame.labels
