"""Examples chosen by the vectors of an embedding model race beside those chosen by trigrams: SIMULATED models."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.routing import plan, upstream
from tests.surfaces.vectors import drawn
from tfgrpo.learning.cost import cost
from tfgrpo.learning.plan import Plan
from tfgrpo.learning.result import LearningResult
from tfgrpo.learning.run import carry_out
from tfgrpo.observer import Silent
from tfgrpo.records import ChatBody, Task, message_text
from tfgrpo.report.gather import gather_figures
from tfgrpo.report.page import render_page
from tfgrpo.rollouts.request_vectors import VECTORS_STAGE
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.surfaces.nearest import vector_in
from tfgrpo.testing import Answer, ScriptedModel

SETTINGS = Settings(steps=2, group_size=18, token_prior=False, experiences=False, call_retries=0, concurrency=8)
KINDS = {"bill": "billing", "tech": "technical", "sell": "sales"}
WORDS = ("qwfp", "zxcv", "luyq", "brst", "dhne", "iomk", "vjgt", "pwnb")
"""Texts of which no two share a trigram: by their wording none is near to another."""
MIXED = tuple(Task(f"{word}{place}", list(KINDS.values())[place % 3]) for place, word in enumerate(WORDS * 2))
PLAN = replace(plan(SETTINGS, MIXED), embedding="near")
HELD = tuple(Task(f"{word}-{word}", "billing") for word in WORDS[:4])


def meaning(text: str) -> Sequence[float]:
    """The kind of a text, and which it is, in whatever words."""
    place = next((place for place, task in enumerate(MIXED) if task.input == text), 0)
    return [float(place % 3 == kind) for kind in range(3)] + [0.1 * one for one in drawn(place, 4)]


def copying(body: ChatBody) -> str:
    """Answers as the example shown last does; without one it talks."""
    said = [message_text(message) for message in body["messages"] if message["role"] == "assistant"]
    return said[-1] if said else "The message"


def fake(embed: object = meaning) -> ScriptedModel:
    return ScriptedModel(copying, embed=embed)  # pyrefly: ignore[bad-argument-type]  # a test gives what it gives


async def learned(
    model: ScriptedModel, path: Path, plan: Plan = PLAN, elsewhere: ScriptedModel | None = None
) -> LearningResult:
    with Store(path) as store:
        async with upstream(model, store, plan.settings) as calls:
            if elsewhere is None:
                return await carry_out(plan, store, calls, Silent())
            async with upstream(elsewhere, store, plan.settings) as other:
                other.key = "http://elsewhere/v1"
                return await carry_out(plan, store, calls, Silent(), embedding=other)


def sources(result: LearningResult) -> list[str]:
    return [arm["source"] for arm in result.race[0]["arms"]]


async def test_examples_nearest_by_their_vectors_win_where_wording_tells_nothing(tmp_path: Path) -> None:
    model = fake()
    result = await learned(model, tmp_path / "t.db")
    assert {f"{size} nearest by near" for size in (4, 8)} <= {*sources(result)}
    assert {f"{size} nearest of {len(MIXED)}" for size in (4, 8)} <= {*sources(result)}
    prior = result.candidate or result.prior
    assert prior.embedding == "near"
    assert {len(vector_in(entry.vector)) for entry in prior.demonstrations} == {7}
    for body in model.requests:  # no task is shown its own example
        *before, asked = [message_text(message) for message in body["messages"] if message["role"] == "user"]
        assert asked not in before
    probe, *batches = model.embedded
    assert len(probe) == 1
    assert [len(texts) for texts in batches] == [len(MIXED)], "each training task once, in one call"
    with Store(tmp_path / "t.db") as store:
        page = render_page(gather_figures(store, result.run.id))
        assert store.prior(prior.id) == prior
        assert [entry.vector for entry in store.prior(prior.id).demonstrations] == [
            entry.vector for entry in prior.demonstrations
        ]
    assert "it costs one embeddings call of near for each new text" in page


async def test_a_resumed_run_deals_the_same_arms_and_asks_for_nothing_again(tmp_path: Path) -> None:
    whole = await learned(fake(), tmp_path / "whole.db")
    model, count = fake(), [0]

    def cut(body: ChatBody) -> str | Answer:
        count[0] += 1
        return Answer("gone", status=401) if count[0] > 150 else copying(body)

    model.script = cut
    with pytest.raises(Exception, match="401"):
        await learned(model, tmp_path / "t.db")
    again = fake()
    result = await learned(again, tmp_path / "t.db")
    assert again.embedded == []
    assert result.race == whole.race
    assert (result.candidate or result.prior).id == (whole.candidate or whole.prior).id


async def test_where_calls_in_use_could_not_ask_the_model_none_races_and_it_is_said(tmp_path: Path) -> None:
    result = await learned(fake(), tmp_path / "t.db", elsewhere=fake())
    assert not any("by near" in source for source in sources(result))
    (note,) = [note for note in result.notes if "nearest by near is left out: calls in use ask" in note]
    assert note.endswith("and it is elsewhere; a router of both at one URL lets it race"), "what to do next"


async def test_where_the_model_fails_none_races_also_when_the_run_is_resumed(tmp_path: Path) -> None:
    def once(text: str) -> Sequence[float] | Answer:
        return Answer("busy", status=500) if text in {task.input for task in MIXED} else [1.0]

    result = await learned(fake(once), tmp_path / "t.db")
    assert not any("by near" in source for source in sources(result))
    assert [note for note in result.notes if "nearest by near is left out" in note]


async def test_without_an_embedding_model_none_is_asked(tmp_path: Path) -> None:
    model = fake()
    result = await learned(model, tmp_path / "t.db", plan(SETTINGS, MIXED))
    assert model.embedded == []
    assert not any(" by " in source for source in sources(result))


async def test_the_gate_asks_for_each_of_its_tasks_once_and_the_estimate_counts_them(tmp_path: Path) -> None:
    model, gated = fake(), replace(PLAN, validation=HELD)
    await learned(model, tmp_path / "t.db", gated)
    with Store(tmp_path / "t.db") as store:
        (entry,) = store.runs()
        spent = store.spent_by_stage(entry.run.id)
    assert spent[VECTORS_STAGE].calls == len(HELD)
    assert spent["embedding"].calls == 1
    assert cost(gated).embedding.calls == 1 + 1 + len(HELD), "the probe, the training tasks, those of the gate"
