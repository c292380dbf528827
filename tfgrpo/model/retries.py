"""Which failed calls are worth another try, and after how long. Pure, but for the jitter."""

import email.utils
import random
import time
from collections.abc import Mapping

import openai

from .asking import error_field, what_it_says
from .library import http
from .templates import is_template_error

_FINAL = (http.DecodingError, http.TooManyRedirects, http.UnsupportedProtocol)
"""What an endpoint does, or is asked for, each time alike: an answer that is too large, or that leads elsewhere."""
BUSY = (429, 503)
"""Statuses that say: one call too many."""
_FIRST, _LONGEST = 0.5, 8.0
"""Seconds before the second try, doubled for each further one, up to a longest."""
_MOST_OBEYED = 300.0
"""Seconds of a Retry-After that are waited for; a longer one is taken for this."""


def may_pass(error: openai.APIStatusError) -> bool:
    """Whether a call may succeed when it is made again: not where the quota is spent, nor what cannot be done (501).

    A chat template refuses the same conversation each time.
    """
    status = error.status_code
    if error_field(error, "code") == "insufficient_quota":
        return False
    if status >= 500 and is_template_error(what_it_says(error)):
        return False
    return status in (408, 409, 429) or (status >= 500 and status != 501)


def may_come(error: openai.APIConnectionError) -> bool:
    """Whether an answer that did not come may come when the call is made again."""
    return not isinstance(error.__cause__, _FINAL)


def seconds_until(headers: Mapping[str, str], tried: int) -> float:
    """Seconds to wait after so many tries before this one: what the server names, else a doubling time with jitter."""
    named = _named(headers)
    if named is not None:
        return min(max(0.0, named), _MOST_OBEYED)
    return min(_FIRST * 2.0**tried, _LONGEST) * random.uniform(0.75, 1.0)


def _named(headers: Mapping[str, str]) -> float | None:
    """What `Retry-After` says, in seconds, in any of its forms (RFC 9110, 10.2.3; OpenAI's milliseconds)."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    given = headers.get("retry-after")
    if given is None or (seconds := _number(given)) is not None:
        return None if given is None else seconds
    try:
        return email.utils.parsedate_to_datetime(given).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


def _number(given: str | None) -> float | None:
    try:
        number = float(given or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
