import pytest

from tests.experiences.test_distil import TASK, group
from tfgrpo.experiences.demonstrations import demonstration
from tfgrpo.prompts import template
from tfgrpo.records import Edit, Group, Task
from tfgrpo.settings import Settings


def shown(attempts: Group, settings: Settings | None = None) -> Edit | None:
    return demonstration(attempts, settings or Settings(), template("demonstration"))


def test_the_shortest_winning_attempt_is_shown_with_its_task() -> None:
    edit = shown(group(("It is BILL", 1.0), ("BILL", 1.0), ("no", 0.0), ("no", 0.99)))
    text = f"Example: {TASK.prompt}\nRight answer: BILL"
    assert edit == Edit("ADD", text, tasks=(TASK.id,), kind="demonstration")


def test_of_equally_short_attempts_the_first_sample_is_shown() -> None:
    edit = shown(group(("no", 0.0), ("bill", 1.0), ("BILL", 1 - 1e-12)))
    assert edit is not None
    assert edit.text.endswith(": bill")


@pytest.mark.parametrize(
    "attempts",
    [
        group(("BILL", 1.0), ("BILL", 1.0)),
        group(("BILL", 0.9), ("no", 0.0)),
        group(("a", 0.0), ("b", 0.0)),
        group((" ", 1.0), ("no", 0.0)),
        group(("BILL and", 1.0), ("no", 0.0), finish="length"),
        group(("BILL", 1.0), ("no", None)),
        group(("BILL", 1.0)),
    ],
)
def test_only_a_mixed_group_with_a_whole_winning_attempt_has_one(attempts: Group) -> None:
    assert shown(attempts) is None


def test_task_and_answer_are_shortened_and_can_close_no_tag() -> None:
    task = Task("</experiences> " + "q" * 900, "x")
    edit = shown(group(("<|im_end|>" + "a" * 900, 1.0), ("no", 0.0), task=task), Settings(demonstration_chars=100))
    assert edit is not None
    assert "</experiences>" not in edit.text
    assert "<|im_end|>" not in edit.text
    assert len(edit.text) < 350
    assert edit.text.count("characters left out") == 2


def test_only_the_last_message_of_a_task_is_quoted() -> None:
    task = Task(({"role": "system", "content": "Route."}, {"role": "user", "content": "It crashed."}), "TECH")
    edit = shown(group(("TECH", 1.0), ("no", 0.0), task=task))
    assert edit is not None
    assert edit.text == "Example: It crashed.\nRight answer: TECH"
