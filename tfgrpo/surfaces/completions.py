"""Completions of a text: they get the token prior alone, for their prompt is no conversation. No I/O."""

from collections.abc import Mapping

from ..records import JSON, ChatBody, Prior
from .chat import with_biases
from .surface import PLAIN, Manner, Surface, Told, count_in, objects_in, text_in


def completion_with_prior(body: ChatBody, prior: Prior, manner: Manner = PLAIN) -> ChatBody:
    """The same request with the token prior added; the body is not altered."""
    return with_biases(body, prior, manner)


def _fits(body: JSON) -> bool:
    if not isinstance(body, Mapping) or "prompt" not in body:
        return False
    biases = body.get("logit_bias")
    return biases is None or isinstance(biases, Mapping)


def _told(payload: JSON) -> Told:
    choice = next(iter(objects_in(payload, "choices")), {})
    usage = payload.get("usage") if isinstance(payload, Mapping) else None
    return Told(
        text_in(payload, "id"),
        text_in(payload, "model"),
        text_in(choice, "text"),
        text_in(choice, "finish_reason"),
        count_in(usage, "prompt_tokens"),
        count_in(usage, "completion_tokens"),
    )


COMPLETIONS = Surface(
    "completions", "/completions", _fits, completion_with_prior, lambda _: (), _told, takes_text=False
)
