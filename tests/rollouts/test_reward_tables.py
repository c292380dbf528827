"""What docs/rewards.md says passes and does not: every row of its tables is run."""

import asyncio
import importlib.util

import pytest

from tests.rollouts.tables import answer_of, tables
from tfgrpo.errors import InputError
from tfgrpo.records import Rollout, Task
from tfgrpo.rollouts.rewards.built_in import check, load_reward
from tfgrpo.rollouts.rewards.reward import Reward, score

TABLES = tables()
QUICK = ("exact", "exact-strict", "contains", "regex", "numeric", "choice", "json-equal", "json-schema")


async def verdicts(name: str, rows: list[list[str]]) -> dict[tuple[str, str], tuple[str, str]]:
    """For each row the verdict that it states, and that of the reward, where they differ."""
    reward: Reward = load_reward(name)
    tasks = [Task("the question", answer_of(row[0])) for row in rows]
    check(reward, tasks)
    rollouts = [Rollout(task, 0, 0, "", text=row[1]) for task, row in zip(tasks, rows, strict=True)]
    scored = [await score(reward, rollout) for rollout in rollouts]
    given = [one.error or {1.0: "yes"}.get(one.reward or 0.0, "no") for one in scored]
    return {(row[0], row[1]): (row[2], one) for row, one in zip(rows, given, strict=True) if row[2] != one}


@pytest.mark.parametrize("name", QUICK)
def test_every_row_of_a_table_is_as_it_says(name: str) -> None:
    assert asyncio.run(verdicts(name, [row for row in TABLES[name] if len(row) == 3])) == {}


@pytest.mark.skipif(importlib.util.find_spec("math_verify") is None, reason="needs the extra `math`")
def test_every_formula_of_the_table_is_as_it_says() -> None:
    assert asyncio.run(verdicts("math", TABLES["math"])) == {}


def test_every_program_of_the_table_is_as_it_says() -> None:
    assert asyncio.run(verdicts("code", TABLES["code"])) == {}


def test_an_answer_that_is_no_single_number_is_refused() -> None:
    refused = [row[0] for row in TABLES["numeric"] if len(row) == 1]
    assert len(refused) >= 30
    for answer in refused:
        with pytest.raises(InputError, match="cannot be scored by reward numeric"):
            check(load_reward("numeric"), [Task("the question", answer_of(answer))])


def test_there_are_cases_enough() -> None:
    assert sum(len(rows) for rows in TABLES.values()) >= 900
