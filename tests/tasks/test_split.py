"""Splits: a task stays on its side, no task is on two, and too few are refused."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from tfgrpo.errors import InputError
from tfgrpo.records import Task
from tfgrpo.tasks.read import TaskSet, read_tasks, tasks_of
from tfgrpo.tasks.split import Shares, Sides, Splits, arrange, split
from tfgrpo.text import counted

HUNDREDS = TaskSet(tuple(Task(f"{number} + 1", number + 1) for number in range(400)), "sums.jsonl")


def task_set(source: str, *tasks: Task) -> TaskSet:
    return TaskSet(tasks, source, tuple(f"line {number}" for number, _ in enumerate(tasks, 1)))


def numbered(source: str, start: int, count: int) -> TaskSet:
    return task_set(source, *(Task(f"task {number}", "x") for number in range(start, start + count)))


def given(train: TaskSet, validation: TaskSet, test: TaskSet | None = None) -> Splits:
    """Splits that a person made: the first file holds training tasks only."""
    return arrange(train, validation, test, shares=Shares(test=0.0))


def refusal(work: Callable[[], Splits]) -> str:
    with pytest.raises(InputError) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_task_is_on_one_side_and_the_shares_are_those_wanted() -> None:
    found = split(HUNDREDS)
    sides = (found.train, found.validation, found.test)
    assert sorted(task.id for side in sides for task in side) == sorted(task.id for task in HUNDREDS.tasks)
    assert [len(side) for side in sides] == [200, 120, 80]


LABELLED = TaskSet(tuple(Task(f"message {number}", "abcd"[number % 4]) for number in range(120)), "labels.jsonl")


def moved(before: Splits, after: Splits) -> int:
    """How many tasks are on another side than before."""
    sides = [
        {task.id: side for side in ("train", "validation", "test") for task in getattr(one, side)}
        for one in (before, after)
    ]
    return sum(sides[1][task] != side for task, side in sides[0].items())


@settings(max_examples=25)
@hypothesis_given(st.permutations(range(60)), st.integers(0, 3), st.sampled_from([HUNDREDS, LABELLED]))
def test_the_order_of_a_file_moves_no_task_and_one_more_task_moves_others_at_the_borders_only(
    order: list[int], seed: int, tasks: TaskSet
) -> None:
    before = split(TaskSet(tasks.tasks[:60], "t"), seed=seed)
    assert moved(before, split(TaskSet(tuple(tasks.tasks[place] for place in order), "t"), seed=seed)) == 0
    grown = [split(TaskSet(tasks.tasks[:count], "t"), seed=seed) for count in range(60, 80)]
    assert all(moved(one, another) <= 4 for one, another in pairwise(grown))


@pytest.mark.parametrize("count", [10, 12, 20, 33, 100])
def test_no_file_is_refused_for_its_hashes_and_each_side_has_its_quota(count: int) -> None:
    for seed in range(50):
        found = split(TaskSet(tuple(Task(f"{seed} {number}", number) for number in range(count)), "t"), seed=seed)
        sizes = [len(found.test), len(found.validation)]
        assert sizes == [int(0.2 * count + 0.5), max(5, int(0.3 * count + 0.5))]


def test_each_side_gets_its_share_of_each_answer_where_answers_are_few() -> None:
    for seed in range(20):
        found = split(TaskSet(LABELLED.tasks[:40], "t"), seed=seed)
        for side, each in ((found.train, 5), (found.validation, 3), (found.test, 2)):
            assert sorted(task.answer for task in side) == sorted("abcd" * each)
    uneven = TaskSet(tuple(Task(f"m {n}", "rare" if n < 5 else "usual") for n in range(40)), "t")
    sides = split(uneven)
    rare = [sum(task.answer == "rare" for task in side) for side in (sides.train, sides.validation, sides.test)]
    assert min(rare) >= 1


def test_metadata_does_not_move_a_task_and_another_seed_does() -> None:
    marked = TaskSet(tuple(Task(task.input, task.answer, {"source": "b"}) for task in HUNDREDS.tasks), "t")
    plain, other = split(HUNDREDS), split(HUNDREDS, seed=1)
    assert [task.input for task in split(marked).test] == [task.input for task in plain.test]
    assert other.test != plain.test


def test_tasks_that_ask_the_same_are_on_one_side_whatever_their_answers() -> None:
    twins = TaskSet((*HUNDREDS.tasks, *(Task(task.input, "another") for task in HUNDREDS.tasks)), "t")
    found = split(twins)
    inputs = [{str(task.input) for task in side} for side in (found.train, found.validation, found.test)]
    assert sum(map(len, inputs)) == len(set().union(*inputs)) == 400
    assert [len(side) for side in (found.train, found.validation, found.test)] == [400, 240, 160]


def test_tasks_keep_the_order_of_the_file() -> None:
    places = {task.id: place for place, task in enumerate(HUNDREDS.tasks)}
    for side in (split(HUNDREDS).train, split(HUNDREDS).validation):
        assert [places[task.id] for task in side] == sorted(places[task.id] for task in side)


def test_a_larger_share_for_validation_takes_nothing_from_the_test() -> None:
    more = split(HUNDREDS, Shares(0.5, 0.2))
    assert more.test == split(HUNDREDS).test
    assert set(task.id for task in more.validation) > {task.id for task in split(HUNDREDS).validation}
    assert split(HUNDREDS, Shares(0.5, 0)).test == ()


@pytest.mark.parametrize("shares", [(0.8, 0.2), (1.0, 0.0), (0.3, -0.1), (-0.3, 0.2)])
def test_shares_that_leave_nothing_to_learn_from_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="shares of"):
        Shares(*shares)


def test_a_file_too_small_for_its_sides_is_refused() -> None:
    assert "of its 6 tasks" in refusal(lambda: split(numbered("few.jsonl", 0, 6)))
    message = refusal(lambda: split(numbered("few.jsonl", 0, 6)))
    assert message.endswith(
        "and the gate needs at least 5; add tasks, name a file of them with --validation FILE, or learn without a gate"
        " (--gate none)"
    )
    assert "none of its 3 tasks is left to learn from" in refusal(
        lambda: split(numbered("few.jsonl", 0, 3), Shares(0.98, 0.01))
    )


@pytest.mark.parametrize("count", [0, 1, 4])
def test_given_validation_tasks_must_be_at_least_five(count: int) -> None:
    train, test = numbered("train.jsonl", 0, 9), numbered("test.jsonl", 20, 1)
    message = refusal(lambda: given(train, numbered("val.jsonl", 10, count), test))
    assert f"val.jsonl holds {counted(count, 'task')} for validation, and the gate needs at least 5" in message
    assert "--gate none" in message
    five = numbered("val.jsonl", 10, 5)
    assert given(train, five, test) == Splits(train.tasks, five.tasks, test.tasks)
    assert given(train, five).test == ()


def test_a_task_in_two_files_is_refused_with_both_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.jsonl").write_text('\n{"input": "a", "answer": 1}\n{"input": "b", "answer": 2}\n')
    Path("val.csv").write_text("input,answer\nc,3\ne,4\n")
    lines = ['{"input": "d"}', *['{"input": "d"}'] * 2, '{"input": "b", "answer": 3, "id": "x", "level": "hard"}']
    Path("test.jsonl").write_text("\n".join(lines))
    files = [read_tasks(name) for name in ("train.jsonl", "val.csv", "test.jsonl")]
    message = refusal(lambda: given(*files))
    assert message.startswith("train.jsonl, line 3 and test.jsonl, line 4 hold the same task (b)")


def test_tasks_that_differ_in_metadata_alone_may_stand_together_in_one_file() -> None:
    twins = task_set("train.jsonl", Task("a", 1, {"level": 1}), Task("a", 1, {"level": 2}))
    assert given(twins, numbered("val.jsonl", 0, 5)).train == twins.tasks


def test_tasks_without_places_are_named_by_number() -> None:
    shared = TaskSet((Task("z"), Task("task 3", "x")), "gym")
    assert "gym, task 2 and val.jsonl, line 4" in refusal(lambda: given(shared, numbered("val.jsonl", 0, 5)))


@pytest.mark.parametrize("name", ["validation", "test"])
def test_what_is_given_as_a_file_is_not_taken_from_the_first_one(name: str) -> None:
    file = numbered(f"{name}.jsonl", 1000, 9)
    files = (file, None) if name == "validation" else (None, file)
    found = arrange(HUNDREDS, *files, shares=Shares())
    assert getattr(found, name) == file.tasks
    other = "test" if name == "validation" else "validation"
    whole = split(HUNDREDS, Shares(validation=0.3 * (name == "test"), test=0.2 * (name == "validation")))
    assert (found.train, getattr(found, other)) == (whole.train, getattr(whole, other))


def test_without_a_gate_every_task_teaches_unless_it_is_for_the_test() -> None:
    few = numbered("few.jsonl", 0, 3)
    assert arrange(few, shares=Shares(test=0.0), gated=False) == Splits(few.tasks)
    found = arrange(HUNDREDS, shares=Shares(), gated=False)
    assert (found.validation, found.test) == ((), split(HUNDREDS).test)
    test = numbered("test.jsonl", 20, 2)
    assert arrange(few, test=test, shares=Shares(), gated=False) == Splits(few.tasks, (), test.tasks)
    message = refusal(lambda: arrange(few, numbered("val.jsonl", 10, 9), shares=Shares(), gated=False))
    assert message.startswith("val.jsonl is for the gate, which --gate none leaves out")


def test_sides_are_parts_of_the_tasks_unless_they_are_given() -> None:
    found = tasks_of([{"input": f"question {number}"} for number in range(60)])
    others = [{"input": f"other {number}"} for number in range(6)]
    usual = Sides().splits(found)
    assert usual == split(found)
    assert all((usual.train, usual.validation, usual.test))
    given = Sides(validation=others).splits(found)
    assert (len(given.train), len(given.validation), given.test) == (60, 6, ())
    tested = Sides(test=others).splits(found)
    assert len(tested.test) == 6
    assert len(tested.train) + len(tested.validation) == 60
    assert Sides(gated=False).splits(found) == Splits(found.tasks)
    assert len(Sides(gated=False, test_share=0.5).splits(found).test) == 30
    with pytest.raises(InputError, match=r"^validation, item 1: no input"):
        Sides(validation=[{"x": 1}]).splits(found)
