import pytest

from tfgrpo.text import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "task", "0 tasks"),
        (1, "task", "1 task"),
        (1_234, "task", "1,234 tasks"),
        (1, "token bias", "1 token bias"),
        (2, "token bias", "2 token biases"),
        (1, "pass", "1 pass"),
        (2, "pass", "2 passes"),
        (1, "strategy", "1 strategy"),
        (2, "strategy", "2 strategies"),
        (2, "day", "2 days"),
    ],
)
def test_a_noun_follows_its_number(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
