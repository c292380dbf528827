"""A model that is about to leave its API is told of, and no other."""

from datetime import date

import pytest

from tfgrpo.model.shutdown import shutdown_day, shutdown_notice

TODAY = date(2026, 11, 26)


@pytest.mark.parametrize(
    ("day", "words"),
    [
        ("2027-01-14", "leaves its API on 2027-01-14, in 49 days"),
        ("2026-11-26", "in 0 days"),
        ("2026-11-01", "has left its API on 2026-11-01"),
        ("2027-02-24", "in 90 days"),
        ("2027-02-25", None),
        ("", None),
    ],
)
def test_a_model_is_told_of_within_ninety_days(day: str, words: str | None) -> None:
    found = shutdown_notice("gpt", day, TODAY)
    assert words in found if words and found else found is words
    assert found is None or "tfgrpo port" in found


def test_only_a_date_is_one() -> None:
    told = ["2027-01-14", "2027-01-14T00:00:00Z", "soon", "2027-13-01", None, 3]
    assert [shutdown_day(one) for one in told] == ["2027-01-14", "2027-01-14", "", "", "", ""]
