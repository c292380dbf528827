"""The benchmark of bounded context in small, on its SIMULATED model."""

import asyncio

import pytest

from benchmarks.bounded import FAMILIES, is_right, lines_right, made_tasks, simulated
from tfgrpo.records import Rollout


def test_bounded_context_is_right_where_truncation_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(simulated(6))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[2].strip() for line in lines[2:5]] == ["100%", "17%", "100%"]
    assert "bounded less truncated, lines: +83.3 points" in lines[6]
    assert int(lines[4].split("|")[-2]) <= 100 + 256


def test_its_tasks_show_how_they_are_worked_out_and_only_the_whole_of_it_is_right() -> None:
    tasks = made_tasks(12)
    assert {task.metadata["family"] for task in tasks} == {*FAMILIES}
    for task in tasks:
        answer = str(task.answer)
        assert is_right(Rollout(task, 0, 0, "", text=f"so:\n{answer}\n"))
        assert not is_right(Rollout(task, 0, 0, "", text=f"{answer}7"))
        lines = [str(line) for line in task.metadata["lines"]]
        assert lines_right(Rollout(task, 0, 0, "", text="\n".join(["so:", *lines[:-1]]))) == 1 - 1 / len(lines)
        assert len(task.messages) == 5
