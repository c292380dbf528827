"""How a prior enters a request: the one decision that rollouts, client and proxy share. No I/O.

The caller's own messages stay byte for byte: instruction and experiences travel in a message of their own, right after
the caller's leading system messages, and demonstrations follow as turns. What is the same in every call stands first,
so that providers' prompt caches hit.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from ..model.tokenizer import Tokenizer
from ..prompts import template
from ..records import JSON, ChatBody, Experience, Prior, Snapshot
from ..settings import BIAS_ENTRIES, BIAS_LIMIT
from .turns import TURN_TOKENS, demonstration_tokens, shown_demonstrations, turns

_SYSTEM_ROLES = ("system", "developer")


def render_experiences(experiences: Sequence[Experience]) -> str:
    """The experiences as the model reads them; empty when there are none."""
    if not experiences:
        return ""
    return template("prior").render(experiences="\n".join(f"- {entry.text}" for entry in experiences))


def prior_text(prior: Prior) -> str:
    """What a prior says in a message of its own: its instruction, then its experiences; empty when it has neither."""
    return "\n\n".join(filter(None, (prior.instruction, render_experiences(prior.experiences))))


def prior_tokens(prior: Prior, count: Callable[[str], int]) -> int:
    """What a prior adds to a request, in tokens as `count` has them: of a pool, as many as are shown of its mean."""
    text = prior_text(prior)
    shown = [demonstration_tokens(entry, count) for entry in prior.demonstrations]
    share = min(1.0, prior.nearest / len(shown)) if shown and prior.nearest else 1.0
    return (TURN_TOKENS + count(text) if text else 0) + math.ceil(sum(shown) * share)


def prior_for(snapshot: Snapshot, model: str) -> Prior:
    """The snapshot's prior as a model may be given it: the token prior only where it was learned."""
    return snapshot.prior if model == snapshot.frame.model else replace(snapshot.prior, biases=(), tokenizer=None)


def token_estimate(text: str) -> int:
    """Tokens that a text takes, on the safe side: a token for every three bytes."""
    return -(-len(text.encode()) // 3)


def token_count(tokenizer: Tokenizer | None) -> Callable[[str], int]:
    """How to count the tokens of a text: by the model's tokenizer where it is at hand, else `token_estimate`."""
    return token_estimate if tokenizer is None else lambda text: len(tokenizer.encode(text))


def with_prior(body: ChatBody, prior: Prior, *, biased: bool = True, exclude: str = "") -> ChatBody:
    """The same request with the prior added; `biased=False` leaves the token prior out.

    `exclude` is the id of the task that is asked, in a rollout: it is not shown its own example.

    A caller's own `logit_bias` wins key by key. The body is not altered; one that is no chat request (no messages) is
    returned as it is, and a `logit_bias` that is no map is left to the upstream to refuse.
    """
    messages = body.get("messages")
    if not (isinstance(messages, list | tuple) and messages):
        return body
    changed: dict[str, JSON] = dict(body)
    if prior.has_text:
        changed["messages"] = _with_text(messages, prior, exclude)
    own = body.get("logit_bias")
    if biased and prior.biases and isinstance(own, Mapping | None):
        changed["logit_bias"] = merge_bias(own, prior.logit_bias)
    return changed


def _with_text(messages: Sequence[JSON], prior: Prior, exclude: str) -> list[JSON]:
    leading = list(takewhile(_is_system, messages))
    role, text = leading[-1]["role"] if leading else "system", prior_text(prior)
    said = [{"role": role, "content": text}] if text else []
    shown = [turn for entry in shown_demonstrations(prior, messages, exclude) for turn in turns(entry)]
    return [*leading, *said, *shown, *messages[len(leading) :]]


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
