"""Text put beside the caller's own, which stays as it is: content is a string, or a list of parts. Pure."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from ..records import JSON

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
