"""Chat completions: how a prior enters a request, in the one way that rollouts, client and proxy share. No I/O.

Instruction and experiences go to the end of the caller's last leading system or developer message, whose own text stays
byte for byte and comes first: many templates refuse a second one. There is a message of ours only where the caller has
none, and where the upstream knows no system role the first turn of a user begins with them. Demonstrations follow as
turns. What is the same in every call stands first, so that providers' prompt caches hit.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

import orjson

from ..model.tokenizer import Tokenizer
from ..prompts import template
from ..records import JSON, ChatBody, Demonstration, Experience, Message, Prior, Snapshot, Task, message_text
from ..settings import BIAS_ENTRIES, BIAS_LIMIT
from .parts import PartType, appended, prepended, said_at_ends
from .surface import (
    PLAIN,
    TURN_TOKENS,
    Manner,
    Surface,
    Told,
    count_in,
    demonstration_tokens,
    objects_in,
    shown_demonstrations,
    text_in,
    turns,
)
from .triggers import always_on, as_said, said_where

SYSTEM_ROLES = ("system", "developer")
_KEPT = 1_024
"""Priors whose text and biases are kept ready: every request needs them."""


def render_experiences(experiences: Sequence[Experience]) -> str:
    """The experiences as the model reads them; empty when there are none."""
    if not experiences:
        return ""
    return template("prior").render(experiences="\n".join(f"- {entry.text}" for entry in experiences))


@lru_cache(_KEPT)
def prior_text(prior: Prior) -> str:
    """What a prior says beside its demonstrations: its instruction, then its experiences; empty when it has neither."""
    return "\n\n".join(filter(None, (prior.instruction, render_experiences(prior.experiences))))


def prior_tokens(prior: Prior, count: Callable[[str], int]) -> int:
    """What a prior adds to a request, in tokens as `count` has them: of a pool, as many as are shown of its mean."""
    text = prior_text(prior)
    shown = [demonstration_tokens(entry, count) for entry in prior.demonstrations]
    share = min(1.0, prior.nearest / len(shown)) if shown and prior.nearest else 1.0
    return (TURN_TOKENS + count(text) if text else 0) + math.ceil(sum(shown) * share)


def mean_tokens(prior: Prior, tasks: Sequence[Task], count: Callable[[str], int]) -> int:
    """What a prior adds to a request, over requests for these tasks; what waits for other words, or moments, is out."""
    if not tasks or always_on(prior) is prior:
        return prior_tokens(prior, count)
    return round(sum(prior_tokens(as_said(prior, task.messages), count) for task in tasks) / len(tasks))


def prior_for(snapshot: Snapshot, model: str) -> Prior:
    """The snapshot's prior as a model may be given it: the token prior only where it was learned."""
    return snapshot.prior if model == snapshot.frame.model else replace(snapshot.prior, biases=(), tokenizer=None)


def token_estimate(text: str) -> int:
    """Tokens that a text takes, on the safe side: a token for every three bytes."""
    return -(-len(text.encode()) // 3)


def token_count(tokenizer: Tokenizer | None) -> Callable[[str], int]:
    """How to count the tokens of a text: by the model's tokenizer where it is at hand, else `token_estimate`."""
    return token_estimate if tokenizer is None else lambda text: len(tokenizer.encode(text))


def with_prior(body: ChatBody, prior: Prior, manner: Manner = PLAIN) -> ChatBody:
    """The same request with the prior added.

    A caller's own `logit_bias` wins key by key. The body is not altered; one that is no chat request (no messages) is
    returned as it is, and a `logit_bias` that is no map is left to the upstream to refuse.
    """
    messages = body.get("messages")
    if not (isinstance(messages, (list, tuple)) and messages):
        return body
    changed: dict[str, JSON] = dict(body)
    if prior.has_text:
        changed["messages"] = _with_text(messages, prior, manner)
    return with_biases(changed, prior, manner)


def with_biases(body: ChatBody, prior: Prior, manner: Manner) -> ChatBody:
    """The same request with the token prior added to its `logit_bias`; as it is where that is no map."""
    own = body.get("logit_bias")
    if not (manner.biased and prior.biases and (own is None or isinstance(own, Mapping))):
        return body
    added = merge_bias(own, prior.logit_bias, whole=manner.whole) if own else _alone(prior, manner.whole)
    return {**body, "logit_bias": added}


def _with_text(messages: Sequence[JSON], prior: Prior, manner: Manner) -> list[JSON]:
    text, shown, some_wait, opening = _always_said(prior)
    if opening and manner.system_role and not manner.exclude and not is_system(messages[0]):
        return [*opening, *messages]
    leading = list(takewhile(is_system, messages))
    if prior.nearest or manner.exclude:
        shown = _turns_of(shown_demonstrations(prior, messages, manner))
    asked = messages[len(leading) :]
    if some_wait and asked:
        asked = said_at_ends(asked, said_where(prior, asked, sureness=manner.sureness))
    following = [*shown, *asked]
    if not text:
        return [*leading, *following]
    if not leading and not manner.system_role:
        return first_user_says(following, text)
    return [*said_last(leading, text), *following]


class _Always(NamedTuple):
    """What is the same in every request that a prior enters."""

    text: str
    shown: Sequence[Message]
    some_wait: bool
    """Whether some experiences wait for their moment."""
    opening: Sequence[Message]
    """Text and turns before a request without a system message of its own, as most are; empty: it depends."""


@lru_cache(_KEPT)
def _always_said(prior: Prior) -> _Always:
    stays = always_on(prior)
    text, some_wait = prior_text(stays), stays is not prior
    shown = () if prior.nearest else _turns_of(prior.demonstrations)
    opening = [*said_last((), text), *shown] if text and not (prior.nearest or some_wait) else ()
    return _Always(text, shown, some_wait, opening)


def _turns_of(shown: Sequence[Demonstration]) -> Sequence[Message]:
    return [turn for entry in shown for turn in turns(entry)]


def said_last(leading: Sequence[Message], text: str, kind: PartType = "text") -> list[Message]:
    """Leading system messages of which the last one says the text too; a message of ours where none could."""
    last = leading[-1] if leading else {"role": "system"}
    content = appended(last.get("content"), text, kind)
    if content is None:
        return [*leading, {"role": last["role"], "content": text}]
    return [*leading[:-1], {**last, "content": content}]


def first_user_says(messages: Sequence[JSON], text: str, kind: PartType = "text") -> list[JSON]:
    """Messages of which the first one of a user begins with the text; a turn of ours where none could."""
    for place, message in enumerate(messages):
        if isinstance(message, Mapping) and message.get("role") == "user":
            content = prepended(message.get("content"), text, kind)
            if content is not None:
                return [*messages[:place], {**message, "content": content}, *messages[place + 1 :]]
    return [{"role": "user", "content": text}, *messages]


def said_by_user(messages: Sequence[Message]) -> list[Message]:
    """For a model without a system role: what the leading messages of that role say begins the first turn of a user."""
    leading = list(takewhile(is_system, messages))
    said = "\n\n".join(filter(None, map(message_text, leading)))
    return first_user_says(messages[len(leading) :], said) if said else list(messages)


def is_system(message: JSON) -> bool:
    """Whether a message is one of those that set the rules."""
    return isinstance(message, Mapping) and message.get("role") in SYSTEM_ROLES


def merge_bias(
    own: Mapping[str, float] | None, learned: Mapping[str, float], *, whole: bool = False
) -> dict[str, float]:
    """Both maps in one, the caller's entries first and untouched, ours clamped, at most BIAS_ENTRIES in all.

    What is a whole number is one in the JSON too; `whole` rounds the others of ours, and leaves out what comes to 0.
    """
    own = own or {}
    rounded = {token: _number(bias, whole) for token, bias in learned.items() if token not in own}
    ours = {token: bias for token, bias in rounded.items() if bias or not whole}
    room = max(0, BIAS_ENTRIES - len(own))
    if len(ours) > room:
        strongest = sorted(ours, key=lambda token: (-abs(ours[token]), token))[:room]
        ours = {token: ours[token] for token in strongest}
    return {**own, **ours}


def _number(bias: float, whole: bool) -> float:
    held = bias if -BIAS_LIMIT <= bias <= BIAS_LIMIT else math.copysign(BIAS_LIMIT, bias)
    return round(held) if whole or float(held).is_integer() else held


class SharedMap(dict[str, float]):
    """A map that stands in many requests and that nobody changes, so that its JSON need be made only once."""

    __slots__ = ("json",)

    def __init__(self, entries: Mapping[str, float]) -> None:
        super().__init__(entries)
        self.json: bytes | None = None


def fast_json(value: JSON) -> bytes:
    """The JSON of a request by orjson; that of a map which requests share is kept, since 100 biases take longer than
    all the rest. Raises TypeError for what JSON does not know, and for integers over 64 bits."""
    return orjson.dumps(value, _kept_json, orjson.OPT_PASSTHROUGH_SUBCLASS)


def _kept_json(value: JSON) -> orjson.Fragment:
    """Of what is of no class of JSON's own."""
    if not isinstance(value, SharedMap):
        return orjson.Fragment(orjson.dumps(value))
    value.json = value.json or orjson.dumps(value)
    return orjson.Fragment(value.json)


@lru_cache(_KEPT)
def _alone(prior: Prior, whole: bool) -> SharedMap:
    return SharedMap(merge_bias(None, prior.logit_bias, whole=whole))


def is_chat_request(body: JSON) -> bool:
    """Whether a body has messages, and no `logit_bias` that is none."""
    messages = body.get("messages") if isinstance(body, Mapping) else None
    if not (isinstance(messages, list) and messages and all(isinstance(entry, dict) for entry in messages)):
        return False
    own = body.get("logit_bias")
    return own is None or isinstance(own, Mapping)


def _told(payload: JSON) -> Told:
    choice = next(iter(objects_in(payload, "choices")), {})
    usage = payload.get("usage") if isinstance(payload, Mapping) else None
    message = choice.get("message")
    return Told(
        text_in(payload, "id"),
        text_in(payload, "model"),
        message_text(message) if isinstance(message, Mapping) else "",
        text_in(choice, "finish_reason"),
        count_in(usage, "prompt_tokens"),
        count_in(usage, "completion_tokens"),
    )


def _answer(payload: JSON) -> Message | None:
    message = next(iter(objects_in(payload, "choices")), {}).get("message")
    return dict(message) if isinstance(message, Mapping) else None


CHAT = Surface(
    "chat",
    "/chat/completions",
    is_chat_request,
    with_prior,
    lambda body: body["messages"],
    _told,
    lambda body: body["messages"],
    _answer,
)
