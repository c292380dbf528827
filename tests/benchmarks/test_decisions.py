"""The benchmark of decisions: what its tasks are."""

from benchmarks.decisions import SETS, question_of, tasks_of
from tfgrpo.model.questions import read_question


def test_no_text_teaches_and_is_held_out() -> None:
    for name in SETS:
        train, held = tasks_of(name, 1)
        labels = set(read_question(question_of(name), name).options)
        assert {task.answer for task in train} == {task.answer for task in held} == labels
        assert not {str(task.input)[:9] for task in train} & {str(task.input)[:9] for task in held}
