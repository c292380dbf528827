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
