"""Calls in use and feedback on their way to a collector (`tfgrpo collect`), for whoever has no store of its own.

Both go in batches of JSON by `POST URL/tfgrpo/v1/calls`. A call that is sent twice is kept once, by its id; of feedback
the latest counts. A batch that could not be taken now is sent again, a little later each time.
"""

import json
import random
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from http.client import HTTPException
from typing import TypeVar

from ..errors import InputError, StoreError
from ..records import JSON
from ..store import Feedback, Inference
from ..store.database import RefusedRow
from .feedback_labels import LONGEST_LABEL, is_label
from .pulled import request_to, server_of, without_secrets_in

T = TypeVar("T", Inference, Feedback)

CALLS_PATH = "/tfgrpo/v1/calls"
MOST_CALLS = 1_000
"""In one batch."""
MOST_BATCH_BYTES = 2**25
_BATCH_BYTES = 2**23
"""Of what is sent at once, about."""
_SECONDS = 10.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0
_LATER, _NEVER = (408, 425, 429), (400, 403, 413, 422)
"""Statuses of a batch that may be taken later, and of one that never will be."""
_TAKES_NONE = "; calls and feedback are taken by `tfgrpo collect`, and by a `tfgrpo serve` that records (--record)"
_KEY = "; set TFGRPO_API_KEY to a key of it"
_HELP: Mapping[int, str] = {401: _KEY, 403: _KEY, 404: _TAKES_NONE, 405: _TAKES_NONE}


class Collector:
    """A `tfgrpo collect` somewhere else."""

    def __init__(self, url: str) -> None:
        """Raises InputError for what is no URL."""
        if not url.startswith(("http://", "https://")):
            raise InputError(
                f"{without_secrets_in(url)!r} is no URL to report to; one looks like http://collector:8000"
            )
        self._url = server_of(url) + CALLS_PATH
        self.name = without_secrets_in(self._url)

    def send(self, calls: Sequence[Inference], feedback: Sequence[Feedback], goes_on: Callable[[float], bool]) -> None:
        """Send them until they are taken; `goes_on` waits so many seconds, and says whether to try again.

        Raises StoreError where that is over, and RefusedRow for what the collector will never take.
        """
        for batch in _batches(calls, feedback):
            wait = _FIRST_WAIT
            while (why := self._refused(batch)) is not None:
                if not goes_on(wait * random.uniform(0.6, 1.0)):
                    raise StoreError(why)
                wait = min(2 * wait, _LONGEST_WAIT)

    def _refused(self, batch: bytes) -> str | None:
        """Why a batch was not taken now; raises StoreError where it never will be."""
        try:
            with urllib.request.urlopen(request_to(self._url, content=batch), timeout=_SECONDS) as response:
                response.read()
            return None
        except urllib.error.HTTPError as error:
            with error:
                told = f"{self.name} answered {error.code}"
            if error.code in _LATER or error.code >= 500:
                return told
            kind = RefusedRow if error.code in _NEVER else StoreError
            raise kind(f"{told}{_HELP.get(error.code, '')}") from None
        except ValueError as error:
            raise StoreError(f"{self.name} cannot be asked: {error}") from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            return f"{self.name} cannot be reached: {getattr(reason, 'strerror', None) or type(reason).__name__}"


def trying_for(seconds: float, over: Callable[[], bool] = lambda: False) -> Callable[[float], bool]:
    """Waits as `Collector.send` asks for it, for so many seconds in all, unless it is over before."""
    until = time.monotonic() + seconds

    def goes_on(wait: float) -> bool:
        again = min(time.monotonic() + wait, until)
        while time.monotonic() < again and not over():
            time.sleep(0.05)
        return time.monotonic() < until and not over()

    return goes_on


def _batches(calls: Sequence[Inference], feedback: Sequence[Feedback]) -> Iterator[bytes]:
    """Bodies of requests, none of them much longer than it should be; calls come before what is said of them."""
    rows = [*(("calls", row_of(one)) for one in calls), *(("feedback", row_of(one)) for one in feedback)]
    batch: dict[str, list[Mapping[str, JSON]]] = {"calls": [], "feedback": []}
    size = 0
    for kind, row in rows:
        more = len(json.dumps(row, ensure_ascii=True))
        if size and (size + more > _BATCH_BYTES or sum(map(len, batch.values())) >= MOST_CALLS):
            yield json.dumps(batch).encode()
            batch, size = {"calls": [], "feedback": []}, 0
        batch[kind].append(row)
        size += more
    yield json.dumps(batch).encode()


def row_of(one: Inference | Feedback) -> dict[str, JSON]:
    """A call or a piece of feedback as it is sent."""
    unsent = _NUMBERED[type(one)]
    return {name: value for name, value in asdict(one).items() if name != unsent and value not in (None, "")}


def read_row(kind: type[T], given: JSON) -> T:
    """The call or the feedback that was sent; raises InputError, naming the field that is wrong."""
    if not isinstance(given, dict):
        raise InputError("it is no object")
    row = {**_LACKING[kind], **given}
    known = {field.name for field in fields(kind)} - {_NUMBERED[kind]}
    if unknown := sorted(set(row) - known):
        raise InputError(f"it has no field {unknown[0][:60]!r}")
    for name in sorted(known & set(_FITS)):
        fits, told = _FITS[name]
        if not fits(row.get(name)):
            raise InputError(f"{name} must be {told}")
    return kind(**row)


_NUMBERED: Mapping[type, str] = {Inference: "number", Feedback: "id"}
"""Fields that the store gives."""
_LACKING: Mapping[type, Mapping[str, JSON]] = {
    Inference: {"prior": None, "model": ""},
    Feedback: {"prior": None, "reward": None},
}
"""What was not sent for being empty."""


def _is_name(value: JSON) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200


def _is_number(value: JSON) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9


def _is_draw(value: JSON) -> bool:
    """As `drawing` makes them: what is read from them decides what is served."""
    if not isinstance(value, dict):
        return False
    named = all(isinstance(value.get(name), str | None) for name in ("arm", "of", "canary", "key"))
    return named and _is_share(value.get("p", 1)) and ("left_out" not in value or _is_left_out(value))


def _is_left_out(draw: Mapping[str, JSON]) -> bool:
    left, chance = draw["left_out"], draw.get("p_left_out", 0)
    return isinstance(left, list) and all(isinstance(one, str) for one in left) and _is_share(chance) and chance > 0


def _is_share(value: JSON) -> bool:
    return _is_number(value) and value <= 1


def _is_time(value: JSON) -> bool:
    """Times are compared as texts."""
    try:
        return isinstance(value, str) and bool(_TIME.fullmatch(value)) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)")
_NAME = (_is_name, "a text of at most 200 characters")
_TEXT = (lambda value: isinstance(value, str | None), "a text")
_NUMBER = (lambda value: value is None or _is_number(value), "a number")
_FITS: Mapping[str, tuple[Callable[[JSON], bool], str]] = {
    **dict.fromkeys(("id", "inference", "namespace", "variant", "surface"), _NAME),
    **dict.fromkeys(("prior", "model", "request", "response", "comment", "shadow_of"), _TEXT),
    "status": (lambda value: _is_number(value) and value == int(value), "a whole number"),
    "seconds": (_is_number, "a number"),
    "added": _NUMBER,
    "reward": (lambda value: value is None or (_is_number(value) and value <= 1), "a number from 0 to 1"),
    "draw": (lambda value: value is None or _is_draw(value), "what was drawn, with its probabilities"),
    "at": (lambda value: not value or _is_time(value), "a time such as 2026-11-26T12:00:00.000Z"),
    "label": (
        lambda value: value is None or is_label(value, 2 * LONGEST_LABEL),
        f"an answer of at most {LONGEST_LABEL:,} characters",
    ),
}
