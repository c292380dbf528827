"""The same advice in other words, told by an embedding model: what it decides, costs, and does when it fails."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.experiences.test_step_notes import cut
from tests.routing import HARM, TASKS, distilling, plan, upstream
from tfgrpo.errors import UpstreamError
from tfgrpo.experiences.embedding import TEXTS_A_CALL
from tfgrpo.learning.cost import cost
from tfgrpo.learning.plan import Plan, planned_run
from tfgrpo.learning.result import LearningResult
from tfgrpo.learning.run import carry_out
from tfgrpo.model.budget import Budget, Ceiling
from tfgrpo.model.prices import FixedPrice
from tfgrpo.model.upstream import Upstream
from tfgrpo.observer import Silent
from tfgrpo.records import ChatBody, Decision, message_text
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel

FIRST = "When a list may be empty, handle that case first."
AGAIN = "Deal with the empty list before anything else if it can occur."
SETTINGS = Settings(steps=2, group_size=6, proposals=3, token_prior=False, demonstrations=False)
SCRIPT = distilling({FIRST: 0.4, AGAIN: 0.0, HARM: -0.3})
PLAN = replace(plan(SETTINGS), embedding="near")
STEP = 6 * len(TASKS)


def meaning(text: str) -> Sequence[float]:
    """Whether a text speaks of empty lists."""
    return (1.0, 0.1) if "empty" in text else (0.1, 1.0)


def embedding(embed: Callable[[str], Sequence[float] | Answer] = meaning) -> ScriptedModel:
    return ScriptedModel(lambda body: "", embed=embed)


def calling(model: ScriptedModel, store: Store, budget: Budget | None = None) -> AbstractAsyncContextManager[Upstream]:
    return upstream(model, store, replace(SETTINGS, call_retries=0, concurrency=4), budget)


async def run(
    path: Path,
    near: ScriptedModel,
    model: ScriptedModel | None = None,
    plan: Plan = PLAN,
    budget: Budget | None = None,
) -> LearningResult:
    with Store(path) as store:
        async with (
            calling(model or ScriptedModel(SCRIPT), store, budget) as calls,
            calling(near, store, budget) as embedder,
        ):
            return await carry_out(plan, store, calls, Silent(), embedding=embedder, budget=budget)


def decisions(path: Path) -> dict[str, Decision]:
    with Store(path) as store:
        return {status.experience.text: status.decision for status in store.experiences("default") if status.decision}


def refused(path: Path) -> dict[str, str]:
    return {text: decision.why for text, decision in decisions(path).items() if decision.verdict == "refused"}


async def test_a_proposal_that_says_the_same_in_other_words_is_refused(tmp_path: Path) -> None:
    near = embedding()
    learned = await run(tmp_path / "t.db", near)
    with Store(tmp_path / "t.db") as store:
        (first,) = [one.experience for one in store.experiences("default") if one.experience.text == FIRST]
    assert refused(tmp_path / "t.db") == {AGAIN: f"it says what {first.id} says already"}
    assert not [note for note in learned.notes if "wording" in note]
    _, *asked = near.embedded
    assert asked == [[FIRST, AGAIN, HARM]], "each text once, after the probe"


async def test_what_waits_for_words_is_compared_by_its_meaning_too(tmp_path: Path) -> None:
    texts = [
        "When an invoice may be empty, handle that case first.",
        "If the invoice is an empty one: do so before all.",
    ]

    def script(body: ChatBody) -> str:
        asked = "\n".join(message_text(message) for message in body["messages"])
        proposed = [{"operation": "ADD", "text": text} for text in texts if "message 0 about" in asked]
        return json.dumps(proposed or [{"operation": "NONE"}]) if "<attempts>" in asked else str(body["seed"] % 2)

    learning = replace(PLAN, settings=replace(SETTINGS, only_what_applies=True, steps=1, stop_hopeless=False))
    near = embedding()
    await run(tmp_path / "t.db", near, ScriptedModel(script), learning)
    first, again = (f"[on asks invoice] {text}" for text in texts)
    assert near.embedded[1] == [first, again]
    assert list(refused(tmp_path / "t.db")) == [again]


async def test_without_an_embedding_model_wording_alone_decides_and_none_is_asked(tmp_path: Path) -> None:
    near = embedding()
    await run(tmp_path / "t.db", near, plan=plan(SETTINGS))
    assert refused(tmp_path / "t.db") == {}
    assert near.embedded == []


async def test_what_an_earlier_run_left_is_compared_too(tmp_path: Path) -> None:
    await run(tmp_path / "t.db", embedding(), ScriptedModel(distilling({FIRST: 0.4})))
    near = embedding()
    await run(tmp_path / "t.db", near, ScriptedModel(distilling({AGAIN: 0.4})))
    assert AGAIN in refused(tmp_path / "t.db")
    assert near.embedded[1] == [FIRST, AGAIN]


async def test_many_texts_go_in_calls_of_bounded_size(tmp_path: Path) -> None:
    texts = {
        f"When the message has code {'abcdefgh'[n % 8] * 3}{'qrstuvwx'[n // 8] * 3}, stop.": 0.0 for n in range(40)
    }
    settings = replace(SETTINGS, steps=1, proposals=40, trial_experiences=60)
    near = embedding(lambda text: (1.0, float(sum(map(ord, text)) % 97)))
    await run(tmp_path / "t.db", near, ScriptedModel(distilling(texts)), replace(PLAN, settings=settings))
    assert [len(asked) for asked in near.embedded] == [1, TEXTS_A_CALL, len(texts) - TEXTS_A_CALL]


# Before the first rollout


@pytest.mark.parametrize(
    ("near", "words"),
    [
        (ScriptedModel(lambda body: ""), "fake gave no embeddings"),
        (embedding(lambda text: Answer("no such model", status=404)), "answered 404: no such model"),
        (embedding(lambda text: Answer("start it with --embeddings", status=501)), "answered 501: start it with"),
        (embedding(lambda text: Answer("", status=401)), "answered 401"),
        (embedding(lambda text: ()), "gave no embeddings"),
    ],
    ids=["no route", "no model", "not built in", "no key", "empty"],
)
async def test_a_server_without_embeddings_is_one_clear_line_before_any_rollout(
    tmp_path: Path, near: ScriptedModel, words: str
) -> None:
    model = ScriptedModel(SCRIPT)
    with pytest.raises(UpstreamError) as caught:
        await run(tmp_path / "t.db", near, model)
    assert str(caught.value).startswith("no embeddings by near: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all("max_tokens" in body for body in model.requests), "only the upstream was probed"
    assert len(near.embedded) <= 1, "at once"


# Failures during a run


def failing_after(calls: int, status: int = 500) -> ScriptedModel:
    """Embeddings until so many calls were made."""
    near = embedding()

    def embed(text: str) -> Sequence[float] | Answer:
        return meaning(text) if len(near.embedded) <= calls else Answer("broken", status=status)

    near.embed = embed
    return near


@pytest.mark.parametrize("status", [400, 401, 500])
async def test_where_a_call_fails_wording_decides_and_the_run_says_so(tmp_path: Path, status: int) -> None:
    near, model = failing_after(1, status), ScriptedModel(SCRIPT)
    learned = await run(tmp_path / "t.db", near, model)
    assert refused(tmp_path / "t.db") == {}
    notes = [note for note in learned.notes if "wording alone" in note]
    assert notes[0].startswith(f"step 1: proposals were compared by their wording alone: fake answered {status}")
    with Store(tmp_path / "t.db") as store:
        assert all(rollout.error is None for group in store.groups(learned.run.id) for rollout in group.rollouts)
        assert sum(len(group.rollouts) for group in store.groups(learned.run.id)) == 2 * STEP


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> LearningResult:
    """What a run comes to that nothing interrupts."""
    return asyncio.run(run(tmp_path_factory.mktemp("whole") / "t.db", embedding()))


@pytest.mark.parametrize("calls", [10, STEP + 20, STEP + 45, 2 * STEP + 10])
async def test_a_resumed_run_replays_vectors_and_ends_as_if_it_had_not_been_cut(
    tmp_path: Path, whole: LearningResult, calls: int
) -> None:
    first = embedding()
    with pytest.raises(UpstreamError):
        await run(tmp_path / "cut.db", first, cut(SCRIPT, calls))
    second = embedding()
    resumed = await run(tmp_path / "cut.db", second)
    assert resumed.resumed
    assert (resumed.prior.id, resumed.fates) == (whole.prior.id, whole.fates)
    asked = [texts for near in (first, second) for texts in near.embedded]
    assert len(asked) == len({tuple(texts) for texts in asked}), "none twice"


async def test_what_wording_decided_stands_when_the_run_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(UpstreamError):
        await run(tmp_path / "t.db", failing_after(1), cut(SCRIPT, 2 * STEP))
    near = embedding()
    resumed = await run(tmp_path / "t.db", near)
    assert resumed.resumed
    assert any(note.startswith("step 1: proposals were compared by their wording") for note in resumed.notes)
    assert AGAIN not in refused(tmp_path / "t.db")


# What it is part of


def test_the_model_and_the_threshold_are_part_of_what_decides_a_run() -> None:
    runs = [plan(SETTINGS), PLAN, replace(PLAN, embedding="other")]
    runs.append(replace(PLAN, settings=replace(SETTINGS, embedding_near=0.7)))
    assert len({planned_run(each, None).id for each in runs}) == len(runs)


async def test_calls_are_counted_under_the_models_own_name(tmp_path: Path) -> None:
    asked: list[str] = []

    def price(model: str, usage: object) -> float:
        asked.append(model)
        return 0.0

    budget = Budget(Ceiling(calls=10_000), price)
    near = embedding()
    learned = await run(tmp_path / "t.db", near, budget=budget)
    with Store(tmp_path / "t.db") as store:
        spent = store.spent_by_stage(learned.run.id)
    assert spent["embedding probe"].calls + spent["embedding"].calls == len(near.embedded) == asked.count("near") - 1
    assert spent["embedding"].prompt_tokens == sum(len(text.split()) for text in (FIRST, AGAIN, HARM))
    assert budget.spent.calls == learned.usage.calls


async def test_a_resumed_run_counts_what_embeddings_cost_by_their_own_model(tmp_path: Path) -> None:
    def price(model: str, usage: object) -> float:
        return 1.0 if model == "near" else 0.0

    with pytest.raises(UpstreamError):
        await run(tmp_path / "t.db", embedding(), cut(SCRIPT, 2 * STEP))
    budget = Budget(Ceiling(calls=10_000), price)
    await run(tmp_path / "t.db", embedding(), budget=budget)
    assert budget.spent.usd == 2.0, "one price a stage"


def test_the_estimate_tells_what_embeddings_cost() -> None:
    without, found = cost(plan(SETTINGS), FixedPrice(1, 1)), cost(PLAN, FixedPrice(1, 1))
    assert (without.embedding.calls, found.embedding.calls) == (0, 1 + 2 * 2), "36 texts a step"
    assert found.total.calls == without.total.calls + 5
    assert without.usd is not None
    assert found.usd is not None
    assert found.usd > without.usd
    assert found.as_json(PLAN, 1)["calls"]["embedding"] == 5
    assert "embedding" not in without.as_json(plan(SETTINGS), 1)["calls"]
