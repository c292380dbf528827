"""Anthropic's messages: how a prior enters a request. No I/O.

Instruction and experiences go to the end of `system`: after a text, or as a further block, before the last block with a
cache breakpoint, so that the cache keeps ours too; the caller's blocks stay as they are. Demonstrations follow as turns
before the caller's messages. There is no `logit_bias`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from ..records import JSON, ChatBody, Message, Prior
from .chat import prior_text
from .parts import appended, assistant_says, ended, one_turn_each
from .surface import (
    PLAIN,
    Manner,
    Surface,
    Told,
    count_in,
    objects_in,
    plain_turns,
    shown_demonstrations,
    text_in,
    tool_text,
)
from .triggers import always_on, said_where


def message_with_prior(body: ChatBody, prior: Prior, manner: Manner = PLAIN) -> ChatBody:
    """The same request with the prior added; the body is not altered."""
    changed: dict[str, JSON] = dict(body)
    if text := prior_text(always_on(prior)):
        changed["system"] = appended(body.get("system"), text)
    messages = body["messages"]
    if said := said_where(prior, messages, lambda: _transcript(body)):
        changed["messages"] = [
            {**one, "content": ended(one.get("content"), said[place])} if place in said else one
            for place, one in enumerate(messages)
        ]
    if shown := _turns(prior, messages, manner):
        changed["messages"] = [*shown, *changed["messages"]]
    return changed


def _turns(prior: Prior, messages: Sequence[JSON], manner: Manner) -> list[JSON]:
    """Demonstrations as messages; the API takes no empty ones."""
    shown = [plain_turns(entry) for entry in shown_demonstrations(prior, messages, manner)]
    said = [entry for entry in shown if all(text.strip() for _, text in entry)]
    return [{"role": role, "content": text} for entry in said for role, text in entry]


def _fits(body: JSON) -> bool:
    messages = body.get("messages") if isinstance(body, Mapping) else None
    if not (isinstance(messages, list) and messages and all(isinstance(entry, Mapping) for entry in messages)):
        return False
    system = body.get("system")
    return isinstance(system, str | None) or (
        isinstance(system, list) and all(isinstance(block, Mapping) for block in system)
    )


_REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
}
"""What chat completions call it."""


def _told(payload: JSON) -> Told:
    usage = payload.get("usage") if isinstance(payload, Mapping) else None
    cached = sum(count_in(usage, f"cache_{what}_input_tokens") for what in ("creation", "read"))
    reason = text_in(payload, "stop_reason")
    return Told(
        text_in(payload, "id"),
        text_in(payload, "model"),
        "".join(text_in(block, "text") for block in objects_in(payload, "content")),
        _REASONS.get(reason, reason),
        count_in(usage, "input_tokens") + cached,
        count_in(usage, "output_tokens"),
    )


def _transcript(body: ChatBody) -> list[Message]:
    own = body.get("system")
    said: list[Message] = [{"role": "system", "content": own}] if own else []
    return one_turn_each([*said, *(turn for message in body["messages"] for turn in _as_messages(message))])


def _as_messages(message: Mapping[str, JSON]) -> Iterator[Message]:
    """A message as chat messages: what tools gave is one each."""
    content = message.get("content")
    if not isinstance(content, list):
        yield {"role": message.get("role"), "content": content}
    elif message.get("role") == "assistant":
        yield _said(message)
    else:
        blocks = objects_in(message, "content")
        for block in blocks:
            if block.get("type") == "tool_result":
                given = block.get("content")
                yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": tool_text(given or "")}
        if others := [block for block in blocks if block.get("type") != "tool_result"]:
            yield {"role": message.get("role"), "content": others}


def _said(message: Mapping[str, JSON]) -> Message:
    blocks = objects_in(message, "content")
    used = [block for block in blocks if block.get("type") == "tool_use"]
    calls = [{"id": one.get("id"), "name": one.get("name"), "arguments": json.dumps(one.get("input"))} for one in used]
    return assistant_says([text_in(block, "text") for block in blocks], calls)


def _answer(payload: JSON) -> Message | None:
    told = isinstance(payload, Mapping) and isinstance(payload.get("content"), list)
    return _said(payload) if told else None


MESSAGES = Surface(
    "messages",
    "/messages",
    _fits,
    message_with_prior,
    lambda body: body["messages"],
    _told,
    _transcript,
    _answer,
    takes_biases=False,
)
