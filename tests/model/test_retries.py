"""What a server says about when to come again."""

import email.utils
import time

from tests.tables import each
from tfgrpo.model.retries import seconds_until


@each(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "86400"}, 300),
        ({"retry-after": email.utils.formatdate(0)}, 0),
    ],
)
def test_the_time_that_is_named_is_obeyed_up_to_five_minutes(headers: dict[str, str], seconds: float) -> None:
    assert seconds_until(headers, 0) == seconds


def test_a_date_is_a_time_from_now() -> None:
    assert 150 < seconds_until({"retry-after": email.utils.formatdate(time.time() + 250)}, 0) <= 250


@each("said", ["", "soon", "nan", "inf", "-1", f"Mon, 01 Jan {10**20} 00:00:00 GMT"])
def test_what_is_no_time_is_not_obeyed(said: str) -> None:
    for tried, most in enumerate((0.5, 1, 2, 4, 8, 8, 8)):
        assert 0.75 * most <= seconds_until({"retry-after": said}, tried) <= most
