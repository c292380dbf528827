"""A finished chat completion told as the server-sent events of a streamed one. Pure."""

import json
import re
from collections.abc import Iterator, Mapping

from ..records import JSON

DONE = b"data: [DONE]\n\n"


def events(whole: Mapping[str, JSON], *, usage: bool) -> Iterator[bytes]:
    """An event for each word of a choice, each tool call and its finish reason; the usage if asked for; then DONE."""
    base = {name: value for name, value in whole.items() if name not in ("choices", "usage")}
    base["object"] = "chat.completion.chunk"
    for choice in whole["choices"]:
        for part in _parts(choice):
            yield _event({**base, "choices": [part]})
    if usage:
        yield _event({**base, "choices": [], "usage": whole.get("usage")})
    yield DONE


def _parts(choice: Mapping[str, JSON]) -> list[dict[str, JSON]]:
    message, index = choice["message"], choice.get("index", 0)
    text, told = message.get("content"), ("role", "content", "tool_calls")
    pieces = re.findall(r"(?:^| )[^ ]*", text) if isinstance(text, str) else [text]
    deltas: list[dict[str, JSON]] = [{"content": piece} for piece in pieces]
    deltas += [{"tool_calls": [{"index": i, **call}]} for i, call in enumerate(message.get("tool_calls") or ())]
    deltas[0] |= {"role": "assistant"} | {name: value for name, value in message.items() if name not in told}
    parts: list[dict[str, JSON]] = [{"index": index, "delta": delta, "finish_reason": None} for delta in deltas]
    parts[0] |= {"logprobs": choice["logprobs"]} if choice.get("logprobs") else {}
    parts.append({"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")})
    return parts


def _event(chunk: Mapping[str, JSON]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"
