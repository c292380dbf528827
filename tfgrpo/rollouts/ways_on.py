"""The ways in which an upstream goes on with an answer that it is given the beginning of, and how it is tried which.

One table of ways. What is sent is said in steps (`ChunkRequest`), so that a run, a client of the SDK and the proxy go
the same way, each with its own means of sending. No I/O.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..errors import ModelError
from ..prompts import template
from ..records import JSON, Backend, ChatBody, GoesOn, Message, message_text

CHAT, COMPLETIONS = "/chat/completions", "/completions"
_ASSISTANT: Message = {"role": "assistant"}
AS_TEXT: GoesOn = "text"
"""The name of what is no going on: the answer so far stands behind the question."""


@dataclass(frozen=True, slots=True)
class WayOn:
    """One form of request that an answer goes on by."""

    told: str
    """For people."""
    mark: Mapping[str, JSON] = field(default_factory=dict)
    """Fields of the last message, which holds the answer so far."""
    fields: Mapping[str, JSON] = field(default_factory=dict)
    """Fields of the request."""
    template: str = ""
    """The route at the server's root that gives the prompt which the answer so far stands behind; empty: by chat."""
    repeats: bool = False
    """It may say the answer so far again before it goes on."""


WAYS_ON: Mapping[GoesOn, WayOn] = {
    "continue_final_message": WayOn(
        "it goes on from an assistant's message, by continue_final_message",
        fields={"continue_final_message": True, "add_generation_prompt": False},
    ),
    "prefix": WayOn('it goes on from an assistant\'s message with "prefix": true', {"prefix": True}, repeats=True),
    "message": WayOn("it goes on from an assistant's message", repeats=True),
    "apply-template": WayOn("by /completions, with the template of /apply-template", template="/apply-template"),
    "tokenize": WayOn("by /completions, with the template's tokens of /tokenize", template="/tokenize"),
}
"""In the order in which they are tried: what is said outright first, for what is not understood is often passed over;
chat before text, for it keeps what a server does to answers."""
_KNOWN_FOR: Mapping[str, GoesOn] = {"llama.cpp": "message", "vllm": "continue_final_message"}
"""What servers go on by, as they are known; it is tried first."""


def way_on(backend: Backend) -> GoesOn:
    """The name of the way by which a backend goes on: what was tried, else what its software is known for."""
    return backend.goes_on or _KNOWN_FOR.get(backend.kind, AS_TEXT)


def goes_on_in_chat(backend: Backend) -> bool:
    """Whether it goes on by a chat completion alone."""
    way = WAYS_ON.get(way_on(backend))
    return way is not None and not way.template


def way_told(way: GoesOn) -> str:
    """How an answer goes on, for people."""
    return WAYS_ON[way].told if way in WAYS_ON else "the answer so far stands as text behind the question"


class ChunkRequest(NamedTuple):
    """A request on the way to a chunk."""

    route: str
    """Below the base URL for completions; at the server's root for templates."""
    body: ChatBody
    bare: bool = False
    """It is only tried: no prior is to be added to it on the way, and it may be refused."""

    @property
    def is_aside(self) -> bool:
        """Whether its answer is JSON that is needed before the model can be asked, or None where there is none."""
        return self.route not in (CHAT, COMPLETIONS)


def unless_reasoned(backend: Backend, *, reasoned: bool) -> Backend:
    """The backend, which is not gone on with where it reasoned out of sight: its text is not all that it wrote."""
    return replace(backend, goes_on=AS_TEXT) if reasoned else backend


# How a chunk is asked for

_OF_CHAT = frozenset((
    "messages", "max_completion_tokens", "logprobs", "top_logprobs", "response_format", "tools", "tool_choice",
    "parallel_tool_calls", "chat_template", "chat_template_kwargs", "reasoning_effort", "stream_options",
))  # fmt: skip
"""Fields of a chat completion that a completion of a text has not."""
_OF_TEMPLATES = ("model", "messages", "chat_template", "chat_template_kwargs")


def steps_on(body: ChatBody, work: str, backend: Backend, answer: str) -> Generator[ChunkRequest, JSON, ChunkRequest]:
    """The request for the next chunk of an answer so far, of which `work` was carried over; what it needs comes first.

    Raises ModelError where a template cannot be had.
    """
    name = way_on(backend)
    way = WAYS_ON.get(name)
    if way is None or (way.template and any(_beside_text(message.get("content")) for message in body["messages"])):
        return ChunkRequest(CHAT, _with_text(body, work, answer))
    if not way.template:
        return ChunkRequest(CHAT, going_on(body, work, backend))
    asked = {each: body[each] for each in _OF_TEMPLATES if each in body}
    prompt: JSON
    if name == "tokenize":
        begun = _ids((yield ChunkRequest(way.template, {**asked, "add_generation_prompt": True})))
        plain = {"model": body["model"], "prompt": work, "add_special_tokens": False}
        prompt = [*begun, *_ids((yield ChunkRequest(way.template, plain)))]
    else:
        told = yield ChunkRequest(way.template, asked)
        prompt = told.get("prompt") if isinstance(told, Mapping) else None
        if not isinstance(prompt, str) or not prompt:
            raise ModelError(f"{way.template} gives no prompt")
        prompt += work
    limit = {"max_tokens": body["max_completion_tokens"]} if "max_completion_tokens" in body else {}
    return ChunkRequest(
        COMPLETIONS, {**{k: v for k, v in body.items() if k not in _OF_CHAT}, **limit, "prompt": prompt}
    )


def _ids(told: JSON) -> Sequence[int]:
    tokens = told.get("tokens") if isinstance(told, Mapping) else None
    if isinstance(tokens, list) and tokens and all(type(token) is int for token in tokens):
        return tokens
    raise ModelError("/tokenize gives no tokens")


def going_on(body: ChatBody, work: str, backend: Backend) -> ChatBody:
    """The request for what comes after `work`, by chat; for backends that go on in it."""
    way = WAYS_ON[way_on(backend)]
    begun = {**_ASSISTANT, "content": _sent(work, backend), **way.mark}
    return {**body, **way.fields, "messages": [*body["messages"], begun]}


def _with_text(body: ChatBody, work: str, answer: str) -> ChatBody:
    messages: Sequence[Message] = body["messages"]
    place = max(at for at, message in enumerate(messages) if message.get("role") == "user")
    told = template("goes_on").render(
        question=message_text(messages[place]), work=work, gap=", without its middle part" if work != answer else ""
    )
    others = _beside_text(messages[place].get("content"))
    content = [*others, {"type": "text", "text": told}] if others else told  # images stay what they are
    return {**body, "messages": [*messages[:place], {**messages[place], "content": content}, *messages[place + 1 :]]}


def _beside_text(content: JSON) -> list[JSON]:
    """The parts of a message's content that are no text."""
    parts = content if isinstance(content, list) else []
    return [one for one in parts if isinstance(one, Mapping) and one.get("type") != "text"]


def _sent(work: str, backend: Backend) -> str:
    """The answer so far as it is sent: hosted APIs refuse blanks at its end, which the model writes again."""
    return work.rstrip() or work if _drops_blanks(backend) else work


def _drops_blanks(backend: Backend) -> bool:
    return way_on(backend) in ("message", "prefix") and backend.kind != "llama.cpp"


def added(said: str, work: str, backend: Backend) -> str:
    """What a chunk adds: where the work may be said again, as by who is told it as text, that is taken off."""
    name = way_on(backend)
    if name in WAYS_ON and not WAYS_ON[name].repeats:
        return said
    begun = next((given for given in (work, work.rstrip(), work.strip()) if given and said.startswith(given)), "")
    new = said[len(begun) :]
    return new.removeprefix(work[len(_sent(work, backend)) :]) if begun != work and _drops_blanks(backend) else new
