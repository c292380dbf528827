"""What the APIs of providers other than OpenAI call a conversation, as messages: Gemini's and Bedrock's. Pure."""

from collections.abc import Mapping, Sequence

from ..errors import InputError
from ..records import JSON, message_text
from ..text import shortened


def gemini_chat(contents: Sequence[JSON], system: JSON) -> list[JSON]:
    """Gemini's contents as messages, its instruction of the system first; InputError for a part that is no text."""
    said: list[JSON] = [{"role": "system", "content": _gemini_text(system)}] if system else []
    for one in contents:
        role = one.get("role", "user")
        said.append({"role": "assistant" if role == "model" else role, "content": _gemini_text(one)})
    return said


def _gemini_text(content: JSON) -> JSON:
    """The text of one content, without thoughts; the parts, where there are several."""
    parts = content.get("parts") if isinstance(content, Mapping) else content
    texts = []
    for part in parts if isinstance(parts, list) else [parts]:
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            raise InputError(f"only texts of contents are read, and a part is {shortened(part)}")
        if not (isinstance(part, Mapping) and part.get("thought")):
            texts.append(text)
    return texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts]


def bedrock_chat(turns: Sequence[JSON]) -> tuple[list[JSON], list[str]]:
    """Turns of Bedrock's evaluations as messages, each but the last with its reply; and what may answer the last."""
    said: list[JSON] = []
    right: list[str] = []
    for number, turn in enumerate(turns, 1):
        prompt = turn.get("prompt") if isinstance(turn, Mapping) else None
        if not isinstance(prompt, Mapping):
            raise InputError(f"turn {number} of conversationTurns has no prompt, read {shortened(turn)}")
        if said and not right:
            raise InputError(f"turn {number - 1} of conversationTurns has no referenceResponses, and more follow it")
        said += [{"role": "assistant", "content": reply} for reply in right[:1]]
        said.append({"role": "user", "content": message_text(prompt)})
        replies = turn.get("referenceResponses")
        texts = [message_text(one) for one in replies if isinstance(one, Mapping)] if isinstance(replies, list) else []
        right = [text for text in texts if text]
    return said, right
