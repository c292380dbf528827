"""The last number of a text, however it is written."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rollouts.scoring import reward_of
from tfgrpo.errors import InputError
from tfgrpo.records import JSON
from tfgrpo.rollouts.rewards.numbers import last_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 42.", 42),
        ("First 3, then 5", 5),
        ("1,234,567.50 dollars", 1234567.5),
        ("CHF 1'234", 1234),
        ("12\u202f345 km", 12345),
        ("1, 2, 3", 3),
        ("1,2,3", 3),
        ("-7", -7),
        ("\u22127", -7),
        ("+7", 7),
        ("x=-3", -3),
        ("5-3", 3),
        ("pages 10-12", 12),
        ("-$1,000", -1000),
        ("€5", 5),
        (".5", 0.5),
        ("-.5", -0.5),
        ("1.5e3", 1500),
        ("2E-3", 0.002),
        ("3/4", 0.75),
        ("-3 / 4", -0.75),
        ("1,000/8", 125),
        ("50%", 50),
        ("5kg", 5),
        ("答案是5", 5),
        ("٣", 3),
        ("H2O has 3 atoms", 3),
        ("3 atoms in H2O", 3),
        ("v1.2.3", None),
        ("7 in version 1.2.3", 1.2),
        ("none", None),
        ("", None),
    ],
)
def test_the_last_number_of_a_text(text: str, number: float | None) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize("text", ["1/0", "1e999", "9" * 400])
def test_what_no_float_holds_equals_nothing(text: str) -> None:
    assert reward_of("numeric", text, 1) == 0
    with pytest.raises(InputError, match="holds no number"):
        reward_of("numeric", text, text)


@pytest.mark.parametrize(
    ("answer", "right", "wrong"),
    [
        (72, ["72", "so 6 * 12 = 72.0", "72.00005"], ["72.001", "-72", "72 or 73", "seventy-two", ""]),
        ("It is #### 1,200", ["1200", "$1,200"], ["1,2"]),
        (0, ["0", "-0", "0%"], ["0.0000001"]),
        (-1e9, ["-1,000,000,000", "-1000000100"], ["-1000002000"]),
        ("1/3", ["0.33333334", "2/6"], ["0.333"]),
        ([1, 2], ["1", "2"], ["3"]),
    ],
)
def test_numeric_compares_the_last_numbers(answer: JSON, right: list[str], wrong: list[str]) -> None:
    assert {text: reward_of("numeric", text, answer) for text in right} == dict.fromkeys(right, 1.0)
    assert {text: reward_of("numeric", text, answer) for text in wrong} == dict.fromkeys(wrong, 0.0)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.fractions(max_denominator=10**6))
def test_a_number_is_read_back_however_it_is_written(number: float | Fraction) -> None:
    read = last_number(f"So x = {number}.")
    assert read is not None
    assert math.isclose(read, float(number), rel_tol=1e-12)


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_thousands_separators_change_nothing(number: int) -> None:
    assert last_number(f"{number:,}") == number
