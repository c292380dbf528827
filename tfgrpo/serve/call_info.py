"""What a call came to: the prior that it had, or why it had none. `info` tells it of any response of an SDK.

A response says it in headers; what headers cannot say is kept in memory for the latest calls, by the id that each call
is given. A parsed response has no headers: it is found by its `_request_id`, which the SDKs take from the upstream's
request id, and where the upstream gives none, from the call's own id. What an SDK makes of a stream has neither: it is
found by the id that the stream itself gives.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ..errors import InputError
from ..records import Demonstration, Experience, Prior
from ..surfaces.decided import OFFSETS_HEADER
from ..surfaces.http import NO_PRIOR, PRIOR_HEADER, REASON_HEADER, TOKEN_PRIOR_HEADER, WAY_HEADER
from ..surfaces.redecided import REDECIDED_HEADER
from ..surfaces.resampled import RESAMPLED_HEADER
from .forks import renewed_in_children

VARIANT_HEADER = "x-tfgrpo-variant"
"""Of a response: what state the prior was in: live, ungated, canary."""
INFERENCE_HEADER = "x-tfgrpo-inference-id"
"""Of a response: the id of the call, by which feedback names it."""
REQUEST_IDS = ("x-request-id", "request-id")
"""Headers that SDKs take a response's `_request_id` from: openai's, anthropic's."""

KEPT = 10_000
"""Calls that are remembered."""


@dataclass(frozen=True, slots=True)
class Info:
    """What one call came to."""

    inference: str | None = None
    """The call's id, which feedback names; None where nothing is known of the call."""
    prior: str | None = None
    """Id of the prior that it had; None: it had none."""
    variant: str | None = None
    """The state that the prior was in: live, ungated, canary."""
    namespace: str | None = None
    reason: str | None = None
    """Why it had no prior: `route`, `disabled`, `no live prior`, `refused`, ...; `unknown`: no call of ours."""
    token_prior: str | None = None
    """Why the token prior was left out, if it was."""
    given: Prior | None = field(default=None, repr=False)
    """What went in, of a call that this process made; a proxy tells only which prior it was."""
    offsets: int = 0
    """Answers of a decision that the prior's offsets were applied to."""
    way: str | None = None
    """How the token prior acted: `bias`, `re-decide`, `none`; None: there is no token prior, or no prior at all."""
    redecided: str | None = None
    """Of a label that was decided again: `changed`, `kept`, or why it could not be; None: there was none."""
    resampled: str | None = None
    """How many answers were paid for, of which the prior's biases picked one; None: no more than were asked for."""

    @property
    def experiences(self) -> tuple[Experience, ...]:
        """Those that it was shown, in order."""
        return self.given.experiences if self.given else ()

    @property
    def demonstrations(self) -> tuple[Demonstration, ...]:
        """Those that it was shown, or the pool that they were chosen from."""
        return self.given.demonstrations if self.given else ()

    @property
    def biases(self) -> Mapping[str, float]:
        """The biases that were added, by token id."""
        return self.given.logit_bias if self.given else {}


UNKNOWN = Info(reason="unknown")


class _Ids(Random):
    """Draws ids; no secrets, so that the system need not be asked for each, which takes several times as long."""

    def renew(self) -> None:
        """In a forked child: others than the parent's."""
        self.seed()


_ids = _Ids()
renewed_in_children(_ids)


def new_inference() -> str:
    """An id for a call."""
    return f"inf_{_ids.getrandbits(128):032x}"


class _Latest:
    """The latest calls, by the ids that responses may be known by."""

    def __init__(self) -> None:
        self._known: dict[str, Info] = {}
        self._order: deque[str] = deque()

    def keep(self, info: Info, *ids: str | None) -> None:
        """Remember a call, the latest of an id; threads may do so at once, and the oldest is forgotten."""
        for one in filter(None, ids):
            if one not in self._known:
                self._order.append(one)
            self._known[one] = info
        while len(self._order) > KEPT:
            self._known.pop(self._order.popleft(), None)

    def find(self, named: str | None) -> Info | None:
        """The call of an id."""
        return self._known.get(named) if named else None


latest = _Latest()
"""The latest calls of this process."""


def info(response: object) -> Info:
    """What a call came to: of a parsed, raw or streaming response of an SDK, of an HTTP response, or of a call's id.

    What `stream()` of an SDK gives is known while it is open, the completion that it ends with by its own id.
    """
    if isinstance(response, str):
        return latest.find(response) or UNKNOWN
    headers = _headers(response)
    if headers is not None:
        return latest.find(headers.get(INFERENCE_HEADER)) or told_by(headers)
    ids = (getattr(response, name, None) for name in ("_request_id", "id"))
    return next(filter(None, (latest.find(one) for one in ids if isinstance(one, str))), UNKNOWN)


def inference_of(given: object) -> str:
    """The id that feedback names a call by; InputError where the call is not known."""
    if isinstance(given, str) and given.strip():
        return given.strip()
    found = info(given)
    if not found.inference:
        raise InputError(
            "feedback: nothing is known of this response; give one that a client of tfgrpo returned not long ago, or"
            " the id in tfgrpo.info(response).inference"
        )
    return found.inference


def _headers(response: object) -> Mapping[str, str] | None:
    """The headers of a raw or HTTP response, or of the response behind a stream."""
    for one in (response, getattr(response, "response", None), getattr(response, "_response", None)):
        headers = getattr(one, "headers", None)
        if isinstance(headers, Mapping):
            return headers
    return None


def told_by(headers: Mapping[str, str]) -> Info:
    """What the headers of a response tell."""
    if PRIOR_HEADER not in headers:
        return UNKNOWN
    prior = headers[PRIOR_HEADER]
    had = prior != NO_PRIOR
    return Info(
        headers.get(INFERENCE_HEADER),
        prior if had else None,
        headers.get(VARIANT_HEADER) if had else None,
        reason=None if had else headers.get(REASON_HEADER),
        token_prior=headers.get(TOKEN_PRIOR_HEADER),
        way=headers.get(WAY_HEADER) if had else None,
        **rewriting_told(headers),
    )


def rewriting_told(headers: Mapping[str, str]) -> dict[str, Any]:
    """What headers tell of how a response was rewritten, as fields of an Info."""
    moved = headers.get(OFFSETS_HEADER, "")[:9]
    return {
        "offsets": int(moved) if moved.isdecimal() else 0,
        "redecided": headers.get(REDECIDED_HEADER),
        "resampled": headers.get(RESAMPLED_HEADER),
    }
