"""The tests' own tables."""

from inspect import signature

import pytest

from tests.tables import each


def test_the_case_that_fails_is_named_and_what_is_in_no_table_is_left_to_fixtures() -> None:
    seen = []

    @each("one, two", [(1, 2), (3, 3)])
    @each("three", "ab")
    def differ(one: int, three: str, two: int, given: str) -> None:
        seen.append(f"{one}{two}{three}{given}")
        assert one != two

    assert [*signature(differ).parameters] == ["given"]
    with pytest.raises(AssertionError) as raised:
        differ(given="c")
    assert seen == ["12ac", "12bc", "33ac"]
    assert raised.value.__notes__[-1] == "case 1 of differ: {'one': 3, 'two': 3}"


def test_a_case_that_does_not_raise_is_named_and_none_skips_the_others() -> None:
    @each("number", [0, 1])
    def raises(number: int) -> None:
        with pytest.raises(ZeroDivisionError):
            assert 1 // number

    with pytest.raises(pytest.fail.Exception) as raised:
        raises()
    assert raised.value.__notes__ == ["case 1 of raises: {'number': 1}"]

    @each("number", [0, 1])
    def skips(number: int) -> None:
        pytest.skip(f"{number}")

    with pytest.raises(AssertionError, match="case 0 of skips would skip all that follow"):
        skips()
