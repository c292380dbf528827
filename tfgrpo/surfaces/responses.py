"""Responses: how a prior enters a request. No I/O.

Instruction and experiences go to the end of the caller's `instructions`, on every turn, since `previous_response_id`
does not carry them over; where there are none, to the end of the last leading system or developer message of `input`,
as in a chat. Demonstrations go before the other items of `input`. A turn that goes on from another response has them
already; in a `conversation`, which would keep them anew at each turn, they are told in `instructions`. There is no
`logit_bias`.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile

from ..records import JSON, ChatBody, Message, Prior
from .chat import first_user_says, is_system, prior_text, said_last
from .parts import assistant_says, ended, one_turn_each
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
from .whole_text import whole_text


def response_with_prior(body: ChatBody, prior: Prior, manner: Manner = PLAIN) -> ChatBody:
    """The same request with the prior added; the body is not altered."""
    asked = _asked(body)
    items = _items(prior, asked, manner) if "input" in body and not _goes_on(body) else []
    text = whole_text(prior, asked, manner) if body.get("conversation") else prior_text(always_on(prior))
    changed: dict[str, JSON] = dict(body)
    leading, following = _divided(body.get("input"))
    if said := said_where(prior, following, lambda: _transcript(body)):
        following = [_ending(one, said[place]) if place in said else one for place, one in enumerate(following)]
        changed["input"] = [*leading, *following]
    own = body.get("instructions")
    if text and not own and leading:
        changed["input"] = [*said_last(leading, text, "input_text"), *items, *following]
    elif text and not own and not manner.system_role and following:
        changed["input"] = first_user_says([*items, *following], text, "input_text")
    else:
        changed |= {"instructions": f"{own}\n\n{text}" if own else text} if text else {}
        changed |= {"input": [*leading, *items, *following]} if items else {}
    return changed


def _ending(item: Mapping[str, JSON], text: str) -> Mapping[str, JSON]:
    """An item that ends with the text: a message, or what a tool gave; any other as it is."""
    field = "output" if item.get("type") == "function_call_output" else "content"
    return {**item, field: ended(item[field], text, "input_text")} if item.get(field) else item


def _goes_on(body: ChatBody) -> bool:
    """Whether what was said before is kept by the server."""
    return bool(body.get("previous_response_id") or body.get("conversation"))


def _divided(given: JSON) -> tuple[list[JSON], list[JSON]]:
    """The leading system messages of an input, and the other items; a text is the message of a user."""
    if isinstance(given, str):
        return [], [{"role": "user", "content": given}]
    items = list(given or ())
    leading = list(takewhile(is_system, items))
    return leading, items[len(leading) :]


def _items(prior: Prior, asked: Sequence[JSON], manner: Manner) -> list[JSON]:
    shown = shown_demonstrations(prior, asked, manner)
    return [{"role": role, "content": text} for entry in shown for role, text in plain_turns(entry)]


def _asked(body: ChatBody) -> list[JSON]:
    leading, following = _divided(body.get("input"))
    return [*leading, *following]


def _fits(body: JSON) -> bool:
    if not isinstance(body, Mapping) or not isinstance(body.get("instructions"), str | None):
        return False
    given = body.get("input")
    listed = isinstance(given, list) and all(isinstance(item, Mapping) for item in given)
    return listed or isinstance(given, str) or (given is None and bool(body.get("prompt") or _goes_on(body)))


def _told(payload: JSON) -> Told:
    said = [item for item in objects_in(payload, "output") if item.get("type") == "message"]
    parts = [part for item in said for part in objects_in(item, "content")]
    usage = payload.get("usage") if isinstance(payload, Mapping) else None
    return Told(
        text_in(payload, "id"),
        text_in(payload, "model"),
        "".join(text_in(part, "text") for part in parts if part.get("type") == "output_text"),
        _finish_reason(payload),
        count_in(usage, "input_tokens"),
        count_in(usage, "output_tokens"),
    )


def _finish_reason(payload: JSON) -> str:
    """As chat completions tell it: `stop`, `length`, `tool_calls`; else the status, or why it is incomplete."""
    status = text_in(payload, "status")
    if status == "incomplete":
        reason = text_in(payload.get("incomplete_details"), "reason")
        return "length" if reason == "max_output_tokens" else reason
    calls = any(str(item.get("type")).endswith("_call") for item in objects_in(payload, "output")[-1:])
    return ("tool_calls" if calls else "stop") if status == "completed" else status


def _transcript(body: ChatBody) -> list[Message]:
    own = body.get("instructions")
    said = [{"role": "system", "content": own}] if own else []
    return one_turn_each([*said, *filter(None, map(_as_message, _asked(body)))])


def _as_message(item: Mapping[str, JSON]) -> Message | None:
    """An item of an input as a chat message; None for what is neither said nor done, as reasoning."""
    if item.get("type") == "function_call":
        return assistant_says((), [_call(item)])
    if item.get("type") == "function_call_output":
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": tool_text(item.get("output"))}
    return {"role": item["role"], "content": item.get("content")} if "role" in item else None


def _call(item: Mapping[str, JSON]) -> Mapping[str, JSON]:
    return {"id": item.get("call_id"), "name": item.get("name"), "arguments": item.get("arguments")}


def _answer(payload: JSON) -> Message | None:
    if not isinstance(payload, Mapping) or not isinstance(payload.get("output"), list):
        return None
    calls = [_call(item) for item in objects_in(payload, "output") if item.get("type") == "function_call"]
    return assistant_says([_told(payload).text], calls)


RESPONSES = Surface(
    "responses",
    "/responses",
    _fits,
    response_with_prior,
    _asked,
    _told,
    _transcript,
    _answer,
    takes_biases=False,
)
