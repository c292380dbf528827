"""What the answer to a chunk's request says, whether it came as a chat or as a text. Pure."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from ..errors import ModelError
from ..model.replies import loaded, parse_reply, usage_in
from ..records import JSON, Reply, Usage


class ChunkSaid(NamedTuple):
    """What the answer to one chunk's request says."""

    text: str | None
    finish_reason: str
    usage: Usage | None = None
    """None: the upstream counts none."""
    reasoned: bool = False
    """It reasoned out of sight, so that its text is not all that it wrote."""
    biased: bool = False
    """A prior was added on the way, to the request for a chat completion."""


def reasoned(message: Mapping[str, JSON]) -> bool:
    """Whether a message tells of reasoning beside its text."""
    return any(message.get(name) for name in ("reasoning_content", "reasoning"))


def in_whole(said: str, finish_reason: str) -> str:
    """The text of a chunk without half a character at its end, which servers tell as U+FFFD: it is written again."""
    return said.rstrip("\ufffd") if finish_reason == "length" else said


def chunk_said(completion: JSON) -> ChunkSaid:
    """What a chat completion says; raises LookupError, TypeError or AttributeError for what is none."""
    choice, usage = completion["choices"][0], usage_in(completion.get("usage"))
    text = choice["message"].get("content")
    text = text if isinstance(text, str) else None
    return ChunkSaid(text, str(choice["finish_reason"]), usage if usage.tokens else None, reasoned(choice["message"]))


def as_chat(completion: JSON) -> dict[str, JSON]:
    """A completion of a text in the form of a chat completion; raises LookupError or TypeError for what is none."""
    choice = completion["choices"][0]
    message = {"role": "assistant", "content": choice["text"]}
    chosen = {"index": 0, "message": message, "finish_reason": choice.get("finish_reason")}
    return {**completion, "object": "chat.completion", "choices": [chosen]}


def read_completion(response: str) -> Reply:
    """The JSON text of a completion of a text as a Reply; raises ModelError for what is none."""
    try:
        return parse_reply(json.dumps(as_chat(loaded(response))))
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise ModelError("not a completion of a text") from error
