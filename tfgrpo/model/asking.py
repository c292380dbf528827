"""A request asked anew, with less, until the upstream takes it: what its refusals say, and what it was seen to take.

What a refusal names counts as rejected only when the request passes without it: a refusal of something else may quote
the whole request. Then everything is as it was, and one call has failed. No I/O.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import openai

from ..records import JSON, ChatBody
from .library import http
from .posts import PostedAnswer

OPTIONAL = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repeat_penalty",
    "repetition_penalty",
    "seed",
    "logit_bias",
    "top_logprobs",
    "logprobs",
    "return_tokens_as_token_ids",
    "max_tokens",
    "response_format",
)
"""Parameters that a request can do without when an upstream rejects them."""
OUR_SCHEMA = "tfgrpo_changes"
"""Name of the JSON schema that the distiller's answers are to be held to: a wish, where a user's own is a demand."""

RENAMED = {"max_tokens": "max_completion_tokens"}
"""Parameters that are sent under another name where they are rejected."""
_IMPLIED = {"logprobs": ("top_logprobs",)}
_SAID_OF_OURS = re.compile(r"schema|grammar|structured|guided", re.IGNORECASE)
"""Words by which a refusal of a schema is known."""
_TOO_LONG = re.compile(r"context[ _](length|size|window)", re.IGNORECASE)
"""A refusal of the whole request, though its words may name max_tokens."""


def dispensable(body: ChatBody) -> tuple[str, ...]:
    """The parameters of a body that it can do without: a response_format only where it is ours."""
    return tuple(name for name in OPTIONAL if name in body and (name != "response_format" or _is_ours(body[name])))


def _is_ours(response_format: JSON) -> bool:
    schema = response_format.get("json_schema") if isinstance(response_format, dict) else None
    return isinstance(schema, dict) and schema.get("name") == OUR_SCHEMA


def without_parameters(body: ChatBody, dropped: Mapping[str, str]) -> dict[str, JSON]:
    """The body less what the upstream rejects; a limit that has another name there is renamed."""
    gone = {*dropped, *(implied for name in dropped for implied in _IMPLIED.get(name, ()))}
    kept = {name: value for name, value in body.items() if name not in gone}
    for old, new in RENAMED.items():
        if old in dropped and old in body:
            kept.setdefault(new, body[old])
    return kept


def rejected_parameter(error: openai.APIStatusError, sent: ChatBody) -> str | None:
    """The optional parameter that a 400 or 422 is about: the one that it names as `param`, else first in its words."""
    candidates = dispensable(sent)
    if error.status_code not in (400, 422) or not candidates:
        return None
    named = error_field(error, "param")
    words = named if isinstance(named, str) and named else what_it_says(error)
    if _TOO_LONG.search(words):
        return None
    if found := re.search(rf"\b({'|'.join(candidates)})\b", words):
        return found[1]
    return "response_format" if "response_format" in candidates and _SAID_OF_OURS.search(words) else None


def what_it_says(error: openai.APIStatusError) -> str:
    """What the server says of its refusal; all that it sent where no field is for that."""
    message = error_field(error, "message")
    return message if isinstance(message, str) and message else error.response.text


def error_field(error: openai.APIStatusError, name: str) -> JSON:
    """One field of the error object that the server sent; None where there is none."""
    return error.body.get(name) if isinstance(error.body, Mapping) else None


_LIMIT = re.compile(
    r"(?:<=|less than or equal to|at most|no (?:more|greater) than|not exceed|up to|between \d+ and"
    r"|max(?:imum)?[\w ]{0,30}[:=]?)\s*(\d+)",
    re.IGNORECASE,
)
_WHOLE = re.compile(r"\b(?:integers?|int|int32|int64|i32|i64|whole number)\b", re.IGNORECASE)
_TOGETHER = re.compile(r"temperature\W.*top_p|top_p\W.*temperature", re.IGNORECASE | re.DOTALL)
_ONE_OF_BOTH = re.compile(r"\b(?:both|together|one of|only one|mutually|simultaneously|either)\b", re.IGNORECASE)
_ALTERNATIVES, _DECIMALS, _STREAM = "top_logprobs at most ", "logit_bias in whole numbers", "stream: false"
"""Under these names, beside those of parameters, it is written down how else a request was changed."""


class Adapted:
    """What an upstream was seen to take, for all requests to it: kept together with how that was seen."""

    def __init__(self) -> None:
        self.dropped: dict[str, str] = {}
        """Parameters that it rejects, and how that was seen; they are left out of further requests."""
        self.changed: dict[str, str] = {}
        """What else is changed in requests, and how it was seen that this is needed."""

    @property
    def whole(self) -> bool:
        """Biases are sent as whole numbers alone."""
        return _DECIMALS in self.changed

    def learn(self, seen: Mapping[str, str]) -> None:
        """Take over what was seen in another call, maybe in a run before."""
        for name, why in seen.items():
            known = self.changed if _is_change(name) else self.dropped
            known.setdefault(name, why)

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Nothing that is seen meanwhile is held against later requests."""
        known = [(seen, dict(seen)) for seen in (self.dropped, self.changed)]
        try:
            yield
        finally:
            for seen, before in known:
                seen.clear()
                seen.update(before)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence each, for people."""
        gone = [
            f"parameter {name} is sent as {RENAMED[name]}: {why}"
            if name in RENAMED
            else f"parameter {name} was left out: {why}"
            for name, why in sorted(self.dropped.items())
        ]
        return (*gone, *(f"requests were changed ({name}): {why}" for name, why in sorted(self.changed.items())))


def _is_change(name: str) -> bool:
    return name in (_DECIMALS, _STREAM) or name.startswith(_ALTERNATIVES)


class Asking:
    """One request, and how it is changed until it is taken."""

    def __init__(self, body: ChatBody, adapted: Adapted, host: str) -> None:
        self._body, self._adapted, self._host = body, adapted, host
        self._sent: dict[str, JSON] = {}
        self._tried: dict[str, str] = {}
        self._guessed: list[str] = []
        """Of those, parameters that a refusal spoke of, and did not name as its `param`."""
        self._first: openai.APIStatusError | None = None
        self._kept: tuple[http.Response | PostedAnswer, dict[str, str]] | None = None
        """An answer that was had with more left out than may be needed, and what that was."""

    @property
    def lacking(self) -> dict[str, str]:
        """What of this body is left out or changed, and why."""
        known = {name: why for name, why in self._adapted.dropped.items() if name in dispensable(self._body)}
        changes = {name: why for name, why in self._adapted.changed.items() if _applies(name, self._body)}
        return {**known, **changes, **self._tried}

    def next(self) -> dict[str, JSON]:
        """The body as it is to be sent now."""
        self._sent = self._changed()
        return self._sent

    def _changed(self) -> dict[str, JSON]:
        lacking = self.lacking
        body = without_parameters(self._body, {name: why for name, why in lacking.items() if not _is_change(name)})
        limits = [int(name.removeprefix(_ALTERNATIVES)) for name in lacking if name.startswith(_ALTERNATIVES)]
        if limits and "top_logprobs" in body:
            body["top_logprobs"] = min(body["top_logprobs"], *limits)
        if _DECIMALS in lacking and "logit_bias" in body:
            body["logit_bias"] = {token: round(bias) for token, bias in body["logit_bias"].items()}
        return {**body, "stream": False} if _STREAM in lacking else body

    def heed(self, error: openai.APIStatusError) -> bool:
        """Leave out or change what a refusal is about; False: there is nothing to be done about it."""
        self._first = self._first or error
        name = _change_for(error, self._sent) or rejected_parameter(error, self._sent)
        if name is None or self._kept is not None:
            return False
        if not _is_change(name) and not error_field(error, "param"):
            self._guessed.append(name)
        self._tried[name] = f"rejected by {self._host} with {error.status_code}"
        return True

    def streamed(self, response: http.Response | PostedAnswer) -> bool:
        """Whether the answer is a stream that nobody asked for, so that the request is to say so."""
        if _STREAM in self.lacking or not response.headers.get("content-type", "").startswith("text/event-stream"):
            return False
        self._tried[_STREAM] = f"{self._host} streams unless it is told not to"
        return True

    def overdone(self, response: http.Response | PostedAnswer) -> bool:
        """Whether more was left out than may be needed: of several guesses the last one made the request pass."""
        if self._kept is not None or len(self._guessed) < 2:
            return False
        self._kept = response, self._tried
        self._tried = {name: why for name, why in self._tried.items() if name not in self._guessed[:-1]}
        return True

    def kept(self) -> http.Response | PostedAnswer | None:
        """Where a request is refused in the end, the answer that it had with more left out, if it had one."""
        if self._kept is None:
            return None
        response, self._tried = self._kept
        return response

    def reason(self, error: openai.APIStatusError) -> openai.APIStatusError:
        """Of refusals of one request the first is right: the last one is of what was left of it."""
        return self._first if self._first and error.status_code in (400, 422) else error

    def settled(self) -> Mapping[str, str]:
        """The request was taken: what is lacking from it holds from now on; for the journal."""
        self._adapted.learn(self._tried)
        return self.lacking


def _applies(name: str, body: ChatBody) -> bool:
    field = "top_logprobs" if name.startswith(_ALTERNATIVES) else "logit_bias" if name == _DECIMALS else None
    return field is None or field in body


def _change_for(error: openai.APIStatusError, sent: ChatBody) -> str | None:
    """How a request can be changed so that it keeps its sense: a lower limit, whole numbers, one of two parameters."""
    if error.status_code not in (400, 422):
        return None
    words, named = what_it_says(error), str(error_field(error, "param") or "")
    told = f"{named} {words}"
    most = sent.get("top_logprobs")
    if isinstance(most, int) and "logprobs" in told and (limit := _limit(words, most)):
        return f"{_ALTERNATIVES}{limit}"
    if "logit_bias" in told and _WHOLE.search(words) and _has_fractions(sent.get("logit_bias")):
        return _DECIMALS
    if "top_p" in sent and "temperature" in sent and _TOGETHER.search(words) and _ONE_OF_BOTH.search(words):
        return "top_p"
    return None


def _limit(words: str, asked: int) -> int | None:
    """The largest number below the one asked for that is named as a limit."""
    named = [int(number) for number in _LIMIT.findall(words)]
    fitting = [number for number in named if 0 < number < asked]
    return max(fitting, default=None)


def _has_fractions(biases: JSON) -> bool:
    return isinstance(biases, Mapping) and any(not math.isclose(bias, round(bias)) for bias in biases.values())


def error_within(response: http.Response | PostedAnswer) -> openai.APIStatusError | None:
    """The error that a server answers with under status 200, as it would have come under a status of its own."""
    if response.status_code != 200 or '"error"' not in (text := response.text):
        return None
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        return None
    told = payload.get("error") if isinstance(payload, Mapping) else None
    if not told or not isinstance(told, (str, Mapping)) or payload.get("choices") or payload.get("data"):
        return None
    fields = told if isinstance(told, Mapping) else {"message": told}
    whole = response.whole() if isinstance(response, PostedAnswer) else response
    error = openai.APIStatusError(str(fields.get("message") or told), response=whole, body=fields)
    error.status_code = _status(fields)
    return error


def _status(fields: Mapping[str, JSON]) -> int:
    """What status an error would have: that of its code; else one that says nothing against the request."""
    found = (fields.get(name) for name in ("code", "status"))
    number = next((code for code in found if type(code) is int and 400 <= code < 600), None)
    if number is not None:
        return number
    return 400 if "invalid_request" in str(fields.get("type")) else 502
