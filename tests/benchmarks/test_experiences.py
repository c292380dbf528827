"""The benchmark of experiences, on a fake upstream that does what it is told once an experience tells it."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.conventions import CONVENTIONS
from benchmarks.experiences import figures, table, way
from tfgrpo.model.local import LocalEndpoint
from tfgrpo.records import JSON, ChatBody, message_text
from tfgrpo.settings import Recipe
from tfgrpo.testing import ScriptedModel, serving

ROW: tuple[str, Recipe, int] = ("reviews", "measured", 0)
ANSWERS = {task.prompt: str(task.answer) for task in CONVENTIONS["reviews"].tasks}


def obedient(body: ChatBody) -> str:
    """Talks, unless an experience names a label; as a distiller it names that of the task."""
    said = "\n".join(message_text(message) for message in body["messages"])
    if right := re.search(r"<answer>\n(\w+)\n</answer>", said):
        return json.dumps([{"operation": "ADD", "text": f"When a guest writes so, answer {right[1]}.", "target": ""}])
    if "<notes>" in said:
        return "It named the label."
    if "<proposals>" in said or "<attempts>" in said:
        return "[]"
    return ANSWERS[message_text(body["messages"][-1])] if "answer " in said else "It sounds like you had a day."


@pytest.mark.parametrize("name", ["reviews", "facts"])
def test_answers_are_equally_frequent_and_no_task_is_on_both_sides(name: str) -> None:
    convention = CONVENTIONS[name]
    for part in (convention.training, convention.held_out):
        assert len(set(Counter(task.answer for task in part).values())) == 1
    assert len({task.id for task in convention.tasks}) == len(convention.tasks) == 48


class Measured(NamedTuple):
    """A row of the benchmark, with what it was made of and is kept in."""

    row: dict[str, JSON]
    model: ScriptedModel
    endpoint: LocalEndpoint
    folder: Path


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    """The benchmark of one set, run once for the tests of it."""
    model, folder = ScriptedModel(obedient), tmp_path_factory.mktemp("rows")
    with serving(model.app) as url:
        endpoint = LocalEndpoint(url, "fake")
        yield Measured(asyncio.run(figures(endpoint, *ROW, folder)), model, endpoint, folder)


def test_a_row_tells_what_was_proposed_measured_and_gained(measured: Measured) -> None:
    assert measured.row["evaluation"]["means"] == {"frozen": 0.0, "learned": 1.0}
    assert table([measured.row])[-1].startswith("| reviews | measured | 0 | ")
    told = "\n".join(way(measured.row))
    assert "When a guest writes so, answer PRAISE." in told
    assert "kept: +" in told


async def test_a_benchmark_stopped_while_it_measured_does_not_learn_again(measured: Measured) -> None:
    first, asked = measured.row, len(measured.model.requests)
    again = await figures(measured.endpoint, *ROW, measured.folder)  # its JSON was not written yet
    assert json.loads(json.dumps(again["learning"])) == json.loads(json.dumps(first["learning"]))
    assert (again["calls"], again["kept"], again["experiences"]) == (
        first["calls"],
        first["kept"],
        first["experiences"],
    )
    assert again["evaluation"]["means"] == first["evaluation"]["means"]
    assert len(measured.model.requests) - asked < 150, "the evaluation takes 128 calls, learning 512"
