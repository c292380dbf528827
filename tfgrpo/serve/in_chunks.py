"""One long answer in bounded context, by a client of the SDK: each chunk is a call of its own.

The client may be any: ours, which adds the prior to each chunk, or one that is pointed at the proxy, which does so. A
chunk has the question, the first 100 tokens of the answer and its last m, as in rollouts (`rollouts/bounded.py`).
Tokens are counted by what the answer's characters have taken so far. The proxy goes the same way
(`serve/proxy/bounding.py`). How the upstream goes on is tried once for each client and model, as `tfgrpo probe` does,
before the second chunk; where a prior is added on the way, by chat alone: a text completion would go without it.
"""

import re
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from ..errors import InputError, ModelError
from ..probe.backend import SHORT
from ..probe.goes_on import tried
from ..records import Backend, ChatBody, Message
from ..rollouts.bounded import bounds_of
from ..rollouts.chunk_answers import ChunkSaid, as_chat, chunk_said
from ..rollouts.uncuttable import refuse_uncuttable
from ..rollouts.ways_on import CHAT, ChunkRequest
from ..settings import Settings
from ..surfaces.http import NO_PRIOR, PRIOR_HEADER
from .chunk_steps import CHUNKS_SAY, WholeAnswer, limit_name, written_in_chunks

if TYPE_CHECKING:
    import openai

_OWNERS = {"llamacpp": "llama.cpp", "vllm": "vllm"}
_MODELS = "/models"
_OF_SDK = {"extra_headers": "headers", "extra_query": "params", "timeout": "timeout"}
"""Arguments of the SDK's methods that are no part of a request, and what they are called as options of one."""
_SLOWER = 429
_OF_CHATS = ("model", "messages")
"""Arguments that a chat completion has in any case; the SDK is given all others as they are."""
_Ways: TypeAlias = dict[tuple[str, bool], Backend]
"""How models go on, by their names and whether a prior is added to what they are asked."""
_known: "WeakKeyDictionary[Any, _Ways]" = WeakKeyDictionary()


def chat_in_chunks(client: "openai.OpenAI", bounded: str, **request: Any) -> WholeAnswer:
    """A chat completion in chunks of `CHUNK:CARRY:CHUNKS` tokens; `request` is that of `chat.completions.create`.

    A limit on tokens in it is one on the whole answer.

    Raises InputError for what cannot be cut into chunks, ModelError for an answer that is none or has no text, and as
    the SDK does.
    """
    steps, told = _of_client(client, bounded, request), None
    while True:
        try:
            asked = steps.send(told)
        except StopIteration as done:
            whole: WholeAnswer = done.value
            return whole
        try:
            told = _said(asked, _sent(client, asked, request))
        except Exception as error:
            told = _refused(asked, error)


async def achat_in_chunks(client: "openai.AsyncOpenAI", bounded: str, **request: Any) -> WholeAnswer:
    """As `chat_in_chunks`, by an async client."""
    steps, told = _of_client(client, bounded, request), None
    while True:
        try:
            asked = steps.send(told)
        except StopIteration as done:
            whole: WholeAnswer = done.value
            return whole
        try:
            told = _said(asked, await _sent(client, asked, request))
        except Exception as error:
            told = _refused(asked, error)


# Pure, but for what is remembered


def _of_client(client: Any, bounded: str, request: ChatBody) -> Generator[ChunkRequest, Any, WholeAnswer]:
    if not bounded:
        raise InputError("say how long chunks are, as CHUNK:CARRY:CHUNKS in tokens: 256:128:8")
    bounds = bounds_of(Settings(bounded=bounded).bounded or "")
    fields = {name: value for name, value in request.items() if name not in (*_OF_SDK, "extra_body")}
    fields |= request.get("extra_body") or {}
    _check(fields)
    wanted = [fields[name] for name in CHUNKS_SAY if isinstance(fields.get(name), int)]
    ways = _known.setdefault(client, {})
    return written_in_chunks(bounds, fields, lambda first: _found(fields, first, ways), min(wanted, default=None))


def _found(fields: ChatBody, first: ChunkSaid, ways: _Ways) -> Generator[ChunkRequest, Any, Backend]:
    """How the model goes on: as its server is known for, else as is tried; not at all where it reasons out of sight."""
    place = fields["model"], first.biased
    if first.reasoned:
        return Backend()
    if place not in ways:
        listed = yield ChunkRequest(_MODELS, {})
        owner = next((one.owned_by for one in listed or () if one.id == fields["model"]), "")
        kind: Any = _OWNERS.get(owner, "other")
        backend = Backend(kind)
        if kind == "other":
            asked = {name: value for name, value in fields.items() if name not in CHUNKS_SAY}
            cold = {"temperature": 0.0} if "temperature" in fields else {}  # some models refuse it
            body = {**asked, **cold, limit_name(fields): SHORT}
            trials = tried(body, backend, first=first, templates=not first.biased)
            backend = replace(backend, goes_on=(yield from _bare(trials)))
        ways[place] = backend
    return ways[place]


def _bare(trials: Generator[ChunkRequest, Any, Any]) -> Generator[ChunkRequest, Any, Any]:
    """The same, with no prior added to what is tried."""
    told = None
    while True:
        try:
            asked = trials.send(told)
        except StopIteration as done:
            return done.value
        told = yield asked._replace(bare=True)


def _check(request: ChatBody) -> None:
    """Raise InputError for a request whose answer is no one text of a user's question."""
    refuse_uncuttable(request, "")
    if request.get("n") not in (None, 1):
        raise InputError("n goes with no answer in chunks: one answer goes on at a time")
    for name in CHUNKS_SAY:
        most = request.get(name)
        if isinstance(most, int | float | str) and (type(most) is not int or most < 1):
            raise InputError(f"{name} is {most!r}; it must be a whole number from 1 on")
    messages: list[Message] = list(request.get("messages") or ())
    if not any(message.get("role") == "user" for message in messages):
        raise InputError("the messages have none of a user, which a chunk could be given again")


# By the SDK


def _sent(client: Any, asked: ChunkRequest, request: ChatBody) -> Any:
    """What the SDK gives for a request; of an async client, what is to be awaited for it."""
    if asked.route == _MODELS:
        return client.models.list()
    options = {name: request[name] for name in _OF_SDK if name in request}
    if asked.bare:
        options["extra_headers"] = {**(options.get("extra_headers") or {}), PRIOR_HEADER: NO_PRIOR}
    if asked.route == CHAT:
        rest = {name: value for name, value in asked.body.items() if name not in _OF_CHATS}
        own = {name: asked.body[name] for name in _OF_CHATS}
        return client.chat.completions.with_raw_response.create(**own, **options, extra_body=rest)
    base = client.base_url
    root = re.sub(r"(/v1)?/?$", "", base.path) if asked.is_aside else base.path.rstrip("/")
    url = str(base.copy_with(path=f"{root}{asked.route}"))
    renamed = {_OF_SDK[name]: value for name, value in options.items()}
    return client.post(url, cast_to=object, body=asked.body, options=renamed)


def _said(asked: ChunkRequest, given: Any) -> Any:
    """What the steps are answered."""
    if asked.route == _MODELS:
        return given.data
    if asked.is_aside:
        return given
    try:
        if asked.route != CHAT:
            return chunk_said(as_chat(given))
        biased = given.headers.get(PRIOR_HEADER, NO_PRIOR) != NO_PRIOR
        return chunk_said(given.parse().model_dump())._replace(biased=biased)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError("a chunk of the answer is no chat completion") from error


def _refused(asked: ChunkRequest, error: Exception) -> None:
    """Raise what a chunk failed with; what is only tried may be refused, or answered by what is none, and not every
    upstream lists its models. Who is told to wait does not know yet how it goes on."""
    status = getattr(error, "status_code", _SLOWER)
    refused = status != _SLOWER or isinstance(error, ModelError | ValueError | RecursionError)  # these of JSON
    if not (asked.route == _MODELS or (refused and (asked.bare or asked.is_aside))):
        raise error
