"""One long answer in bounded context, by a client of the SDK: each chunk is a call of its own.

The client may be any: ours, which adds the prior to each chunk, or one that is pointed at the proxy, which does so. A
chunk has the question, the first 100 tokens of the answer and its last m, as in rollouts (`rollouts/bounded.py`).
Tokens are counted by what the answer's characters have taken so far. The proxy goes the same way
(`serve/proxy/bounding.py`).
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError, ModelError
from ..records import JSON, Backend, ChatBody, Message, Usage
from ..rollouts.bounded import NO_TEXT, Bounds, added, bounds_of, carried, going_on
from ..rollouts.uncuttable import refuse_uncuttable
from ..settings import Settings
from ..surfaces.chat import token_estimate

if TYPE_CHECKING:
    import openai

_CHUNKS_SAY = ("max_tokens", "max_completion_tokens")
_OWNERS = {"llamacpp": "llama.cpp", "vllm": "vllm"}
_OF_VLLM = ("continue_final_message", "add_generation_prompt")


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """What all chunks came to."""

    text: str
    finish_reason: str
    """Of the last chunk: `length` where there were not enough."""
    usage: Usage
    """Of all of them."""


class ChunkSaid(NamedTuple):
    """What the answer to one chunk's request says."""

    text: str | None
    finish_reason: str
    usage: Usage | None = None
    """None: the upstream counts none."""


def chat_in_chunks(client: "openai.OpenAI", bounded: str, **request: Any) -> WholeAnswer:
    """A chat completion in chunks of `CHUNK:CARRY:CHUNKS` tokens; `request` is that of `chat.completions.create`.

    A limit on tokens in it is one on the whole answer.

    Raises InputError for what cannot be cut into chunks, ModelError for an answer without text, and as the SDK does.
    """
    steps = _of_client(bounded, request)
    asked = next(steps)
    while True:
        try:
            asked = steps.send(_said(client.chat.completions.create(**_for_sdk(asked))) if asked else _listed(client))
        except StopIteration as done:
            whole: WholeAnswer = done.value
            return whole


async def achat_in_chunks(client: "openai.AsyncOpenAI", bounded: str, **request: Any) -> WholeAnswer:
    """As `chat_in_chunks`, by an async client."""
    steps = _of_client(bounded, request)
    asked = next(steps)
    while True:
        try:
            if asked:
                asked = steps.send(_said(await client.chat.completions.create(**_for_sdk(asked))))
            else:
                asked = steps.send(await _alisted(client))
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


def _of_client(bounded: str, request: ChatBody) -> Generator[ChatBody | None, Any, WholeAnswer]:
    if not bounded:
        raise InputError("say how long chunks are, as CHUNK:CARRY:CHUNKS in tokens: 256:128:8")
    bounds = bounds_of(Settings(bounded=bounded).bounded or "")
    extra = request.get("extra_body") or {}
    limits = {name: extra[name] for name in _CHUNKS_SAY if name in extra}  # the SDK would put them over each chunk's
    if limits:
        left = {name: value for name, value in extra.items() if name not in limits}
        request = {**request, **limits, "extra_body": left}
    _check(request)
    wanted = [request[name] for name in _CHUNKS_SAY if isinstance(request.get(name), int)]
    return written_in_chunks(bounds, request, most=min(wanted, default=None))


def _said(completion: Any) -> ChunkSaid:
    choice, used = completion.choices[0], completion.usage
    usage = Usage(1, used.prompt_tokens, used.completion_tokens) if used else None
    return ChunkSaid(choice.message.content, str(choice.finish_reason), usage)


def written_in_chunks(
    bounds: Bounds, request: ChatBody, backend: Backend | None = None, most: int | None = None
) -> Generator[ChatBody | None, Any, WholeAnswer]:
    """The requests, one for each chunk, each answered by what was `ChunkSaid`; what they came to. Pure.

    Without a `backend` None, before the second chunk, asks for the upstream's models, to know what serves this one.
    `most`: tokens that the whole answer may have.
    """
    plain = {name: value for name, value in request.items() if name not in _CHUNKS_SAY}
    limit = next((name for name in reversed(_CHUNKS_SAY) if name in request), _CHUNKS_SAY[0])
    text, usage, finish, work, spent = "", Usage(), "length", "", 0
    for chunk in range(bounds.chunks):
        asked: ChatBody = plain
        if chunk:
            backend = backend or _backend(request, (yield None))
            work = carried(text, bounds, _counting(usage.completion_tokens, text))
            asked = going_on(plain, work, backend, text)
        room = bounds.room(chunk) if most is None else min(bounds.room(chunk), most - spent)
        said: ChunkSaid = yield {**asked, limit: room}
        finish = said.finish_reason
        if said.text is None or not (said.text or chunk or finish != "length"):
            raise ModelError(NO_TEXT)
        text += added(said.text, work, backend) if backend else said.text
        usage += said.usage or Usage(1)
        spent += (said.usage.completion_tokens if said.usage else 0) or room
        if finish != "length" or (most is not None and spent >= most):
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
    refuse_uncuttable({**request, **(request.get("extra_body") or {})}, "")
    if request.get("n") not in (None, 1):
        raise InputError("n goes with no answer in chunks: one answer goes on at a time")
    for name in _CHUNKS_SAY:
        most = request.get(name)
        if isinstance(most, int | float | str) and (type(most) is not int or most < 1):
            raise InputError(f"{name} is {most!r}; it must be a whole number from 1 on")
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
