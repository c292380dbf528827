"""Chat messages as files hold them: those of the OpenAI API, ShareGPT's turns, and images. Pure but for image files."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import InputError
from ..records import JSON, Message, message_text
from ..text import shortened
from .fields import either

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MOST_IMAGE_BYTES = 20_000_000
_SPEAKERS: Mapping[str, str] = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "model": "assistant", "bot": "assistant", "system": "system", "ai": "assistant",
}  # fmt: skip
"""Who speaks in a turn of ShareGPT or of LangChain, as a role."""
_KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif"}


def chat(field: str, value: Sequence[JSON]) -> tuple[Message, ...]:
    """A list of messages or of ShareGPT's turns, checked; InputError names the one that is none."""
    return tuple(_message(f"message {number} of {field}", message) for number, message in enumerate(value, 1))


def _message(place: str, message: JSON) -> Message:
    if isinstance(message, Mapping) and "role" not in message and {"from", "value"} <= message.keys():
        message = _turn(place, message)
    message = _of_langchain(message) or message
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise InputError(f"{place} needs a role ({either(ROLES)}), read {shortened(message)}")
    content = message.get("content")
    parts = isinstance(content, list) and content and all(isinstance(part, dict) for part in content)
    if not (isinstance(content, str) or parts or (content is None and message.get("tool_calls"))):
        raise InputError(f"{place} needs a content, text or a list of parts, read {shortened(message)}")
    if isinstance(content, list) and any("text" in part and "type" not in part for part in content):
        message = {**message, "content": [_typed(part) for part in content]}
    return {name: held for name, held in message.items() if name != "weight"} if "weight" in message else message


def _typed(part: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """A part of a content; a text that does not say that it is one (Bedrock) does then."""
    return {"type": "text", **part} if "text" in part and "type" not in part else part


def _turn(place: str, turn: Mapping[str, JSON]) -> JSON:
    role = _SPEAKERS.get(str(turn["from"]).lower())
    if role is None:
        raise InputError(
            f"{place} is from {shortened(turn['from'])}; it must be from {either(('human', 'gpt', 'system'))}"
        )
    return {"role": role, "content": turn["value"]}


def _of_langchain(message: JSON) -> Message | None:
    """A message of LangChain's, as it is or as it serialises it; None for any other."""
    if isinstance(message, Mapping) and "lc" in message and isinstance(message.get("kwargs"), Mapping):
        message = message["kwargs"]
    if not isinstance(message, Mapping) or "role" in message or not {"type", "content"} <= message.keys():
        return None
    role = _SPEAKERS.get(str(message["type"]))
    return {"role": role, "content": message["content"]} if role and not message.get("tool_calls") else None


def is_chat(value: JSON) -> bool:
    """Whether a value looks like a conversation: a list of objects that each say who speaks."""
    if not isinstance(value, (list, tuple)) or not value:
        return False
    says_who = [isinstance(one, Mapping) and ("role" in one or "from" in one) for one in value]
    return all(said or _of_langchain(one) for said, one in zip(says_who, value, strict=True))


def spoken(value: JSON) -> str | None:
    """The text of an answer that is given as a message, or as messages of which the last is the assistant's."""
    last = value[-1] if is_chat(value) else value
    last = _of_langchain(last) or last
    if not isinstance(last, Mapping) or last.get("role") != "assistant":
        return None
    return message_text(last) or None


def with_images(text: str, images: Sequence[str]) -> tuple[Message, ...]:
    """One message of the user's with a text and the images at some URLs."""
    parts: list[JSON] = [{"type": "image_url", "image_url": {"url": url}} for url in images]
    return ({"role": "user", "content": [*parts, {"type": "text", "text": text}]},)


def image_url(field: str, value: JSON, folder: Path) -> str:
    """The URL of an image: as it is given, or a data URL with the bytes of a file, whose path is from a folder."""
    if isinstance(value, Mapping):
        value = value.get("url") or value.get("bytes") or value.get("src") or value.get("path")
    if isinstance(value, bytes):
        return _data_url(field, value)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{field} must be the URL or the path of an image, read {shortened(value)}")
    if value.startswith(("http://", "https://", "data:image/")):
        return value
    try:
        with (folder / value).open("rb") as file:
            return _data_url(field, file.read(MOST_IMAGE_BYTES + 1))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no path"
        raise InputError(f"{field}: cannot read the image {shortened(value)}: {reason}") from error


def _data_url(field: str, data: bytes) -> str:
    kind = next((kind for start, kind in _KINDS.items() if data.startswith(start)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "webp"
    if kind is None:
        raise InputError(f"{field}: the file is no PNG, JPEG, GIF or WebP")
    if len(data) > MOST_IMAGE_BYTES:
        raise InputError(f"{field}: the image has more than {MOST_IMAGE_BYTES:,} bytes; make it smaller")
    return f"data:image/{kind};base64,{b64encode(data).decode()}"
