"""Numbers read back however they are written; which texts give which is in the tables of docs/rewards.md."""

import math
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rollouts.scoring import reward_of
from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.records import JSON
from tfgrpo.rollouts.rewards.numeric import number_of


def value(text: str) -> float | None:
    """The number of a text, where it gives one."""
    found = number_of(text)
    return None if found is None or found.value is None else float(found.value)


@each("text", ["1/0", "1e999", "9" * 400, "2^5000", "9" * 100_000])
def test_what_is_beyond_comparing_equals_nothing(text: str) -> None:
    assert reward_of("numeric", text, 1) == 0
    with pytest.raises(InputError, match="holds no number"):
        reward_of("numeric", text, text)


@each(
    ("answer", "right", "wrong"),
    [
        (72, ["72", "so 6 * 12 = 72.0", "72.00005", "seventy-two"], ["72.001", "-72", "72 or 73", ""]),
        ("It is #### 1,200", ["1200", "$1,200"], ["1,2"]),
        (0, ["0", "-0", "0%"], ["0.0000001"]),
        (-1e9, ["-1,000,000,000", "-1000000100"], ["-1000002000"]),
        ("1/3", ["0.33333334", "2/6"], ["0.333"]),
        ([1, 2], ["1", "2"], ["3"]),
    ],
)
def test_numbers_are_equal_within_a_millionth_or_as_counts(answer: JSON, right: list[str], wrong: list[str]) -> None:
    assert {text: reward_of("numeric", text, answer) for text in right} == dict.fromkeys(right, 1.0)
    assert {text: reward_of("numeric", text, answer) for text in wrong} == dict.fromkeys(wrong, 0.0)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.fractions(max_denominator=10**6))
def test_a_number_is_read_back_however_it_is_written(number: float | Fraction) -> None:
    read = value(f"So x = {number}.")
    assert read is not None
    assert math.isclose(read, float(number), rel_tol=1e-12)


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_thousands_separators_change_nothing(number: int) -> None:
    written = (f"{number:,}", f"{number:_}", f"{number:,}".replace(",", "\u202f"), f"{number:,}".replace(",", "{,}"))
    assert {value(text) for text in written} == {float(number)}


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    number_of(text)


ENDLESS = {
    "combining marks": "a" + "\u0301" * 120_000,
    "digits": "1" * 100_000,
    "numbers": "1 " * 50_000,
    "boxes": r"\boxed{" * 10_000,
    "brackets": "(" * 100_000,
    "cues": "the answer is " * 8_000,
    "spaces": " " * 200_000,
    "money": "$1" * 50_000,
    "JSON": '{"a":' * 20_000,
}


@pytest.mark.parametrize("name", ["exact", "contains", "numeric", "choice"])
def test_no_text_takes_long(name: str) -> None:
    taken = {}
    for kind, text in ENDLESS.items():
        began = time.process_time()
        reward_of(name, text, "5")
        taken[kind] = time.process_time() - began
    # of the processor: 0.1 at most, and minutes where it grows with the square of the length
    assert {kind: seconds for kind, seconds in taken.items() if seconds > 10} == {}
