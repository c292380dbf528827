"""The benchmark of relations: on its SIMULATED tasks deduction shows less than everything, and what applies."""

import re

import pytest

from benchmarks.relations import ASKED, WAYS, asked_for_desks, judged, world
from tfgrpo.records import Backend, ChatBody, message_text
from tfgrpo.testing import ScriptedModel


def test_deduction_saves_tokens_and_shows_nothing_that_does_not_apply() -> None:
    of = world(1)
    told = {name: judged(of, way(of)) for name, way in WAYS.items()}
    assert len(of.asked) == ASKED
    tokens, recall, exact, reward = told["deduced, T = 0"]
    assert exact == 1.0
    assert 0.4 < recall < 0.6  # half of the tasks have the word itself
    assert tokens < told["all experiences"][0] / 10
    assert told["deduced, T = 0.05"][1] >= recall
    assert reward > told["all experiences"][3] - 0.1


async def test_a_model_that_reads_only_the_first_line_of_advice_is_right_where_that_applies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def first_desk(body: ChatBody) -> str:
        desks: list[str] = re.findall(r"answer (\w+)\.", message_text(body["messages"][0]))
        return " ".join(desks[:1])

    await asked_for_desks(ScriptedModel(first_desk), "scripted", Backend(), 40)
    told = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    right = {cells[0].strip("| "): int(cells[1].strip("%")) for cells in told}
    assert right["nothing"] == 0
    assert right["deduced, T = 0.05"] >= right["deduced, T = 0"] > right["all experiences"] + 20
