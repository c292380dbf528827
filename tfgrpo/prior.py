"""How a prior enters a request: the one decision that rollouts, client and proxy share. No I/O.

The caller's own messages stay byte for byte: the experiences travel in a message of their own, right after the
caller's leading system messages, so that the prefix is the same in every call and providers' prompt caches hit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .prompts import template
from .records import JSON, ChatBody, Experience, Message, Prior, Snapshot
from .settings import BIAS_ENTRIES, BIAS_LIMIT

_SYSTEM_ROLES = ("system", "developer")


def render(experiences: Sequence[Experience]) -> str:
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


def with_prior(body: ChatBody, prior: Prior, *, biased: bool = True) -> ChatBody:
    """The same request with the prior added; `biased=False` leaves the token prior out.

    A caller's own `logit_bias` wins key by key. The body is not altered; a body that is not a chat request (no list of
    messages) is returned as it is.
    """
    messages = body.get("messages")
    if not isinstance(messages, list | tuple):
        return body
    changed: dict[str, JSON] = dict(body)
    if prior.experiences:
        changed["messages"] = _with_text(messages, render(prior.experiences))
    if biased and prior.biases:
        changed["logit_bias"] = merge_bias(body.get("logit_bias"), prior.logit_bias)
    return changed


def _with_text(messages: Sequence[Message], text: str) -> list[Message]:
    lead = 0
    while lead < len(messages) and messages[lead].get("role") in _SYSTEM_ROLES:
        lead += 1
    role = messages[lead - 1]["role"] if lead else "system"
    return [*messages[:lead], {"role": role, "content": text}, *messages[lead:]]


def merge_bias(own: Mapping[str, float] | None, learned: Mapping[str, float]) -> dict[str, float]:
    """Both maps in one, the caller's entries first and untouched, ours clamped, at most BIAS_ENTRIES in all."""
    merged = dict(own or {})
    room = max(0, BIAS_ENTRIES - len(merged))
    strongest = sorted(learned, key=lambda token: (-abs(learned[token]), token))
    for token in [token for token in strongest if token not in merged][:room]:
        merged[token] = min(BIAS_LIMIT, max(-BIAS_LIMIT, learned[token]))
    return merged
