"""The benchmark of the token prior: its task sets, and what its tables and limits make of results."""

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from benchmarks.token_prior import best_attempts, with_shots
from benchmarks.token_prior_half import Half, reached, table
from benchmarks.token_prior_sets import SETS, TEST, TRAIN, VALIDATION, SetOfTasks, fresh_parts, graded, parts
from benchmarks.token_prior_table import Result, drift, helped, main_table, missed, step_table
from tfgrpo.records import Group, Rollout, Task
from tfgrpo.token_prior.choice import Choice

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


def test_few_shot_prompting_gets_one_right_rollout_of_each_task_before_the_question() -> None:
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


def test_sets_that_a_token_prior_can_help_are_those_on_which_one_does_whether_it_was_chosen_or_not() -> None:
    idle = [result("idle", seed, {"this one": 0.25, "log-odds": 0.25, "few-shot": 0.9}) for seed in range(3)]
    missed_chance = [
        replace(result("missed chance", seed, {"this one": 0.25, "few-shot": 0.3}), choice=NONE) for seed in range(3)
    ]
    assert helped([result(), *idle, *missed_chance]) == ["one", "missed chance"]
    assert "few-shot is better in the mean over the sets that a token prior can help" not in missed([result(), *idle])
    assert missed(missed_chance)[:2] == [
        f"{arm} is better in the mean over the sets that a token prior can help" for arm in ("log-odds", "few-shot")
    ]


@pytest.mark.parametrize(
    "wanted", [wanted for wanted in HERE if wanted.fresh or not wanted.source], ids=lambda w: w.name
)
def test_what_the_check_measures_was_in_no_part_before(wanted: SetOfTasks) -> None:
    before, *later = parts(wanted), fresh_parts(wanted, 3), fresh_parts(wanted, 4)
    known = {question(task) for part in (before.train, before.validation, before.test) for task in part}
    for found in later:
        assert len(found.train) == TRAIN
        assert len(found.test) == (TEST if wanted.source else 16)
        measured = {question(task) for task in found.test}
        assert not measured & known
        assert not measured & {question(task) for task in found.train}
        assert all(wanted.is_right(Rollout(task, 0, 0, "", text=str(task.answer))) for task in found.test)
    assert later[0].test == later[1].test
    assert {task.id for task in later[0].train} != {task.id for task in later[1].train}


def question(task: Task) -> str:
    return str(task.messages[-1]["content"]).casefold()


def test_a_set_without_tasks_for_the_check_says_so() -> None:
    with pytest.raises(ValueError, match="numbers has no tasks kept for the check"):
        fresh_parts(next(wanted for wanted in SETS if wanted.name == "numbers"), 3)


def test_half_of_the_rollouts_stand_beside_what_all_of_them_taught_before() -> None:
    found = [Half("format", seed, (30.0, 50.0, 80.0 + seed)) for seed in (3, 5)]
    assert table(found)[2] == "| format | 2 | 30.0 | 50.0 | 84.0 | +54.0 | +52.1 |"
    assert reached(found) == pytest.approx((54.0, 52.1))
