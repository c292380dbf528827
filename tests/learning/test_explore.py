"""An environment is explored without any reward, by the SIMULATED model of the benchmark; what is kept predicts it."""

import asyncio

import pytest

from benchmarks.early import compared, simulated
from benchmarks.early_worlds import tasks_of_room
from tfgrpo.errors import InputError
from tfgrpo.learning.explore import dealt_parts
from tfgrpo.records import Backend
from tfgrpo.settings import Settings
from tfgrpo.testing import ScriptedModel


def test_what_is_kept_predicts_what_was_held_out_and_helps_where_no_reward_was_seen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, arms = ScriptedModel(simulated), ("what is kept", "its transitions", "ungrounded")
    tasks, settings = tasks_of_room(24), Settings(group_size=4)
    found = asyncio.run(compared(model, "simulated", Backend(), tasks, settings, only=arms))
    assert found.together
    assert found.together.low > 0
    assert 0 < len(found.kept) <= len(found.texts)
    assert 0 < len(found.kept_actions) <= len(found.actions) == len(found.effects) - len(found.texts)
    assert found.as_json()["transitions"] == len(found.explored.transitions)
    told = capsys.readouterr().out
    assert "together, on transitions that chose none of them: +" in told
    rows = {
        line.split("|")[1].strip(): line.split("|")[5].strip() for line in told.splitlines() if line.startswith("|")
    }
    assert rows["ungrounded"].startswith("+0.0")
    assert rows["what is kept"] > "+1"
    assert rows["its transitions"] > "+1"


def test_too_few_tasks_are_said_and_the_parts_have_nothing_in_common() -> None:
    with pytest.raises(InputError, match="11 tasks to explore from; there must be at least 12"):
        dealt_parts(tasks_of_room(11), 0)
    parts = dealt_parts(tasks_of_room(20), 0)
    assert [len(part) for part in parts] == [6, 9, 5]
    assert len({task.id for part in parts for task in part}) == 20
