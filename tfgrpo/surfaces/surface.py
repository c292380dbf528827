"""What a surface is: one API through which a request comes, and how a prior enters a request there. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, Protocol, TypeAlias

from ..records import JSON, Backend, ChatBody, Demonstration, Message, Prior, message_text
from .turns import turns, turns_text

_KEPT = 256
"""Parts of priors that are kept: every request needs one."""

SurfaceName: TypeAlias = Literal["chat", "responses", "messages", "completions", "decisions"]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a request is given a prior: which parts of it, and as the upstream can take them."""

    biased: bool = True
    """With the token prior."""
    exclude: str = ""
    """In a rollout, the id of the task that is asked: it is not shown its own example."""
    whole: bool = False
    """The upstream takes whole numbers as biases, and no others."""
    system_role: bool = True
    """The upstream's template knows a system role; where it does not, a user's turn says what the prior says."""


PLAIN = Manner()


def manner_of(backend: Backend, exclude: str = "", *, biased: bool = True) -> Manner:
    """How an upstream that was probed is given a prior in a rollout."""
    honoured = biased and backend.logit_bias == "honoured"
    return Manner(honoured, exclude, backend.fractional is False, backend.system_role != "rejected")


@dataclass(frozen=True, slots=True)
class Told:
    """What a response says of its call, whatever its surface; empty, or 0, where it does not say."""

    id: str = ""
    model: str = ""
    text: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Enter(Protocol):
    """How a prior enters the body of a request."""

    def __call__(self, body: ChatBody, prior: Prior, manner: Manner = PLAIN, /) -> ChatBody:
        """A new body with the prior in it; the body given is not altered."""
        ...


@dataclass(frozen=True, slots=True)
class Surface:
    """One API: where it is found, how a prior enters its requests, what its responses tell."""

    name: SurfaceName
    route: str
    """What the path of its requests ends with."""
    fits: Callable[[JSON], bool]
    """Whether the body of a request is one that a prior can enter."""
    enter: Enter
    asked: Callable[[ChatBody], Sequence[JSON]]
    """What a request asks, as chat messages: the last of a user is what demonstrations are to be near to."""
    told: Callable[[JSON], Told]
    """What the JSON of a response says; never an error."""
    transcript: Callable[[ChatBody], Sequence[Message]] | None = None
    """All that a request says, as chat messages; None: calls of agents here are not recorded."""
    answer: Callable[[JSON], Message | None] | None = None
    """What the JSON of a response says, as the chat message of an assistant; None where it is no answer."""
    takes_text: bool = True
    """Whether it has a place for instruction, experiences and demonstrations."""
    takes_biases: bool = True
    """Whether it has a `logit_bias`."""

    def part_of(self, prior: Prior, manner: Manner = PLAIN) -> Prior:
        """What of a prior has a place in a request here; maybe nothing."""
        return _part(prior, self.takes_text, self.takes_biases and manner.biased)


@lru_cache(_KEPT)
def _part(prior: Prior, text: bool, biases: bool) -> Prior:
    if prior.has_text and not text:
        prior = replace(prior, experiences=(), instruction=None, demonstrations=(), nearest=0)
    return replace(prior, biases=(), tokenizer=None) if prior.biases and not biases else prior


def plain_turns(demonstration: Demonstration) -> tuple[tuple[str, str], ...]:
    """A demonstration as turns of text alone, role and text; what it has of tools and images is told in words."""
    shown = turns(demonstration)
    if all(_is_plain(turn) for turn in shown):
        return tuple((str(turn["role"]), message_text(turn)) for turn in shown)
    return ("user", turns_text(demonstration, answered=False)), ("assistant", demonstration.answer)


def _is_plain(turn: Message) -> bool:
    return (
        turn.get("role") in ("user", "assistant") and isinstance(turn.get("content"), str) and "tool_calls" not in turn
    )


def assistant_says(texts: Sequence[str], calls: Sequence[Mapping[str, JSON]]) -> Message:
    """The chat message of an assistant; each call has an `id`, a `name` and its `arguments` as text."""
    said: dict[str, JSON] = {"role": "assistant", "content": "\n".join(filter(None, texts)) or (None if calls else "")}
    if calls:
        said["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in calls
        ]
    return said


def one_turn_each(messages: Sequence[Message]) -> list[Message]:
    """Chat messages of which those of an assistant that follow each other are one, as a model says them."""
    turns_so_far: list[Message] = []
    for message in messages:
        before = turns_so_far[-1] if turns_so_far else {}
        if message.get("role") == before.get("role") == "assistant":
            calls = [*(before.get("tool_calls") or ()), *(message.get("tool_calls") or ())]
            texts = "\n".join(filter(None, (message_text(before), message_text(message))))
            joined = {"role": "assistant", "content": texts or (None if calls else "")}
            turns_so_far[-1] = joined | ({"tool_calls": calls} if calls else {})
        else:
            turns_so_far.append(message)
    return turns_so_far


def count_in(usage: JSON, *names: str) -> int:
    """A number of tokens, under the first of the names that has one; 0 where there is none."""
    fields = usage if isinstance(usage, Mapping) else {}
    found = (fields.get(name) for name in names)
    return next((number for number in found if type(number) is int and 0 <= number < 2**63), 0)


def text_in(value: JSON, name: str) -> str:
    """A text in a JSON object; empty where it is none, or has none."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else ""


def tool_text(value: JSON) -> str:
    """What a tool gave, as text: a text as it is, the texts of parts, else JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, Mapping) and "text" in part for part in value):
        return "\n".join(str(part["text"]) for part in value)
    return json.dumps(value, ensure_ascii=False)


def objects_in(value: JSON, name: str) -> list[Mapping[str, JSON]]:
    """The objects of a list in a JSON object; none where there is no such list."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []
