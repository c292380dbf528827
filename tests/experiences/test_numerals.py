import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.experiences.numerals import SMALL, dated, quantity, sequence, value, values


def test_a_number_is_found_in_any_format() -> None:
    written = [
        ("4,200", 4200),
        ("4.200 exactly", 4200),
        ("4 200", 4200),
        ("4.2e3", 4200),
        ("about 4.2k", 4200),
        ("4.2 thousand", 4200),
        ("4.2 x 10^3", 4200),
        ("1.5 bn", 1.5e9),
        ("7%", 0.07),
        ("3/8", 0.375),
        (".375", 0.375),
        ("0x1068", 4200),
        ("0b101010", 42),
        ("XLII", 42),
        ("MCMXCVIII", 1998),
        ("\u0664\u0662", 42),
        ("forty-two", 42),
        ("Forty Two", 42),
        ("fortytwo", 42),
        ("four thousand and two hundred", 4200),
        ("forty-two hundred", 4200),
        ("two million three hundred thousand and one", 2_300_001),
        ("eighteen twenty-one", 1821),
        ("nineteen hundred", 1900),
        ("seven seven one two zero", 77120),
        ("three eighths", 0.375),
        ("two point five million", 2.5e6),
        ("point three seven five", 0.375),
    ]
    for text, number in written:
        assert number in values(text)
        assert number in values(f"When asked, say {text}.")


@each("text", ["no number here", "two or three of the ten", "often someone tends to wait", "mix, MIXED", "a third"])
def test_words_of_every_day_are_no_numbers(text: str) -> None:
    assert values(text) == frozenset()


@pytest.mark.parametrize(("text", "readings"), [("$4,200", {4200, 4.2}), ("-37 %", {37}), ("4'200", {4200})])
def test_one_number_is_read_without_sign_and_currency(text: str, readings: set[float]) -> None:
    assert value(text) == readings


@each("text", ["", "1998-03-12", "42 km", "14:35", "forty", "+"])
def test_what_is_more_or_less_than_one_number_has_no_value(text: str) -> None:
    assert value(text) == frozenset()


@each(
    ("text", "readings"),
    [
        ("137 km", {137}),
        ("1,200 people", {1200, 1.2}),
        ("XK-4471-QZ", {4471}),
        ("14:35", set()),
        ("in the year 1821", set()),
        ("none", set()),
    ],
)
def test_a_number_with_a_unit_is_a_quantity(text: str, readings: set[float]) -> None:
    assert quantity(text) == readings


@each(
    ("text", "numbers"),
    [
        ("12 March 1998", (12, 3, 1998)),
        ("Dec 24th, 2020", (12, 24, 2020)),
        ("at 2:35 pm", (14, 35)),
        ("at 12:05 p.m.", (12, 5)),
        ("14h35", (14, 35)),
        ("none", ()),
    ],
)
def test_dates_and_times_are_numbers_in_a_row(text: str, numbers: tuple[int, ...]) -> None:
    assert sequence(text) == numbers


@each(
    ("text", "numbers"),
    [
        ("1998-03-12", (1998, 3, 12)),
        ("March 12th, 1998", (3, 12, 1998)),
        ("14:35", (14, 35)),
        ("XK-4471-QZ", ()),
        ("in 1998", ()),
        ("B12", ()),
        ("", ()),
    ],
)
def test_a_date_is_nothing_but_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert dated(text) == numbers


@given(st.integers(SMALL + 1, 10**9))
def test_any_whole_number_is_found_as_it_is_written(number: int) -> None:
    assert number in values(f"it is {number}.") & values(f"it is {number:,}.") & value(str(number))


NUMBER_WORDS = st.sampled_from(
    (
        "nine",
        "nineteen",
        "ninety",
        "hundred",
        "million",
        "point",
        "third",
        "and",
        "-",
        "9",
        ".",
        "/",
        "k",
        "x10^9",
        "1e99",
    )
)


@given(st.lists(NUMBER_WORDS, max_size=80).map(" ".join))
def test_any_run_of_number_words_can_be_read(text: str) -> None:
    assert all(number >= 0 for number in values(text) | quantity(text))


def test_a_number_beyond_all_bounds_is_read_too() -> None:
    assert values("nine " * 500 + "point five")


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    assert all(number >= 0 for number in values(text))
    assert all(number >= 0 for number in sequence(text))
