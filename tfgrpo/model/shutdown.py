"""When a model leaves its API, and what a person should know of that in time. Pure."""

import re
from datetime import date, timedelta

NOTICE_DAYS = 90
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def shutdown_day(told: object) -> str:
    """The day in a model's `shutdown_date`, as ISO 8601; empty where there is none."""
    found = _DATE.match(told) if isinstance(told, str) else None
    try:
        return date.fromisoformat(found[0]).isoformat() if found else ""
    except ValueError:
        return ""


def shutdown_notice(model: str, day: str, today: date) -> str | None:
    """What to tell of a model whose last day is near or past; None where it is far, or not known."""
    if not day:
        return None
    left = date.fromisoformat(day) - today
    if left > timedelta(days=NOTICE_DAYS):
        return None
    when = f"leaves its API on {day}, in {left.days} days" if left.days >= 0 else f"has left its API on {day}"
    return f"{model} {when}; to take its prior to a successor: tfgrpo port NAMESPACE --to MODEL"
