"""What is known of an upstream without asking it: its key, what it is not sent, when a model leaves it. No I/O."""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from ..records import Backend, Prior

LeftOut: TypeAlias = Literal["rejected", "inert", "other-tokenizer", "other-model", "surface"]
"""Why a request goes without the token prior."""

Way: TypeAlias = Literal["bias", "re-decide", "resample", "verbalise", "none"]
"""How a token prior acts: by `logit_bias`; labels are decided again from log-probabilities; one of several answers is
picked; its strongest tokens are said in words; not at all."""

_ROUTE = re.compile(r"/(?:chat/completions|responses|messages|completions|decisions)$")
_WHOLE = re.compile(r"(?:^|\.)(?:openai\.com|openai\.azure\.com|services\.ai\.azure\.com)$")
"""Hosts whose published schema maps `logit_bias` to whole numbers."""
_PORTS = {"http": 80, "https": 443}


def backend_key(url: str) -> str:
    """The base URL that a request's URL, or a base URL itself, belongs to: no key, no query, one spelling."""
    parts = urlsplit(url)
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{port}{_ROUTE.sub('', parts.path.rstrip('/')).rstrip('/')}"


def takes_only_whole(backend: Backend | None, host: str) -> bool:
    """Whether biases must be whole numbers: as was measured of a backend, else as the schema of its host says."""
    if backend is not None and backend.fractional is not None:
        return not backend.fractional
    return _WHOLE.search(host) is not None


def left_out(prior: Prior, backend: Backend | None) -> LeftOut | None:
    """Why a backend is not sent the token prior, where that is known; None: it is sent."""
    if not prior.biases or backend is None:
        return None
    if backend.logit_bias in ("rejected", "inert"):
        return "rejected" if backend.logit_bias == "rejected" else "inert"
    if backend.tokenizer and prior.tokenizer and backend.tokenizer != prior.tokenizer:
        return "other-tokenizer"
    return None


def way_of(backend: Backend, labels: Sequence[str] = ()) -> Way:
    """How a token prior acts on chat answers there, which are one of the labels, if there are such."""
    if backend.logit_bias == "honoured":
        return "bias"
    refused = backend.logit_bias in ("rejected", "inert")
    return "re-decide" if refused and backend.logprobs and labels else "none"


def ways_open(backend: Backend, n: str = "unknown") -> tuple[Way, ...]:
    """The ways in which a token prior can act, the best first; `n`: whether one call gives several answers."""
    if backend.logit_bias == "honoured":
        return ("bias",)
    found: list[Way] = ["re-decide"] if backend.logprobs else []
    found += ["resample"] if backend.logprobs and n == "honoured" else []
    return (*found, "verbalise")


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
