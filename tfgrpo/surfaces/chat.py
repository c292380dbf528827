"""How a prior enters a request: the one decision that rollouts, client and proxy share. No I/O.

The caller's own messages stay byte for byte: the experiences travel in a message of their own, right after the
caller's leading system messages, so that the prefix is the same in every call and providers' prompt caches hit.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from ..model.tokenizer import Tokenizer
from ..prompts import template
from ..records import JSON, ChatBody, Experience, Prior, Snapshot
from ..settings import BIAS_ENTRIES, BIAS_LIMIT

_SYSTEM_ROLES = ("system", "developer")


def render_experiences(experiences: Sequence[Experience]) -> str:
    """The experiences as the model reads them; empty when there are none."""
    if not experiences:
        return ""
    return template("prior").render(experiences="\n".join(f"- {entry.text}" for entry in experiences))


def prior_for(snapshot: Snapshot, model: str) -> Prior:
    """The snapshot's prior as a model may be given it: the token prior only where it was learned."""
    return snapshot.prior if model == snapshot.frame.model else replace(snapshot.prior, biases=(), tokenizer=None)


def token_estimate(text: str) -> int:
    """Tokens that a text takes, on the safe side: a token for every three bytes."""
    return -(-len(text.encode()) // 3)


def token_count(tokenizer: Tokenizer | None) -> Callable[[str], int]:
    """How to count the tokens of a text: by the model's tokenizer where it is at hand, else `token_estimate`."""
    return token_estimate if tokenizer is None else lambda text: len(tokenizer.encode(text))


def with_prior(body: ChatBody, prior: Prior, *, biased: bool = True) -> ChatBody:
    """The same request with the prior added; `biased=False` leaves the token prior out.

    A caller's own `logit_bias` wins key by key. The body is not altered; one that is no chat request (no messages) is
    returned as it is, and a `logit_bias` that is no map is left to the upstream to refuse.
    """
    messages = body.get("messages")
    if not (isinstance(messages, list | tuple) and messages):
        return body
    changed: dict[str, JSON] = dict(body)
    if prior.experiences:
        changed["messages"] = _with_text(messages, render_experiences(prior.experiences))
    own = body.get("logit_bias")
    if biased and prior.biases and isinstance(own, Mapping | None):
        changed["logit_bias"] = merge_bias(own, prior.logit_bias)
    return changed


def _with_text(messages: Sequence[JSON], text: str) -> list[JSON]:
    leading = list(takewhile(_is_system, messages))
    role = leading[-1]["role"] if leading else "system"
    return [*leading, {"role": role, "content": text}, *messages[len(leading) :]]


def _is_system(message: JSON) -> bool:
    return isinstance(message, Mapping) and message.get("role") in _SYSTEM_ROLES


def merge_bias(own: Mapping[str, float] | None, learned: Mapping[str, float]) -> dict[str, float]:
    """Both maps in one, the caller's entries first and untouched, ours clamped, at most BIAS_ENTRIES in all."""
    own = own or {}
    ours = {
        token: bias if -BIAS_LIMIT <= bias <= BIAS_LIMIT else math.copysign(BIAS_LIMIT, bias)
        for token, bias in learned.items()
        if token not in own
    }
    room = max(0, BIAS_ENTRIES - len(own))
    if len(ours) > room:
        strongest = sorted(ours, key=lambda token: (-abs(ours[token]), token))[:room]
        ours = {token: ours[token] for token in strongest}
    return {**own, **ours}
