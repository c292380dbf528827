"""Rollouts under a prior that chooses demonstrations by an embedding model, SIMULATED by a fake upstream."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.routing import upstream
from tests.surfaces.vectors import drawn, embedded
from tfgrpo.errors import BudgetEnded
from tfgrpo.model.budget import Budget, Ceiling
from tfgrpo.records import Backend, Frame, Prior, Rollout, Run, Task
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.rollouts.group import concurrently
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel

POOL = tuple(embedded(f"question {number}", f"answer {number}", drawn(number)) for number in range(6))
PRIOR = Prior(demonstrations=POOL, nearest=2, embedding="near")
TASKS = tuple(Task(text) for text in ("quite another text", "question 4 in other words"))
RUN = Run("learn", "default", Frame("fake"), {}, (), "exact")
HASTY = Settings(call_retries=0, concurrency=8)


def close_to_four(text: str) -> Sequence[float]:
    return drawn(4)


def fake(embed: Callable[[str], Sequence[float] | Answer] = close_to_four) -> ScriptedModel:
    return ScriptedModel(lambda body: "said", embed=embed)


async def rolled(model: ScriptedModel, path: Path, prior: Prior = PRIOR, budget: Budget | None = None) -> list[Rollout]:
    with Store(path) as store:
        run, _ = store.begin(RUN, fresh=False)
        async with upstream(model, store, HASTY, budget) as calls:
            make = ChatExecutor(calls, Frame("fake"), Backend(), run=run.id, stage="rollout", seed=0)
            return await concurrently(make(task, prior, 0, sample) for task in TASKS for sample in range(4))


def shown(rollout: Rollout) -> list[str]:
    return [str(message["content"]) for message in rollout.messages[:-2]]


async def test_a_text_is_asked_for_once_however_many_rollouts_ask_it(tmp_path: Path) -> None:
    model = fake()
    made = await rolled(model, tmp_path / "t.db")
    assert sorted(model.embedded) == sorted([str(task.input)] for task in TASKS)
    assert {tuple(shown(one)[-2:]) for one in made} == {("question 4", "answer 4")}
    assert {len(shown(one)) for one in made} == {4}


async def test_a_resumed_run_asks_for_none_again(tmp_path: Path) -> None:
    first, again = fake(), fake(lambda text: Answer("no more", status=500))
    made = await rolled(first, tmp_path / "t.db")
    assert await rolled(again, tmp_path / "t.db") == made
    assert (again.embedded, again.requests) == ([], [])


async def test_a_task_never_sees_its_own_example(tmp_path: Path) -> None:
    own = replace(POOL[4], task=TASKS[0].id)
    made = await rolled(fake(), tmp_path / "t.db", replace(PRIOR, demonstrations=(*POOL[:4], own, POOL[5])))
    assert ["question 4" in shown(one) for one in made] == [False] * 4 + [True] * 4


@pytest.mark.parametrize("status", [400, 401, 404, 500])
async def test_where_it_fails_trigrams_choose_and_it_is_said_once(
    tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    model = fake(lambda text: Answer("out of order", status=status))
    with caplog.at_level(logging.WARNING):
        made = await rolled(model, tmp_path / "t.db")
    by_trigrams = await rolled(fake(), tmp_path / "u.db", replace(PRIOR, embedding=""))
    assert [shown(one) for one in made] == [shown(one) for one in by_trigrams]
    assert [one.error for one in made] == [None] * 8
    assert len(model.embedded) == len(TASKS)
    assert [record.getMessage() for record in caplog.records if "no embedding by near" in record.getMessage()][1:] == []


async def test_where_it_failed_a_resumed_run_makes_the_same_requests(tmp_path: Path) -> None:
    made = await rolled(fake(lambda text: Answer("out of order", status=500)), tmp_path / "t.db")
    again = fake()
    assert await rolled(again, tmp_path / "t.db") == made
    assert (again.embedded, again.requests) == ([], [])


async def test_it_is_paid_for_as_every_call(tmp_path: Path) -> None:
    model = fake()
    with pytest.raises(BudgetEnded):
        await rolled(model, tmp_path / "t.db", budget=Budget(Ceiling(calls=1)))
    assert len(model.embedded) + len(model.requests) == 1
