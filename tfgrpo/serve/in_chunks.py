"""One long answer in bounded context, by a client of the SDK: each chunk is a call of its own.

The client may be any: ours, which adds the prior to each chunk, or one that is pointed at the proxy, which does so. A
chunk has the question, the first 100 tokens of the answer and its last m, as in rollouts (`rollouts/bounded.py`).
Tokens are counted by what the answer's characters have taken so far.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError, ModelError
from ..records import JSON, Backend, ChatBody, Message, Usage
from ..rollouts.bounded import added, bounds_of, carried, going_on
from ..settings import Settings
from ..surfaces.chat import token_estimate

if TYPE_CHECKING:
    import openai

_CHUNKS_SAY = ("max_tokens", "max_completion_tokens")
_OWNERS = {"llamacpp": "llama.cpp", "vllm": "vllm"}
_OF_VLLM = ("continue_final_message", "add_generation_prompt")
_REFUSED = {
    "stream": "the answer is put together from several",
    "tools": "a call of a tool cannot be cut",
    "n": "one answer goes on at a time",
}


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """What all chunks came to."""

    text: str
    finish_reason: str
    """Of the last chunk: `length` where there were not enough."""
    usage: Usage
    """Of all of them."""


def chat_in_chunks(client: "openai.OpenAI", bounded: str, **request: Any) -> WholeAnswer:
    """A chat completion in chunks of `CHUNK:CARRY:CHUNKS` tokens; `request` is that of `chat.completions.create`.

    Raises InputError for what cannot be cut into chunks, ModelError for an answer without text, and as the SDK does.
    """
    steps = _chunks(bounded, request)
    asked = next(steps)
    while True:
        try:
            asked = steps.send(client.chat.completions.create(**asked) if asked else _listed(client))
        except StopIteration as done:
            whole: WholeAnswer = done.value
            return whole


async def achat_in_chunks(client: "openai.AsyncOpenAI", bounded: str, **request: Any) -> WholeAnswer:
    """As `chat_in_chunks`, by an async client."""
    steps = _chunks(bounded, request)
    asked = next(steps)
    while True:
        try:
            asked = steps.send(await (client.chat.completions.create(**asked) if asked else _alisted(client)))
        except StopIteration as done:
            whole: WholeAnswer = done.value
            return whole


def _listed(client: "openai.OpenAI") -> Any:
    """The upstream's models; none where it has no list of them, as not every one has."""
    try:
        return client.models.list().data
    except Exception:  # whatever it is, the answer can go on as anywhere
        return ()


async def _alisted(client: "openai.AsyncOpenAI") -> Any:
    try:
        return (await client.models.list()).data
    except Exception:  # as above
        return ()


def _chunks(bounded: str, request: ChatBody) -> Generator[dict[str, Any] | None, Any, WholeAnswer]:
    """The requests, one for each chunk, each answered by a completion; what they came to. Pure.

    None, before the second chunk, asks for the upstream's models, to know what serves this one.
    """
    bounds = bounds_of(Settings(bounded=bounded).bounded or "")
    _check(request)
    plain = {name: value for name, value in request.items() if name not in _CHUNKS_SAY}
    limit = next((name for name in reversed(_CHUNKS_SAY) if name in request), _CHUNKS_SAY[0])
    text, usage, finish, known, work = "", Usage(), "length", None, ""
    for chunk in range(bounds.chunks):
        asked: dict[str, Any] = dict(plain)
        if chunk:
            known = known or _backend(request, (yield None))
            work = carried(text, bounds, _counting(usage.completion_tokens, text))
            asked = _for_sdk(going_on(plain, work, known))
        given = yield {**asked, limit: bounds.chunk - (bounds.carry if chunk else 0)}
        choice, used = given.choices[0], given.usage
        if choice.message.content is None:
            raise ModelError("a chunk has no text, so the answer cannot go on")
        text += added(choice.message.content, work)
        finish = str(choice.finish_reason)
        usage += Usage(1, used.prompt_tokens, used.completion_tokens) if used else Usage(1)
        if finish != "length":
            break
    return WholeAnswer(text, finish, usage)


def _counting(tokens: int, text: str) -> Callable[[str], int]:
    """How many tokens a text has, where this one took so many; estimated where the upstream counts none."""
    if not tokens:
        return token_estimate
    each = tokens / max(1, len(text))
    return lambda piece: round(len(piece) * each)


def _check(request: ChatBody) -> None:
    """Raise InputError for a request whose answer is no one text of a user's question."""
    for name, why in _REFUSED.items():
        if request.get(name) and not (name == "n" and request["n"] == 1):
            raise InputError(f"{name} goes with no answer in chunks: {why}")
    messages: list[Message] = list(request.get("messages") or ())
    if not any(message.get("role") == "user" for message in messages):
        raise InputError("the messages have none of a user, which a chunk could be given again")


def _for_sdk(body: ChatBody) -> dict[str, Any]:
    """The request with what the SDK does not know in `extra_body`."""
    extra: dict[str, JSON] = {name: body[name] for name in _OF_VLLM if name in body}
    known = {name: value for name, value in body.items() if name not in extra}
    return {**known, "extra_body": {**(body.get("extra_body") or {}), **extra}} if extra else known


def _backend(request: ChatBody, models: Any) -> Backend:
    """What serves the model, by the list of models."""
    owner = next((one.owned_by for one in models if one.id == request.get("model")), "")
    kind: Any = _OWNERS.get(owner, "other")
    return Backend(kind)
