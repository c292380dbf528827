"""A measurement in a store and against an upstream: which tasks and arms, what is written down, and how it goes on."""

import asyncio
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.evaluation.test_arms import EXACT, LEARNED, WORDS, Notes
from tests.inprocess import Server, refusal, upstream
from tfgrpo.errors import BudgetEnded, InputError, UpstreamError
from tfgrpo.evaluation.arms import Evaluation
from tfgrpo.evaluation.held_out import held_out
from tfgrpo.evaluation.measure import Measurement, measure
from tfgrpo.evaluation.written_arm import source_tasks
from tfgrpo.model.budget import Budget, Ceiling
from tfgrpo.probe.backend import probe
from tfgrpo.records import JSON, ChatBody, Experience, Frame, Prior, Run, Task, TokenBias, message_text
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy


def talkative(prompt: str) -> list[float]:
    """Logits that lean towards talking, less so under an experience."""
    return [2.0 - 3.0 * ("one word" in prompt), 1.0, 0.0]


POLICY = SimulatedPolicy(WORDS, talkative)
TASKS = tuple(Task(f"invoice {number}", "billing") for number in range(6))


async def measured(
    path: Path,
    prior: Prior,
    script: Callable[[ChatBody], str | Answer] = POLICY,
    owner: str = "llamacpp",
    observer: Notes | None = None,
    budget: Budget | None = None,
    **more: JSON,
) -> Evaluation:
    wanted = Measurement(TASKS, EXACT, "exact", Frame("fake", "Route it."), prior, repeats=8, **more)
    with Store(path) as store:
        async with upstream(ScriptedModel(script, owner=owner).app, journal=store, budget=budget) as calling:
            return await measure(wanted, store, calling, observer or Notes(), budget=budget)


async def fingerprint() -> str:
    async with upstream(ScriptedModel(POLICY, owner="llamacpp").app) as calling:
        return (await probe(calling, "fake", run="")).tokenizer


async def test_frozen_and_learned_are_measured_and_written_down(tmp_path: Path) -> None:
    found = await measured(tmp_path / "t.db", LEARNED)
    assert found.means["learned"] > found.means["frozen"] + 0.2
    assert found.difference.low > 0
    with Store(tmp_path / "t.db") as store:
        (entry,) = store.runs()
        assert (entry.run.kind, entry.run.status, entry.run.parent) == ("eval", "finished", LEARNED.id)
        assert entry.run.result == found.as_json()
        assert store.spent(entry.run.id).calls == 3 + 2 * 8 * len(TASKS)


async def test_a_token_prior_of_this_tokenizer_is_used(tmp_path: Path) -> None:
    biases = (TokenBias(0, b"The", -4.0, 5.0, 6),)
    observer = Notes()
    found = await measured(tmp_path / "t.db", Prior(biases=biases, tokenizer=await fingerprint()), observer=observer)
    assert found.means["learned"] > found.means["frozen"] + 0.2
    assert observer.notes == []


def rejecting(body: ChatBody) -> Answer:
    return Answer("logit_bias is not supported", status=400) if "logit_bias" in body else POLICY(body)


@pytest.mark.parametrize(
    ("script", "tokenizer", "words"),
    [
        (POLICY, "tokenizer_of_another_model", "belongs to another tokenizer than that of fake, and is left out"),
        (rejecting, None, "left out: fake does not honour logit_bias (rejected)"),
        (lambda body: "", "tokenizer_of_any", "left out: fake could not be seen to honour logit_bias"),
    ],
)
async def test_a_token_prior_that_means_nothing_here_is_left_out_and_said_so(
    tmp_path: Path, script: Callable[[ChatBody], str | Answer], tokenizer: str | None, words: str
) -> None:
    biases, observer = (TokenBias(0, b"The end", -100.0, 5.0, 6),), Notes()
    prior = Prior(LEARNED.experiences, biases, tokenizer or await fingerprint())
    found = await measured(tmp_path / "t.db", prior, script, observer=observer)
    assert found.means == (await measured(tmp_path / "other.db", LEARNED, script)).means
    assert words in "; ".join(observer.notes)
    dropped = "parameter logit_bias was left out: rejected by fake with 400"
    assert (dropped in observer.notes) == (tokenizer is None)


async def test_an_evaluation_that_fails_is_written_down_as_failed(tmp_path: Path) -> None:
    wanted = Measurement(TASKS, EXACT, "exact", Frame("fake"), LEARNED)
    with Store(tmp_path / "t.db") as store:
        async with upstream(Server(refusal(401)), settings=Settings(call_retries=0)) as calling:
            with pytest.raises(UpstreamError):
                await measure(wanted, store, calling, Notes())
        (entry,) = store.runs()
        assert entry.run.status == "failed"
        assert "401" in entry.run.result["error"]


async def test_an_evaluation_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    whole = await measured(tmp_path / "other.db", LEARNED)
    reached, seen = asyncio.Event(), list[ChatBody]()

    def script(body: ChatBody) -> Answer:
        seen.append(body)
        if len(seen) == 40:
            reached.set()
        return POLICY(body)

    begun = asyncio.create_task(measured(tmp_path / "t.db", LEARNED, script))
    await reached.wait()
    begun.cancel()
    with pytest.raises(asyncio.CancelledError):
        await begun
    with Store(tmp_path / "t.db") as store:
        (entry,) = store.runs()
        assert entry.run.status == "interrupted"
        done = store.spent(entry.run.id).calls
    before = len(seen)
    assert (await measured(tmp_path / "t.db", LEARNED, script)).means == whole.means
    assert len(seen) - before == 3 + 2 * 8 * len(TASKS) - done
    assert 0 < done <= before


# The arm that is written without rollouts

SOURCES = tuple(Task(f"letter {number}", "billing") for number in range(4))
WRITTEN = "When a message comes, say one word."


def writing(*texts: str) -> Callable[[ChatBody], str | Answer]:
    """The policy, whose distiller writes these."""

    def script(body: ChatBody) -> str | Answer:
        asked = "\n".join(message_text(message) for message in body["messages"])
        if "<tasks>" not in asked:
            return POLICY(body)
        return json.dumps([{"operation": "ADD", "text": text} for text in texts])

    return script


async def test_three_arms_are_measured_under_the_same_settings(tmp_path: Path) -> None:
    prior = Prior((Experience("Answer with one word."), Experience("When in doubt, ask.")))
    observer = Notes()
    found = await measured(tmp_path / "t.db", prior, writing(WRITTEN), observer=observer, sources=SOURCES)
    assert list(found.means) == ["frozen", "written", "learned"]
    assert found.means["written"] > found.means["frozen"] + 0.2
    assert list(found.differences) == ["learned - frozen", "learned - written", "written - frozen"]
    assert {rollout.included for rollout in found.rollouts["written"]} == {(Experience(WRITTEN).id,)}
    assert observer.notes == []
    with Store(tmp_path / "t.db") as store:
        (entry,) = store.runs()
        assert store.spent_by_stage(entry.run.id)["written"].calls == 1
        assert entry.run.result == found.as_json()


async def test_a_distiller_that_writes_nothing_usable_leaves_two_arms_and_says_so(tmp_path: Path) -> None:
    observer = Notes()
    found = await measured(tmp_path / "t.db", LEARNED, writing(), observer=observer, sources=SOURCES)
    assert list(found.means) == ["frozen", "learned"]
    assert observer.notes == ["the arm `written` is left out: the distiller wrote nothing that may be shown"]


async def test_without_sources_there_is_no_written_arm(tmp_path: Path) -> None:
    assert list((await measured(tmp_path / "t.db", LEARNED, writing(WRITTEN))).means) == ["frozen", "learned"]


# Budgets


async def test_a_budget_that_ends_a_measurement_keeps_its_calls_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    whole = await measured(tmp_path / "whole.db", LEARNED)
    with pytest.raises(BudgetEnded, match="50 calls is used up"):
        await measured(tmp_path / "t.db", LEARNED, budget=Budget(Ceiling(calls=50)))
    with Store(tmp_path / "t.db") as store:
        (entry,) = store.runs()
        assert (entry.run.status, store.spent(entry.run.id).calls) == ("out of budget", 50)
    budget = Budget(Ceiling(calls=500))
    assert (await measured(tmp_path / "t.db", LEARNED, budget=budget)).means == whole.means
    assert budget.spent.calls == 3 + 2 * 8 * len(TASKS)


# Which tasks


def test_what_was_learned_from_is_not_measured_on(tmp_path: Path) -> None:
    with Store(tmp_path / "t.db") as store:
        store.add_tasks(TASKS)
        store.begin(Run("learn", "default", Frame("fake"), {}, tuple(task.id for task in TASKS[:4]), "exact"))
        store.begin(Run("eval", "default", Frame("fake"), {}, tuple(task.id for task in TASKS), "exact"))
        assert held_out(TASKS, store, "default").tasks == TASKS[4:]
        assert held_out(TASKS, store, "other").tasks == TASKS
        with pytest.raises(InputError, match="4 tasks, all used for learning in namespace default"):
            held_out(TASKS[:4], store, "default")


def test_what_the_gate_decided_by_is_not_measured_on(tmp_path: Path) -> None:
    with Store(tmp_path / "t.db") as store:
        store.add_tasks(TASKS)
        run, _ = store.begin(Run("learn", "default", Frame("fake"), {}, (TASKS[0].id,), "exact"))
        store.hold_out(run.id, "validation", [TASKS[1].id])
        left = held_out(TASKS, store, "default")
        assert (left.tasks, left.opened) == (TASKS[2:], {})
        assert left.notes == ("2 tasks left out: used for learning or by the gate",)
        with pytest.raises(InputError, match="or by its gate; give others to eval"):
            held_out(TASKS[:2], store, "default")


async def test_of_a_file_that_was_split_the_test_part_is_measured_and_the_opening_remembered(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with Store(path) as store:
        store.add_tasks(TASKS)
        run, _ = store.begin(Run("learn", "default", Frame("fake"), {}, (TASKS[0].id,), "exact"))
        test = store.hold_out(run.id, "test", [task.id for task in TASKS[1:3]])
        left = held_out(TASKS, store, "default")
        other = held_out((Task("new", "x"),), store, "default")
    assert (left.tasks, left.opened) == (TASKS[1:3], {test: 2})
    assert left.notes == (
        "1 task left out: used for learning or by the gate",
        "3 tasks left out: in no test split",
    )
    assert (other.tasks, other.opened, other.notes) == ((Task("new", "x"),), {}, ())
    first, second = Notes(), Notes()
    await measured(path, LEARNED, observer=first, opened=left.opened)
    await measured(path, LEARNED, observer=second, opened=left.opened, seed=1)
    assert first.notes == [f"measuring 2 tasks of the test split {test}"]
    assert second.notes == [f"measuring 2 tasks of the test split {test}; it was opened 1 time before"]
    with Store(path) as store:
        assert [entry.task_set for entry in store.openings("default")] == [test, test]


def test_a_prior_is_written_against_the_tasks_that_it_was_learned_from(tmp_path: Path) -> None:
    with Store(tmp_path / "t.db") as store:
        store.add_tasks(TASKS)
        store.add_prior(LEARNED)
        run, _ = store.begin(Run("learn", "default", Frame("fake"), {}, (TASKS[2].id, TASKS[0].id), "exact"))
        assert source_tasks(LEARNED, store, "default") == ()
        store.set_state("default", LEARNED.id, "candidate", frame=Frame("fake"), run=run.id)
        assert source_tasks(LEARNED, store, "default") == (TASKS[2], TASKS[0])
        assert source_tasks(LEARNED, store, "other") == ()


async def test_where_all_answers_can_be_listed_what_an_arm_earns_is_known_from_one_call_a_text(tmp_path: Path) -> None:
    short, tasks = Frame("fake", "Route it.", {"max_tokens": 1}), (*TASKS, Task("invoice of last year", "sales"))
    biases = (TokenBias(0, b"The", -4.0, 5.0, 6),)
    prior = Prior(biases=biases, tokenizer=await fingerprint())

    def chance(word: int, bias: float) -> float:
        weights = [math.exp(logit / short.temperature) for logit in (2.0 + bias, 1.0, 0.0)]
        return weights[word] / sum(weights)

    found: dict[str, Evaluation] = {}
    seen = list[ChatBody]()

    def script(body: ChatBody) -> Answer:
        seen.append(body)
        return POLICY(body)

    for way in ("auto", "off"):
        observer, settings = Notes(), Settings(exact_groups=way)
        wanted = Measurement(tasks, EXACT, "exact", short, prior, repeats=40, settings=settings)
        with Store(tmp_path / f"{way}.db") as store:
            async with upstream(ScriptedModel(script, owner="llamacpp").app, journal=store) as calling:
                probed = len(seen)
                found[way] = await measure(wanted, store, calling, observer)
                (entry,) = store.runs()
                calls = store.spent(entry.run.id).calls
        assert calls == 3 + (len(tasks) if way == "auto" else 2 * 40 * len(tasks)), len(seen) - probed
        assert ("exact: 100.0% or more" in "".join(observer.notes)) == (way == "auto")
    for arm, bias in (("frozen", 0.0), ("learned", -4.0)):
        right = [chance(1, bias)] * 6 + [chance(2, bias)]
        assert found["auto"].means[arm] == pytest.approx(sum(right) / 7)
        assert found["off"].means[arm] == pytest.approx(sum(right) / 7, abs=3.5 * (0.25 / (7 * 40)) ** 0.5)
        assert found["auto"].pass_at_k[arm] == pytest.approx(sum(1 - (1 - one) ** 40 for one in right) / 7)
    assert found["auto"].listed == 7
    assert found["off"].listed == 0


async def test_nothing_is_listed_for_a_model_that_takes_no_temperature(tmp_path: Path) -> None:
    """It samples at its own, of which an exact figure at the frame's would tell nothing."""

    def at_one(body: ChatBody) -> Answer:
        if "temperature" in body:
            return Answer("temperature is not supported", status=400, param="temperature")
        return POLICY({**body, "temperature": 1.0})

    short = Frame("fake", "Route it.", {"max_tokens": 1}, temperature=0.1)
    wanted = Measurement((Task("invoice 1", "billing"),), EXACT, "exact", short, LEARNED, repeats=40)
    with Store(tmp_path / "t.db") as store:
        async with upstream(ScriptedModel(at_one, owner="llamacpp").app, journal=store) as calling:
            found = await measure(wanted, store, calling, Notes())
    assert found.listed == 0
    assert 0.1 < found.means["frozen"] < 0.5, "exactly it would be 0.00 at 0.1"


async def test_what_asks_the_same_and_has_another_answer_is_listed_for_itself(tmp_path: Path) -> None:
    short, tasks = (
        Frame("fake", "Route it.", {"max_tokens": 1}),
        (Task("invoice 1", "billing"), Task("invoice 1", "The")),
    )
    wanted = Measurement(tasks, EXACT, "exact", short, LEARNED, repeats=40)
    with Store(tmp_path / "t.db") as store:
        async with upstream(ScriptedModel(POLICY, owner="llamacpp").app, journal=store) as calling:
            found = await measure(wanted, store, calling, Notes())
    sampled = [rollout.reward for rollout in found.rollouts["learned"]]
    assert found.listed == 2
    assert found.means["learned"] == pytest.approx(sum(map(float, filter(None, sampled))) / 80, abs=0.03)


async def test_an_answer_that_cannot_be_listed_is_tried_once_and_an_outage_beside_listed_ones_is_an_outage(
    tmp_path: Path,
) -> None:
    """Under the experience the upstream lists nothing; of the rollouts sampled in its place it loses most."""
    told, counts = "one word", dict[str, int]()

    def script(body: ChatBody) -> Answer:
        if told not in message_text(body["messages"][0]):
            return POLICY(body)
        kind = "listing" if body["temperature"] == 0 else "rollout"
        counts[kind] = counts.get(kind, 0) + 1
        if kind == "listing":
            return Answer("billing", logprobs=None)
        return Answer("busy", status=503) if counts[kind] % 4 else Answer("billing")

    short = Frame("fake", "Route it.", {"max_tokens": 1})
    wanted = Measurement(TASKS, EXACT, "exact", short, LEARNED, repeats=4)
    with Store(tmp_path / "t.db") as store:
        settings = Settings(call_retries=0, concurrency=1)
        async with upstream(ScriptedModel(script, owner="llamacpp").app, journal=store, settings=settings) as calling:
            found = await measure(wanted, store, calling, Notes())
    assert counts == {"listing": len(TASKS), "rollout": 4 * len(TASKS)}
    assert found.failed > 0
    assert found.means["learned"] == 1.0
    assert found.failures == {"frozen": 0, "learned": 0}
    assert found.listed == 0
