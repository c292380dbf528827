"""The benchmark of experiences, on a fake upstream that does what it is told once an experience tells it."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.conventions import CONVENTIONS
from benchmarks.experiences import figures, table, way
from tfgrpo.model.local import LocalEndpoint
from tfgrpo.records import ChatBody, message_text
from tfgrpo.testing import ScriptedModel, serving

ANSWERS = {task.prompt: str(task.answer) for task in CONVENTIONS["reviews"].tasks}


def obedient(body: ChatBody) -> str:
    """Talks, unless an experience names a label; as a distiller it names that of the task."""
    said = "\n".join(message_text(message) for message in body["messages"])
    if right := re.search(r"<answer>\n(\w+)\n</answer>", said):
        return json.dumps([{"operation": "ADD", "text": f"When a guest writes so, answer {right[1]}.", "target": ""}])
    if "<proposals>" in said or "<attempts>" in said:
        return "[]"
    return ANSWERS[message_text(body["messages"][-1])] if "answer " in said else "It sounds like you had a day."


@pytest.mark.parametrize("name", ["reviews", "facts"])
def test_answers_are_equally_frequent_and_no_task_is_on_both_sides(name: str) -> None:
    convention = CONVENTIONS[name]
    for part in (convention.training, convention.held_out):
        assert len(set(Counter(task.answer for task in part).values())) == 1
    assert len({task.id for task in convention.tasks}) == len(convention.tasks) == 48


async def test_a_row_tells_what_was_proposed_measured_and_gained(tmp_path: Path) -> None:
    with serving(ScriptedModel(obedient).app) as url:
        row = await figures(LocalEndpoint(url, "fake"), "reviews", "measured", 0, tmp_path)
    assert row["evaluation"]["means"] == {"frozen": 0.0, "learned": 1.0}
    assert table([row])[-1].startswith("| reviews | measured | 0 | ")
    told = "\n".join(way(row))
    assert "When a guest writes so, answer PRAISE." in told
    assert "kept: +" in told


async def test_a_benchmark_stopped_while_it_measured_does_not_learn_again(tmp_path: Path) -> None:
    model = ScriptedModel(obedient)
    with serving(model.app) as url:
        first = await figures(LocalEndpoint(url, "fake"), "reviews", "measured", 0, tmp_path)
        asked = len(model.requests)
        again = await figures(
            LocalEndpoint(url, "fake"), "reviews", "measured", 0, tmp_path
        )  # its JSON was not written yet
    assert json.loads(json.dumps(again["learning"])) == json.loads(json.dumps(first["learning"]))
    assert (again["calls"], again["kept"], again["experiences"]) == (
        first["calls"],
        first["kept"],
        first["experiences"],
    )
    assert again["evaluation"]["means"] == first["evaluation"]["means"]
    assert len(model.requests) - asked < 150, "the evaluation takes 128 calls, learning 512"
