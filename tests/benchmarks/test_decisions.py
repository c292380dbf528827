"""The benchmark of decisions: what its tasks are, and what its rows come to."""

from benchmarks.decisions import summary
from benchmarks.label_sets import QUESTIONS, label_tasks
from tfgrpo.model.questions import read_question


def test_no_text_teaches_and_is_held_out() -> None:
    for name in QUESTIONS:
        one = label_tasks(name, 1)
        labels = set(read_question(one.question, name).options)
        assert {task.answer for task in one.train} | {task.answer for task in one.held} == labels
        assert not {task.prompt for task in one.train} & {task.prompt for task in one.held}


def test_arms_of_several_rows_are_held_against_each_other_over_texts() -> None:
    row = {"model": "m", "set": "a", "texts": ["one", "two"], "train": 4}
    rows = [
        {**row, "seed": seed, "calls": calls, "arms": arms}
        for seed in (0, 1)
        for calls, arms in (
            ({"offsets": 4}, {"decided": [0.0, 0.0], "offsets": [1.0, 0.0]}),
            ({"token prior": 32}, {"token prior 0": [0.0, 0.0], "frozen 0": [0.0, 0.0]}),
        )
    ]
    first, *differences = summary(rows)
    assert (first["accuracy"]["offsets"], first["calls a task"]["token prior"]) == (50.0, 8.0)
    against = next(one for one in differences if one["difference"] == "offsets - token prior 0")
    assert (against["points"], against["texts"]) == (50.0, 2)
