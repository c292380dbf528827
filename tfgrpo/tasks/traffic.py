"""What a recorded call of production asked, under which frame, and what it was answered: what tasks are made of. Pure.

An answer of the past is what was said, and need not be right.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..hashing import content_id
from ..records import JSON, Message, message_text
from ..surfaces.chat import is_system
from ..surfaces.routes import SURFACES
from ..surfaces.surface import Surface, objects_in, text_in

_SURFACES: Mapping[str, Surface] = {surface.name: surface for surface in SURFACES if surface.transcript}
_NO_FRAME = frozenset(
    (
        "model", "messages", "input", "instructions", "system", "stream", "stream_options", "temperature", "top_p",
        "n", "seed", "logprobs", "top_logprobs", "user", "user_id", "safety_identifier", "metadata", "store",
        "prompt_cache_key", "service_tier", "prompt_cache_retention",
    )
)  # fmt: skip
"""Fields of a request that say nothing about what is asked of the model, or stand in a frame by themselves."""
_OTHER_NAMES = {"max_output_tokens": "max_completion_tokens"}
"""Of fields that chat completions call otherwise, by which everything is learned."""
_CHAT_ONLY = ("max_tokens", "max_completion_tokens", "stop")
"""Fields of another API's request that chat completions know; with any other its frame cannot be had."""


@dataclass(frozen=True, slots=True)
class PastCall:
    """One call of the past, as a task sees it."""

    input: str | tuple[Message, ...]
    """What was asked, without the system prompt."""
    answer: str
    """What was said; empty where that is not known."""
    system: str | None
    request: Mapping[str, JSON]
    """Its further fields, as a frame has them."""
    temperature: float
    top_p: float

    @property
    def frame(self) -> str:
        """The same for calls under one frame, whatever their model."""
        return content_id("frame", self.system, dict(self.request), self.temperature, self.top_p)


def past_call(surface: str, request: str, response: str) -> PastCall | str:
    """A call as it was recorded; or why no task can be made of it, in a word or two."""
    at, body = _SURFACES.get(surface), _json(request)
    if at is None or at.transcript is None:
        return "of another API"
    if not (isinstance(body, Mapping) and at.fits(body)):
        return "cut off"
    turns = at.transcript(body)
    leading = next((place for place, turn in enumerate(turns) if not is_system(turn)), len(turns))
    asked = turns[leading:]
    if not asked or asked[-1].get("role") != "user" or any(map(_uses_tools, asked)):
        return "with tools in use, or nothing asked"
    fields = _frame_fields(surface, body)
    if fields is None:
        return "with fields that chat completions do not know"
    said = recorded_answer(surface, response)
    if not said and response:
        return "answered by a tool, or by nothing"
    system = "\n\n".join(message_text(turn) for turn in turns[:leading]) or None
    alone = len(asked) == 1 and isinstance(asked[0].get("content"), str)
    given = str(asked[0]["content"]) if alone else tuple(asked)
    return PastCall(given, said, system, fields, _number(body, "temperature"), _number(body, "top_p"))


def recorded_answer(surface: str, response: str) -> str:
    """What was answered; empty where no text was, or tools are asked for."""
    at = _SURFACES.get(surface)
    if at is None or not response:
        return ""
    told = response.lstrip()
    return _whole(at, _json(told)) if told.startswith("{") else _of_events(at, told)


def _whole(at: Surface, payload: JSON) -> str:
    said = at.answer(payload) if at.answer else None
    return "" if said is None or said.get("tool_calls") else at.told(payload).text


def _of_events(at: Surface, stream: str) -> str:
    """The answer of a stream; empty where it does not come to its end."""
    parts, ended = list[str](), False
    for event in _events(stream):
        if at.name == "responses":
            if event.get("type") in ("response.completed", "response.incomplete"):
                return _whole(at, event.get("response"))
        elif at.name == "messages":
            ended = ended or event.get("type") == "message_stop"
            block = event.get("content_block")
            if isinstance(block, Mapping) and block.get("type") == "tool_use":
                return ""
            delta = event.get("delta")
            parts.append(text_in(delta, "text") if isinstance(delta, Mapping) else "")
        else:
            choice = next(iter(objects_in(event, "choices")), {})
            delta = choice.get("delta")
            if isinstance(delta, Mapping):
                if delta.get("tool_calls") or choice.get("index"):
                    return ""
                parts.append(text_in(delta, "content"))
            ended = ended or choice.get("finish_reason") is not None
    return "".join(parts) if ended else ""


def _events(stream: str) -> Iterator[Mapping[str, JSON]]:
    for line in stream.splitlines():
        if line.startswith("data:") and isinstance(event := _json(line[5:]), Mapping):
            yield event


def _frame_fields(surface: str, body: Mapping[str, JSON]) -> dict[str, JSON] | None:
    found = {_OTHER_NAMES.get(name, name): held for name, held in body.items() if name not in _NO_FRAME}
    found = {name: held for name, held in found.items() if held not in (None, [], {})}
    return None if surface != "chat" and any(name not in _CHAT_ONLY for name in found) else found


def _uses_tools(turn: Message) -> bool:
    return bool(turn.get("tool_calls")) or turn.get("role") == "tool"


def _number(body: Mapping[str, JSON], name: str) -> float:
    """APIs take 1 for what is not said."""
    given = body.get(name)
    return float(given) if isinstance(given, int | float) and not isinstance(given, bool) else 1.0


def _json(text: str) -> JSON:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
