"""Text from outside made fit to be quoted in a prompt: it closes no tag, speaks in no role and has a bounded length."""

import re

from ..records import Message, Rollout, message_text

_TAG_NAMES = (
    "task|answer|attempts?|feedback|experiences?|notes|proposals?|system|user|assistant|developer|tool|instructions?"
)
_CHAT_NAMES = r"(?:start|end)_of_turn|tool_call|tool_response|function_call|think|s"
_MARKUP = re.compile(
    rf"[<\uff1c](?=\s*[/|\uff5c]?\s*(?:{_TAG_NAMES}|{_CHAT_NAMES})\b|[|\uff5c<])|\[(?=\s*/?\s*INST\s*\])", re.IGNORECASE
)
_HARMLESS = "\u2039"
"""Looks like an opening angle bracket, and opens nothing."""


def neutralise(text: str) -> str:
    """The text with every opening or closing of our tags, and of chat templates' role markers, made harmless."""
    return _MARKUP.sub(lambda match: "(" if match.group() == "[" else _HARMLESS, text)


def clip(text: str, limit: int) -> str:
    """The text, its middle left out and said so when it has more than `limit` characters."""
    if len(text) <= limit:
        return text
    note = f"\n[{len(text) - limit} characters left out]\n"
    return f"{text[: limit - limit // 2]}{note}{text[len(text) - limit // 2 :]}"


def transcript(rollout: Rollout) -> str:
    """What a rollout did: its answer, or the whole trajectory after the task when there is more to it.

    What stands before the task, such as demonstrations, it was shown, and did not do.
    """
    own = [m for m in _after_task(rollout) if m.get("role") not in ("system", "developer")]
    if len(own) < 2 and not any(message.get("tool_calls") for message in own):
        return rollout.text
    return "\n".join(_turn(message) for message in own)


def _after_task(rollout: Rollout) -> list[Message]:
    """The messages after those of the task; where an agent put the task in other words, all that are none of its."""
    asked, messages = list(rollout.task.messages), list(rollout.messages)
    starts = range(len(messages) - len(asked) + 1)
    found = next((place for place in starts if messages[place : place + len(asked)] == asked), None)
    if found is None:
        return [message for message in messages if message not in asked]
    return messages[found + len(asked) :]


def _turn(message: Message) -> str:
    calls = [call.get("function", {}) for call in message.get("tool_calls") or ()]
    called = [f"calls {call.get('name')}({call.get('arguments')})" for call in calls]
    return f"[{message.get('role')}] " + " ".join(part for part in (message_text(message), *called) if part)
