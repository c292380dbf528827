"""The benchmark of bounded context in small, on its SIMULATED model."""

import asyncio
import re

import pytest

from benchmarks.bounded import FAMILIES, is_right, lines_right, made_tasks, simulated
from benchmarks.bounded_gym import GYM
from tfgrpo.records import Rollout, message_text


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


def test_tasks_of_reasoning_gym_ask_in_its_words_and_end_in_its_answer() -> None:
    gym = pytest.importorskip("reasoning_gym", reason="needs the extra gym")
    tasks = made_tasks(12, families=list(GYM), scale=0.5)
    assert {task.metadata["family"] for task in tasks} == {*GYM}
    for task in tasks:
        lines = [str(line) for line in task.metadata["lines"]]
        assert lines_right(Rollout(task, 0, 0, "", text="\n".join(lines))) == 1
        assert is_right(Rollout(task, 0, 0, "", text="\n".join(["so:", *lines])))
        assert not is_right(Rollout(task, 0, 0, "", text="\n".join(lines[:-1])))
    sums = [task for task in tasks if task.metadata["family"] == "chain-sum"]
    for task in sums:
        expression = message_text(task.messages[-1]).partition("problem: ")[2].partition(" =")[0]
        entry = {"answer": str(sum(int(term) for term in re.sub(r"([+-]) ", r"\1", expression).split()))}
        said = str(task.answer).removeprefix("Answer: ")
        assert gym.create_dataset("chain_sum", size=1).score_answer(said, entry) == 1
