"""What commands share: which model is about to leave."""

from datetime import date

from tests.tables import each
from tfgrpo.cli.options.shared import shutdown_notice

TODAY = date(2026, 11, 26)


@each(
    ("day", "words"),
    [
        ("2027-01-14", "leaves https://api.test/v1 on 2027-01-14, in 49 days"),
        ("2026-11-26", "in 0 days"),
        ("2026-11-01", "has left https://api.test/v1 on 2026-11-01"),
        ("2027-02-24", "in 90 days"),
        ("2027-02-25", None),
        ("", None),
    ],
)
def test_a_model_is_told_of_within_ninety_days(day: str, words: str | None) -> None:
    found = shutdown_notice("gpt", "https://api.test/v1", day, TODAY)
    assert words in found if words and found else found is words
    assert found is None or "tfgrpo port" in found
