"""The benchmark of the token prior: its task sets, and what its tables and limits make of results."""

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from benchmarks.token_prior import best_attempts, with_shots
from benchmarks.token_prior_sets import SETS, TEST, TRAIN, VALIDATION, SetOfTasks, graded, parts
from benchmarks.token_prior_table import Result, drift, helped, main_table, missed, step_table
from tfgrpo.records import Group, Rollout, Task
from tfgrpo.token_choice import Choice

HERE = [wanted for wanted in SETS if not wanted.is_gym or importlib.util.find_spec("reasoning_gym")]
KEPT, NONE = Choice("whole answer", "it gains"), Choice("none", "no gain")


@pytest.mark.parametrize("wanted", HERE, ids=lambda wanted: wanted.name)
def test_no_input_of_a_set_is_in_two_parts_and_each_answer_is_right(wanted: SetOfTasks) -> None:
    divided = parts(wanted)
    assert [len(part) for part in (divided.train, divided.validation, divided.test)] == [TRAIN, VALIDATION, TEST]
    everything = (*divided.train, *divided.validation, *divided.test)
    assert len({str(task.messages[-1]["content"]).casefold() for task in everything}) == len(everything)
    assert all(wanted.is_right(Rollout(task, 0, 0, "", text=str(task.answer))) for task in everything)
    shown = {answer for message in everything[0].messages[:-1] for answer in [message["content"]]}
    assert not shown & {task.messages[-1]["content"] for task in everything}, "no worked example is a task"


def test_a_graded_reward_is_half_for_an_answer_among_other_words() -> None:
    task = Task("?", "yes")
    assert [graded(Rollout(task, 0, 0, "", text=text)) for text in ("Yes.", "yes, it is", "no")] == [1.0, 0.5, 0.0]


def test_few_shot_prompting_gets_one_right_attempt_of_each_task_before_the_question() -> None:
    tasks = [Task(({"role": "user", "content": f"question {number}"},), "yes") for number in range(6)]

    def group(task: Task, rewards: tuple[float, ...]) -> Group:
        return Group(task, 0, tuple(Rollout(task, 0, n, "", text=f" yes {n}", reward=r) for n, r in enumerate(rewards)))

    steps = [[group(task, (0.5, 0.0)) for task in tasks], [group(task, (0.0, 1.0, 1.0)) for task in tasks]]
    shots = best_attempts(steps, 4)
    assert len(set(shots)) == 4
    assert {answer for _, answer in shots} == {"yes 1"}
    said = [message["content"] for message in with_shots(tasks[0], shots[:1]).messages]
    assert said == [*shots[0], "question 0"]


def result(name: str = "one", seed: int = 0, changed: Mapping[str, float] = MappingProxyType({})) -> Result:
    scores = {"frozen": 0.25, "log-odds": 0.5, "few-shot": 0.5, "this one": 0.75, **changed}
    by_task = {arm: [score] * 8 for arm, score in scores.items()}
    steps = [[0.5] * 8, by_task["this one"]]
    return Result(name, seed, by_task, steps, KEPT, [0.2, 0.6], None, [], [])


def test_results_that_reach_everything_miss_nothing() -> None:
    results = [result(), result(seed=1), result("two")]
    assert missed(results) == []
    row = next(line for line in main_table(results) if line.startswith("| one |"))
    assert "| 25.0 | 50.0 | 50.0 | 75.0 | - | 2 of 2 seeds | +50.0 [+50.0, +50.0] |" in row
    assert step_table(results)[2] == "| one | 50.0 | 75.0 | 0.0 |"


def test_each_limit_that_is_missed_is_named() -> None:
    beaten = result(changed={"few-shot": 0.9})
    harmed = result("two", changed={"this one": 0.2})
    assert missed([beaten]) == ["few-shot is better in the mean over the sets that a token prior can help"]
    assert "two: worse than frozen" in missed([harmed])
    assert drift([harmed]) == pytest.approx(30.0)
    assert "the last step is 30.0 points below the best one on average" in missed([harmed])


def test_sets_on_which_no_token_prior_was_kept_are_not_those_that_it_can_help() -> None:
    idle = [replace(result("idle", seed, {"this one": 0.25, "few-shot": 0.9}), choice=NONE) for seed in range(3)]
    assert helped([result(), *idle]) == ["one"]
    assert missed([result(), *idle])[:1] != ["few-shot is better in the mean over the sets that a token prior can help"]
