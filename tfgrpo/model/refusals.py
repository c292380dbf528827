"""A server's refusal read: the optional parameter that it is about, and the request without that. No I/O."""

import re
from collections.abc import Mapping

import openai

from ..records import JSON, ChatBody

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
