"""SIMULATED upstreams that go on with an answer, each in its own form or in none, over HTTP. No language model.

What is written is fixed, and told in tokens of three bytes, so that chunks end within words, signs, blanks and
characters: half of one is told as U+FFFD.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfgrpo.records import JSON, ChatBody, GoesOn, Message, message_text
from tfgrpo.testing import _body, _Receive, _respond, _Scope, _Send

ASKED = "Write it all down."
LONG = "".join(f"Nr. {number:04d}: é漢🙂\n " for number in range(60)) + "Ende."
"""What is written when that is asked."""
_TEXTS = {ASKED: LONG, "Name the days": "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday."}
_PIECE = 3
_TAIL = 16
"""Characters by which the model sees how far it is."""
CHATS, TEXTS, TEMPLATE, TOKENS = "/v1/chat/completions", "/v1/completions", "/apply-template", "/tokenize"


@dataclass(slots=True)
class Continuing:
    """An upstream, by `app`."""

    form: str = ""
    """The one in which it goes on from an assistant's message; whatever stands beside it is passed over."""
    routes: tuple[str, ...] = ()
    """Those that are there beside that of chats."""
    strict: bool = False
    """What it does not know it refuses, and an assistant's message at the end that is not to be gone on from, or ends
    with a blank."""
    refusal: int = 400
    """The status of what it refuses."""
    echoes: bool = False
    """It says the message that it goes on from once more."""
    parrots: bool = False
    """The model answers anew with the very message that it has given, and goes on."""
    reasons: bool = False
    """It reasons out of sight before each answer."""
    empty: bool = False
    """It has nothing to say to what it is to go on from, and says that its tokens have ended."""
    requests: list[tuple[str, ChatBody]] = field(default_factory=list)
    """Route and body of each, those of the model's list aside."""

    refused: int = 0

    @property
    def chunks(self) -> list[ChatBody]:
        """The requests that answer what is asked, in order."""
        told = [body for route, body in self.requests if route in (CHATS, TEXTS)]
        return [body for body in told if ASKED in _shown(body)]

    async def app(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """The ASGI app."""
        raw = b"".join([chunk async for chunk in _body(receive)])
        if scope["path"] == "/v1/models":
            listed: JSON = {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "nobody"}]}
            await _respond(send, 200, json.dumps(listed).encode())
            return
        status, told = self._answer(scope["path"], json.loads(raw or b"{}"))
        self.refused += status != 200
        await _respond(send, status, json.dumps(told).encode())

    def _answer(self, route: str, body: ChatBody) -> tuple[int, JSON]:
        self.requests.append((route, body))
        if route == CHATS:
            return self._chat(body)
        if route not in self.routes:
            return 404, {"error": {"message": "no such route"}}
        if route == TEMPLATE:
            return 200, {"prompt": _rendered(body["messages"])}
        if route == TOKENS:
            text = _rendered(body["messages"]) if "messages" in body else body["prompt"]
            return 200, {"tokens": [ord(sign) for sign in text]}
        assert not {"messages", "max_completion_tokens", "chat_template_kwargs"} & set(body)
        prompt = body["prompt"]
        prompt = prompt if isinstance(prompt, str) else "".join(map(chr, prompt))
        asked, _, begun = prompt.rpartition("<assistant>")
        new, finish = self._cut(_rest(asked, begun), body)
        return 200, {"id": "c", "choices": [{"index": 0, "text": new, "finish_reason": finish}], "usage": _usage(new)}

    def _chat(self, body: ChatBody) -> tuple[int, JSON]:
        *before, last = body["messages"]
        ended = last["role"] == "assistant"
        wanted = {"message"} | {name for name in ("prefix", "continue_final_message") if name in {**body, **last}}
        goes_on = ended and self.form in wanted
        if self.strict and (refused := self._refused(body, last, goes_on=goes_on)):
            return self.refusal, {"error": {"message": refused}}
        begun, shown = (last["content"], before) if ended else ("", body["messages"])
        if "<work>" in last["content"]:
            begun = last["content"].partition("<work>\n")[2].partition("\n</work>")[0]
        text = _rest(_rendered(shown), begun if goes_on or "<work>" in last["content"] else "")
        text = begun + _rest(_rendered(shown), begun) if ended and self.parrots else text
        new, finish = ("", "length") if self.empty and (begun and ASKED in _rendered(shown)) else self._cut(text, body)
        said = begun + new if goes_on and self.echoes else new
        message = {"role": "assistant", "content": said, **({"reasoning_content": "Hm."} if self.reasons else {})}
        chosen = {"index": 0, "message": message, "finish_reason": finish}
        return 200, {"id": "c", "model": "m", "object": "chat.completion", "choices": [chosen], "usage": _usage(new)}

    def _refused(self, body: ChatBody, last: Message, *, goes_on: bool) -> str:
        if "continue_final_message" in body and self.form != "continue_final_message":
            return "continue_final_message is not permitted"
        if "prefix" in last and self.form != "prefix":
            return "prefix is not permitted"
        if last["role"] == "assistant" and not goes_on:
            return "the last message is to be that of a user"
        return "it ends with a blank" if goes_on and last["content"] != last["content"].rstrip() else ""

    def _cut(self, text: str, body: ChatBody) -> tuple[str, str]:
        most, written = _PIECE * int(body.get("max_tokens", body.get("max_completion_tokens", 10_000))), text.encode()
        return written[:most].decode(errors="replace"), "stop" if len(written) <= most else "length"


def _rest(asked: str, begun: str) -> str:
    """What is still to be written."""
    text = next(text for question, text in _TEXTS.items() if question in asked)
    tail = begun[-_TAIL:]
    return text[text.rindex(tail) + len(tail) :] if tail else text


def _rendered(messages: Sequence[Message]) -> str:
    return "".join(f"<{one['role']}>{message_text(one)}\n" for one in messages) + "<assistant>"


def _shown(body: ChatBody) -> str:
    prompt = body.get("prompt", "")
    return json.dumps(body.get("messages", [])) + (prompt if isinstance(prompt, str) else "".join(map(chr, prompt)))


def _usage(new: str) -> Mapping[str, Any]:
    tokens = -(-len(new.encode()) // _PIECE)
    return {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens}


_ALL = (TEXTS, TEMPLATE, TOKENS)
UPSTREAMS: Mapping[str, tuple[Callable[[], Continuing], GoesOn]] = {
    "final": (lambda: Continuing("continue_final_message"), "continue_final_message"),
    "prefix": (lambda: Continuing("prefix"), "prefix"),
    "prefix, strict, said again": (lambda: Continuing("prefix", strict=True, echoes=True), "prefix"),
    "message, prefix refused": (lambda: Continuing("message", strict=True), "message"),
    "message, said again": (lambda: Continuing("message", strict=True, echoes=True), "message"),
    "answered anew": (Continuing, "text"),
    "answered anew in the same words": (lambda: Continuing(parrots=True), "text"),
    "template": (lambda: Continuing(routes=(TEXTS, TEMPLATE)), "apply-template"),
    "template, all else refused": (lambda: Continuing(routes=_ALL, strict=True), "apply-template"),
    "tokens": (lambda: Continuing(routes=(TEXTS, TOKENS)), "tokenize"),
    "template alone": (lambda: Continuing(routes=(TEMPLATE, TOKENS)), "text"),
    "no template": (lambda: Continuing(routes=(TEXTS,)), "text"),
    "reasons out of sight": (lambda: Continuing("message", routes=_ALL, reasons=True), "text"),
}
"""What there is of them, and the way by which each goes on."""


def upstream_named(name: str) -> Continuing:
    """A new one of these."""
    return UPSTREAMS[name][0]()
