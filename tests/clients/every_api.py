"""A fake upstream that speaks every API that a prior can enter, as JSON and as streams, fit for their SDKs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tfgrpo.model.events import events
from tfgrpo.surfaces.http import PRIOR_HEADER
from tfgrpo.testing import Answer, payload

JSONObject: TypeAlias = dict[str, Any]
TEXT = '{"code": "BILL"}'
USAGE = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
DETAILS = {
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}


@dataclass(slots=True)
class Got:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> JSONObject:
        """Its JSON."""
        found: JSONObject = json.loads(self.raw)
        return found

    @property
    def mark(self) -> str | None:
        """The prior that it says is in it."""
        return self.headers.get(PRIOR_HEADER)


@dataclass(slots=True)
class EveryApi:
    """An ASGI app; `requests` holds what came, `statuses` what the next ones are answered with in place of 200."""

    requests: list[Got] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    refuses_prior: bool = False
    """A request with a prior in it is answered with 400."""
    request_id: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """Further headers of the answers."""

    @property
    def last(self) -> Got:
        """The request that came last."""
        return self.requests[-1]

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        raw, more = b"", True
        while more:
            event = await receive()
            raw, more = raw + event.get("body", b""), event.get("more_body", False)
        got = Got(scope["path"], headers, raw)
        self.requests.append(got)
        status = self.statuses.pop(0) if self.statuses else 200
        if self.refuses_prior and got.mark not in (None, "none"):
            status = 400
        content, kind = _answered(got, status)
        lines = [(b"content-type", kind), (b"content-length", str(len(content)).encode()), (b"retry-after-ms", b"1")]
        lines += [(name.encode(), value.encode()) for name, value in self.headers.items()]
        if self.request_id:
            lines += [(b"x-request-id", self.request_id.encode()), (b"request-id", self.request_id.encode())]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": content})


def _answered(got: Got, status: int) -> tuple[bytes, bytes]:
    if status != 200:
        return json.dumps({"error": {"message": "no", "type": "fake_error"}}).encode(), b"application/json"
    route = got.path.rpartition("/")[2]
    is_json = got.raw.startswith(b"{")
    body = got.body if is_json else {}
    if body.get("stream"):
        return b"".join(_STREAMS[route](body)), b"text/event-stream"
    made = _ANSWERS.get(route, _anything)(body)
    return json.dumps(made).encode(), b"application/json"


def _anything(body: JSONObject) -> JSONObject:
    return {"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def _chat(body: JSONObject) -> JSONObject:
    if tools := body.get("tools"):
        named = tools[0]["function"]["name"]
        call = {"id": "call_1", "type": "function", "function": {"name": named, "arguments": TEXT}}
        return payload(body, Answer("", tool_calls=[call], finish_reason="tool_calls"))
    return payload(body, Answer(TEXT))


def _chat_events(body: JSONObject) -> Iterator[bytes]:
    return events(_chat(body), usage=True)


def _output_text(status: str = "completed") -> JSONObject:
    part = {"type": "output_text", "text": TEXT, "annotations": []}
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": [part]}


def _response(body: JSONObject, status: str = "completed") -> JSONObject:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 0,
        "status": status,
        "model": body.get("model", "m"),
        "output": [_output_text()] if status == "completed" else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "instructions": body.get("instructions"),
        "metadata": {},
        "temperature": 1.0,
        "top_p": 1.0,
        "error": None,
        "incomplete_details": None,
        "usage": {**USAGE, **DETAILS} if status == "completed" else None,
    }


def _event(kind: str, number: int, **told: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number, **told})}\n\n".encode()


def _response_events(body: JSONObject) -> Iterator[bytes]:
    item, at = {"item_id": "msg_1", "output_index": 0}, {"content_index": 0}
    begun = {**_output_text("in_progress"), "content": []}
    yield _event("response.created", 0, response=_response(body, "in_progress"))
    yield _event("response.output_item.added", 1, output_index=0, item=begun)
    empty = {"type": "output_text", "text": "", "annotations": []}
    yield _event("response.content_part.added", 2, part=empty, **item, **at)
    yield _event("response.output_text.delta", 3, delta=TEXT, logprobs=[], **item, **at)
    yield _event("response.output_text.done", 4, text=TEXT, logprobs=[], **item, **at)
    yield _event("response.content_part.done", 5, part=_output_text()["content"][0], **item, **at)
    yield _event("response.output_item.done", 6, output_index=0, item=_output_text())
    yield _event("response.completed", 7, response=_response(body))


def _message(body: JSONObject, content: list[JSONObject] | None = None) -> JSONObject:
    if content is None and (tools := body.get("tools")):
        content = [{"type": "tool_use", "id": "toolu_1", "name": tools[0]["name"], "input": {"code": "BILL"}}]
    told = content if content is not None else [{"type": "text", "text": TEXT}]
    reason = "tool_use" if told and told[0]["type"] == "tool_use" else "end_turn"
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", "m"),
        "content": told,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 3},
    }


def _message_events(body: JSONObject) -> Iterator[bytes]:
    yield _event("message_start", 0, message={**_message(body, []), "stop_reason": None})
    yield _event("content_block_start", 1, index=0, content_block={"type": "text", "text": ""})
    yield _event("content_block_delta", 2, index=0, delta={"type": "text_delta", "text": TEXT})
    yield _event("content_block_stop", 3, index=0)
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _event("message_delta", 4, delta=ended, usage={"output_tokens": 3})
    yield _event("message_stop", 5)


def _completion(body: JSONObject) -> JSONObject:
    choice = {"index": 0, "text": TEXT, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {
        "id": "cmpl_1",
        "object": "text_completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


def _completion_events(body: JSONObject) -> Iterator[bytes]:
    yield f"data: {json.dumps(_completion(body))}\n\n".encode()
    yield b"data: [DONE]\n\n"


def _decision(body: JSONObject) -> JSONObject:
    answers = [{"type": "predicate", "name": None, "probability": 0.5} for _ in body["questions"]]
    return {"answers": answers, "model": body["model"], "usage": {**USAGE, **DETAILS}}


def _embeddings(body: JSONObject) -> JSONObject:
    one = {"object": "embedding", "index": 0, "embedding": [0.5]}
    return {"object": "list", "data": [one], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def _transcriptions(body: JSONObject) -> JSONObject:
    return {"text": "words"}


_ANSWERS = {
    "completions": lambda body: _chat(body) if "messages" in body else _completion(body),
    "responses": _response,
    "messages": _message,
    "decisions": _decision,
    "embeddings": _embeddings,
    "transcriptions": _transcriptions,
}
_STREAMS = {
    "completions": lambda body: _chat_events(body) if "messages" in body else _completion_events(body),
    "responses": _response_events,
    "messages": _message_events,
}
