"""Files that ship beside the code, and the prompt templates among them: Markdown with `{{name}}` placeholders, rendered
strictly.

A missing or surplus value is an error. Values are never scanned again, so braces and LaTeX in them are safe. A template
may hold a `system` and a `user` part, divided by a line of three dashes.

Text from outside is made fit before it enters one: it closes no tag, speaks in no role and has a bounded length.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from .errors import PromptError
from .hashing import content_id
from .records import Message, Rollout, message_text

_INSTALLED = Path(__file__).parent / "_assets"
_CHECKOUT = Path(__file__).parent.parent


def asset_folder(name: str) -> Path:
    """The folder of a kind of asset (`prompts` or `store`): inside the wheel, else in the editable checkout."""
    installed = _INSTALLED / name
    return installed if installed.is_dir() else _CHECKOUT / name


_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_DIVIDER = "\n---\n"


@dataclass(frozen=True, slots=True)
class Template:
    """One prompt template."""

    name: str
    text: str
    version: str = field(init=False)
    """Content id of the text."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", content_id("template", self.text))

    def render(self, **values: str) -> str:
        """The text with every placeholder filled in; raises PromptError for a missing or surplus value."""
        _check(self.name, self.text, values)
        return _substitute(self.text, values).strip()

    def messages(self, **values: str) -> tuple[Message, ...]:
        """The `system` and `user` parts as chat messages; raises PromptError as `render` does."""
        _check(self.name, self.text, values)
        system, divider, user = self.text.partition(_DIVIDER)
        if not divider:
            raise PromptError(f"prompt {self.name}: no line of three dashes between its system and user parts")
        parts = (("system", system), ("user", user))
        return tuple({"role": role, "content": _substitute(part, values).strip()} for role, part in parts)


def instructions_of(prompt: Template) -> str:
    """What a template says itself, without its blanks."""
    return _PLACEHOLDER.sub(" ", prompt.text)


def _check(name: str, text: str, values: Mapping[str, str]) -> None:
    wanted = set(_PLACEHOLDER.findall(text))
    if missing := sorted(wanted - values.keys()):
        raise PromptError(f"prompt {name}: there is no value for {', '.join(missing)}; take it out of the template")
    if surplus := sorted(values.keys() - wanted):
        raise PromptError(f"prompt {name}: no placeholder for {', '.join(surplus)}; add it to the template")


def _substitute(text: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], text)


def template(name: str, folder: Path | None = None) -> Template:
    """The template `name`.md of a folder of the user's, or ours; raises PromptError when there is none."""
    return _read(name, folder) if folder else _ours(name)


@lru_cache
def _ours(name: str) -> Template:
    return _read(name, asset_folder("prompts"))


def _read(name: str, folder: Path) -> Template:
    path = folder / f"{name}.md"
    try:
        return Template(name, path.read_text(encoding="utf-8").strip() + "\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        hint = "tfgrpo prompts export FOLDER copies all of ours"
        raise PromptError(f"prompt {name}: cannot read {path}: {reason}; {hint}") from error


_TAG_NAMES = (
    "task|answer|attempts?|feedback|experiences?|notes|proposals?|rubric"
    "|system|user|assistant|developer|tool|instructions?"
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
    asked, messages, found = list(rollout.task.messages), list(rollout.messages), task_place(rollout)
    if found is None:
        return [message for message in messages if message not in asked]
    return messages[found + len(asked) :]


def task_place(rollout: Rollout) -> int | None:
    """Where the messages of the task begin in a rollout; None where an agent put it in other words."""
    asked, messages = rollout.task.messages, rollout.messages
    starts = range(len(messages) - len(asked) + 1)
    return next((place for place in starts if all(map(_asks, messages[place:], asked))), None)


def _asks(message: Message, asked: Message) -> bool:
    """Whether a message is that of the task, which may end with an experience that waited for it."""
    if message == asked or message.get("role") != asked.get("role"):
        return message == asked
    said, own = message.get("content"), asked.get("content")
    if isinstance(said, str) and isinstance(own, str):
        return said.startswith(f"{own}\n\n")
    return isinstance(said, list) and isinstance(own, list) and said[: len(own)] == own


def _turn(message: Message) -> str:
    calls = [call.get("function", {}) for call in message.get("tool_calls") or ()]
    called = [f"calls {call.get('name')}({call.get('arguments')})" for call in calls]
    return f"[{message.get('role')}] " + " ".join(part for part in (message_text(message), *called) if part)
