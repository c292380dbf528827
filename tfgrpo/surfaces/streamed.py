"""A finished response told as the server-sent events of a streamed one, for the surfaces that are recorded. Pure.

Chat completions are told so in `model.events`.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import count

from ..model.events import events
from ..records import JSON, ChatBody
from .surface import SurfaceName, objects_in, text_in


def streamed(surface: SurfaceName, whole: Mapping[str, JSON], asked: ChatBody) -> Iterator[bytes]:
    """The events of a response to a request that asked for a stream."""
    if surface == "responses":
        numbers = count()
        for name, fields in _response_events(whole):
            yield _event(name, {**fields, "sequence_number": next(numbers)})
    elif surface == "messages":
        for name, fields in _message_events(whole):
            yield _event(name, fields)
    else:
        options = asked.get("stream_options")
        yield from events(whole, usage=isinstance(options, Mapping) and bool(options.get("include_usage")))


def _event(name: str, fields: Mapping[str, JSON]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


_BEGUN: Mapping[str, Mapping[str, JSON]] = {"message": {"content": []}, "function_call": {"arguments": ""}}
"""What an item is at first, by its type."""


def _response_events(whole: Mapping[str, JSON]) -> Iterator[tuple[str, Mapping[str, JSON]]]:
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(objects_in(whole, "output")):
        place = {"output_index": index, "item_id": item.get("id")}
        added = {**item, **_BEGUN.get(text_in(item, "type"), {}), "status": "in_progress"}
        yield "response.output_item.added", {"output_index": index, "item": added}
        yield from _part_events(item, place)
        if item.get("type") == "function_call":
            arguments = item.get("arguments")
            yield "response.function_call_arguments.delta", {**place, "delta": arguments}
            yield "response.function_call_arguments.done", {**place, "name": item.get("name"), "arguments": arguments}
        yield "response.output_item.done", {"output_index": index, "item": item}
    ended = {"incomplete": "response.incomplete", "failed": "response.failed"}
    yield ended.get(text_in(whole, "status"), "response.completed"), {"response": whole}


def _part_events(item: Mapping[str, JSON], place: Mapping[str, JSON]) -> Iterator[tuple[str, Mapping[str, JSON]]]:
    parts = objects_in(item, "content") if item.get("type") == "message" else []
    for index, part in enumerate(parts):
        here = {**place, "content_index": index}
        yield "response.content_part.added", {**here, "part": {**part, "text": ""}}
        if part.get("type") == "output_text":
            text = {**here, "logprobs": []}
            yield "response.output_text.delta", {**text, "delta": part.get("text")}
            yield "response.output_text.done", {**text, "text": part.get("text")}
        yield "response.content_part.done", {**here, "part": part}


def _message_events(whole: Mapping[str, JSON]) -> Iterator[tuple[str, Mapping[str, JSON]]]:
    yield "message_start", {"message": {**whole, "content": [], "stop_reason": None, "stop_sequence": None}}
    for index, block in enumerate(objects_in(whole, "content")):
        yield "content_block_start", {"index": index, "content_block": _emptied(block)}
        for delta in _deltas(block):
            yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    ended = {name: whole.get(name) for name in ("stop_reason", "stop_sequence")}
    usage = whole.get("usage") or {}
    yield "message_delta", {"delta": ended, "usage": {"output_tokens": usage.get("output_tokens", 0)}}
    yield "message_stop", {}


_EMPTY: Mapping[str, Mapping[str, JSON]] = {
    "text": {"text": ""},
    "tool_use": {"input": {}},
    "thinking": {"thinking": "", "signature": ""},
}
"""What a block is at first, by its type."""


def _emptied(block: Mapping[str, JSON]) -> Mapping[str, JSON]:
    return {**block, **_EMPTY.get(text_in(block, "type"), {})}


def _deltas(block: Mapping[str, JSON]) -> list[Mapping[str, JSON]]:
    kind = block.get("type")
    if kind == "text":
        return [{"type": "text_delta", "text": block.get("text")}]
    if kind == "tool_use":
        return [{"type": "input_json_delta", "partial_json": json.dumps(block.get("input"))}]
    if kind == "thinking":
        signed = {"type": "signature_delta", "signature": block.get("signature", "")}
        return [{"type": "thinking_delta", "thinking": block.get("thinking")}, signed]
    return []
