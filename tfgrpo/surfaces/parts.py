"""Parts of a conversation: text put beside the caller's own, which stays as it is, and an assistant's turns. Pure.

Content is a string, or a list of parts.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from ..records import JSON, Message, message_text

PartType: TypeAlias = Literal["text", "input_text"]
"""What a surface calls a part of text."""

_BREAKPOINTS = ("cache_control", "prompt_cache_breakpoint")
"""By these a part marks the end of what the provider's cache is to keep."""


def appended(content: JSON, text: str, kind: PartType = "text") -> JSON:
    """The content with a text after it: joined to a string, a further part of a list; None for any other content.

    Of parts with a cache breakpoint the last one stays behind ours, so that the cache keeps ours too.
    """
    if content is None or content == "":
        return text
    if isinstance(content, str):
        return f"{content}\n\n{text}"
    if not _are_parts(content):
        return None
    marked = [place for place, part in enumerate(content) if any(part.get(name) for name in _BREAKPOINTS)]
    place = marked[-1] if marked else len(content)
    return [*content[:place], {"type": kind, "text": text}, *content[place:]]


def ended(content: JSON, text: str, kind: PartType = "text") -> JSON:
    """The content with a text at its very end, behind every breakpoint; as it is where it has no place for one."""
    if isinstance(content, list) and _are_parts(content):
        return [*content, {"type": kind, "text": text}]
    return f"{content}\n\n{text}" if isinstance(content, str) else content


def prepended(content: JSON, text: str, kind: PartType = "text") -> JSON:
    """The content with a text before it; None where it is neither a string nor a list of parts."""
    if content is None or content == "":
        return text
    if isinstance(content, str):
        return f"{text}\n\n{content}"
    return [{"type": kind, "text": text}, *content] if _are_parts(content) else None


def _are_parts(content: JSON) -> bool:
    return isinstance(content, Sequence) and all(isinstance(part, Mapping) for part in content)


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


def said_at_ends(messages: Sequence[JSON], texts: Mapping[int, str]) -> list[JSON]:
    """The messages, of which these end with these texts, if they have a place for them."""
    return [_ending(one, texts[place]) if place in texts else one for place, one in enumerate(messages)]


def _ending(message: Mapping[str, JSON], text: str) -> Mapping[str, JSON]:
    own = message.get("content")
    content = ended(own, text) if isinstance(own, list) else appended(own, text)
    return message if content is None else {**message, "content": content}
