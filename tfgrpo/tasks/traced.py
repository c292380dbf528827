"""What was asked and answered in the past, as records to look through: coding agents' transcripts, and traces.

Transcripts are those of Claude Code and of Codex, one JSON object a line. Spans are OpenTelemetry's as OTLP writes them
or Jaeger writes them in JSON, with the GenAI conventions (`gen_ai.input.messages`), those of OpenInference
(`llm.input_messages.0.message.role`) or of Vercel's SDK (`ai.prompt.messages`).
An answer of the past is what was said, and need not be right: a person looks before anything is learned from it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from ..records import JSON, message_text
from .formats import Entry

_NOISE = re.compile(
    r"\s*(<(environment_context|user_instructions|command-name|local-command|system-reminder|INSTRUCTIONS)"
    r"|\[Request interrupted by user)"
)
"""How what the program itself says in the user's name begins."""
_TEXTS = ("text", "input_text", "output_text")
_INDEXED = re.compile(
    r"(llm\.(?:input|output)_messages|gen_ai\.(?:prompt|completion))\.(\d+)\.(?:message\.)?(role|content)"
)
_SAID = ("gen_ai.input.messages", "ai.prompt.messages")
_TOLD = ("gen_ai.output.messages", "ai.response.text")
"""Names of OpenTelemetry's, and of Vercel's SDK."""
_OF_MESSAGES = {"role", "content", "parts"}
"""What a message has, other than an answer that is JSON itself."""
_Said: TypeAlias = tuple[str, str]
"""Who says something, and what."""


def transcript_entries(entries: Iterable[Entry]) -> Iterator[Entry]:
    """One record for each thing that a person asked for, and the last thing that the agent said about it."""
    place, asked, answer = "", "", ""
    for where, entry in entries:
        said = _said(entry) if isinstance(entry, Mapping) else None
        if said is None or not said[1].strip():
            continue
        if said[0] == "assistant":
            answer = said[1]
        elif said[0] == "user" and not _NOISE.match(said[1]):
            if asked:
                yield place, _asked(asked, answer)
            place, asked, answer = where, said[1], ""
    if asked:
        yield place, _asked(asked, answer)


def _asked(asked: JSON, answer: str) -> dict[str, JSON]:
    return {"input": asked, **({"answer": answer} if answer else {})}


def _said(entry: Mapping[str, JSON]) -> _Said | None:
    """A turn of a transcript; None for tools, thoughts, side tasks and the program's own notes."""
    if entry.get("isSidechain") or entry.get("isMeta"):
        return None
    held = entry.get("payload") if entry.get("type") == "response_item" else entry.get("message", entry)
    if not isinstance(held, Mapping) or held.get("role") not in ("user", "assistant"):
        return None
    return str(held["role"]), _text(held.get("content"))


def _text(content: JSON) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    kinds = [part for part in parts if isinstance(part, Mapping) and part.get("type", "text") in _TEXTS]
    return "\n".join(str(part.get("text", part.get("content", ""))) for part in kinds)


def span_entries(entries: Iterable[Entry]) -> Iterator[Entry]:
    """One record for each call of a model: its messages, and what it answered."""
    for where, entry in entries:
        for number, span in enumerate(_spans(entry), 1):
            attributes = _attributes(span.get("attributes", span.get("tags")))
            events = span.get("events")
            for event in events if isinstance(events, list) else ():
                if isinstance(event, Mapping):
                    attributes = {**_attributes(event.get("attributes")), **attributes}
            if record := _call(attributes):
                yield f"{where}, span {number}", record


def _spans(entry: JSON) -> Iterator[Mapping[str, JSON]]:
    """The spans of an export, however deep they stand."""
    if isinstance(entry, list):
        for one in entry:
            yield from _spans(one)
    elif isinstance(entry, Mapping):
        if entry.keys() & {"attributes", "tags"} and entry.keys() & {"name", "spanId", "span_id", "spanID"}:
            yield entry
        for name in ("resourceSpans", "scopeSpans", "spans", "batches", "data"):
            if isinstance(entry.get(name), list):
                yield from _spans(entry[name])


def _attributes(given: JSON) -> dict[str, JSON]:
    """Attributes by name: OTLP lists them with typed values, others write an object."""
    if isinstance(given, Mapping):
        return dict(given)
    pairs = [one for one in given or () if isinstance(one, Mapping) and "key" in one] if isinstance(given, list) else []
    return {str(one["key"]): _value(one.get("value")) for one in pairs}


def _value(value: JSON) -> JSON:
    if not isinstance(value, Mapping) or not value:
        return value
    kind, held = next(iter(value.items()))
    if kind == "arrayValue":
        return [_value(one) for one in (held or {}).get("values", ())]
    if kind == "kvlistValue":
        return _attributes((held or {}).get("values"))
    return held


def _call(attributes: Mapping[str, JSON]) -> dict[str, JSON] | None:
    messages = _messages(attributes.get("gen_ai.system_instructions"), "system")
    said, told = (next((attributes[name] for name in names if name in attributes), None) for names in (_SAID, _TOLD))
    messages += _messages(said, "user") or _indexed(attributes, "input", "prompt")
    answers = _messages(told, "assistant")
    answers = answers or _indexed(attributes, "output", "completion")
    if not any(role == "user" for role, _ in messages) or messages[-1][0] == "assistant":
        return None
    answer = next((text for role, text in reversed(answers) if role == "assistant"), "")
    return _asked([{"role": role, "content": text} for role, text in messages], answer)


def _messages(given: JSON, role: str) -> list[_Said]:
    """Messages with parts, as JSON or as a text of it; texts alone are said by `role`."""
    if isinstance(given, str):
        text = given
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):
            given = None
        if not all(isinstance(one, Mapping) and one.keys() & _OF_MESSAGES for one in _each(given)):
            return [(role, text)] if text.strip() else []
    found = []
    for one in _each(given):
        if not isinstance(one, Mapping):
            continue
        text = _text(one.get("parts")) or message_text(one) or (_text([one]) if "content" in one else "")
        who = str(one.get("role", role))
        if text.strip() and who in ("system", "developer", "user", "assistant"):
            found.append((who, text))
    return found


def _each(given: JSON) -> list[JSON]:
    return given if isinstance(given, list) else [given]


def _indexed(attributes: Mapping[str, JSON], *kinds: str) -> list[_Said]:
    """Messages whose fields are attributes of their own, with their number in the name."""
    found: dict[int, dict[str, str]] = {}
    for name, held in attributes.items():
        match = _INDEXED.fullmatch(name)
        if match and any(kind in match[1] for kind in kinds):
            found.setdefault(int(match[2]), {})[match[3]] = str(held)
    turns = [found[number] for number in sorted(found)]
    return [(turn.get("role", "user"), turn["content"]) for turn in turns if turn.get("content", "").strip()]
