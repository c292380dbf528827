"""Long answers in bounded context: one call goes on as several, a chunk each, and its caller gets one answer.

As the client's `chat_in_chunks`, for chat completions that can be cut (`uncut` says which cannot). All chunks go to one
upstream and have one prior; to keys, figures and records they are one call. A chunk that fails is the answer to it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import partial
from typing import Any, TypeAlias

from ...errors import ModelError
from ...http1.answers import UpstreamAnswer
from ...records import JSON, Backend, ChatBody
from ...rollouts.bounded import NO_TEXT, Bounds, bounds_of
from ...rollouts.chunk_answers import ChunkSaid, as_chat, chunk_said
from ...rollouts.ways_on import CHAT, COMPLETIONS, ChunkRequest
from ...surfaces.http import STANDARD, Codec
from ..chunk_steps import written_in_chunks
from ..unpacking import unpacked
from .bodies import EXACT_CODECS
from .decide import read_whole
from .door import Refusal
from .limits import Limits
from .onward import OwnAnswer
from .uncut import most_wanted, why_whole

_WITHOUT = "a model that reasons out of sight goes without --bounded"


class Chunks:
    """One call whose answer is written in chunks."""

    def __init__(self, request: ChatBody, codec: Codec, bounds: Bounds, backend: Backend, most: int | None) -> None:
        """`most`: tokens that the caller wants at most."""
        self._codec, self._way = codec, ""
        self._steps = written_in_chunks(bounds, request, partial(_known, backend), most)
        self._asked = next(self._steps)
        self._usage: JSON = {}
        self._took = 0
        self._first: Any = None
        """The answer to the first chunk, whose form the whole one has."""

    @property
    def sent(self) -> bytes:
        """The request that comes next."""
        return self._codec.dumps(self._asked.body)

    def path(self, of_chats: bytes) -> bytes:
        """Where it goes, with the path of chat completions given."""
        if self._asked.is_aside:
            return self._asked.route.encode()
        return of_chats.removesuffix(CHAT.encode()) + COMPLETIONS.encode() if self._asked.route != CHAT else of_chats

    @property
    def told(self) -> str:
        """What the caller is told of them: how many there are, and by which way the answer went on."""
        return f"{self._took}; {self._way}" if self._way else str(self._took)

    @property
    def counted(self) -> bytes:
        """What all so far have cost, as answers tell it."""
        return STANDARD.dumps({"usage": self._usage}) if self._usage else b""

    async def written(
        self, response: UpstreamAnswer, go_on: Callable[[], Awaitable[UpstreamAnswer]], limits: Limits
    ) -> tuple[UpstreamAnswer, bytes, bool]:
        """The last answer of the upstream, what is in it, and whether that was put together here."""
        async with asyncio.timeout(limits.total):
            while True:
                try:
                    content = await read_whole(response, limits.response)
                finally:
                    response.close()
                if response.status != 200:
                    return response, content, False
                plain = unpacked(content, response.header(b"content-encoding"), limits.response) or content
                if (whole := self._taken(plain)) is not None:
                    return (response, whole, True) if self._took > 1 else (response, content, False)
                response = await go_on()

    def _taken(self, content: bytes) -> bytes | None:
        """The whole answer, if that was the last chunk; raises OwnAnswer for one that cannot go on."""
        if self._asked.is_aside:
            return self._next(_json(content))
        self._took += 1
        try:
            told: Any = STANDARD.loads(content)
            completion = told if self._asked.route == CHAT else as_chat(told)
            said = chunk_said(completion)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            if self._took == 1:
                return content
            raise OwnAnswer(_refusal("a chunk of the answer is no chat completion")) from error
        self._first = self._first or completion
        self._usage = _sum(self._usage, completion.get("usage") or {})
        if self._took == 1 and said.finish_reason != "length":
            return content
        return self._next(said)

    def _next(self, said: ChunkSaid | JSON) -> bytes | None:
        try:
            self._asked = self._steps.send(said)
        except StopIteration as done:
            whole, (choice, *_) = done.value, self._first["choices"]
            self._way = whole.way
            message = {**choice["message"], "content": whole.text}
            chosen = {**choice, "message": message, "finish_reason": whole.finish_reason}
            told = {**self._first, "choices": [chosen], "usage": self._usage}
            return STANDARD.dumps({name: value for name, value in told.items() if name != "timings"})
        except ModelError as error:
            raise OwnAnswer(_refusal(f"{error}; {_WITHOUT}" if str(error) == NO_TEXT else str(error))) from error
        return None


def _known(backend: Backend, _first: ChunkSaid) -> Generator[ChunkRequest, Any, Backend]:
    """What serves the model, of which nothing need be asked."""
    yield from ()
    return backend


def _json(content: bytes) -> JSON:
    try:
        return STANDARD.loads(content)
    except (ValueError, RecursionError):
        return None


def _refusal(message: str) -> Refusal:
    return Refusal(502, "upstream_chunk", message, "upstream_error")


def _sum(one: Any, other: Any) -> Any:
    """Two usages in one, whatever they count."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {name: _sum(one.get(name), other.get(name)) for name in {**one, **other}}
    numbers = all(isinstance(value, int | float) for value in (one, other))
    return one + other if numbers else one if other is None else other


Cut: TypeAlias = Callable[[bytes, Mapping[str, Backend], int], tuple[Chunks | None, str]]
"""Of a request for a chat completion the chunks, or none and why; one of over so many bytes is not read."""


def cutting(bounded: str) -> Cut:
    """What cuts answers by CHUNK:CARRY:CHUNKS in tokens."""
    return partial(_cut, bounds_of(bounded))


def _cut(bounds: Bounds, body: bytes, backends: Mapping[str, Backend], longest: int) -> tuple[Chunks | None, str]:
    if len(body) > longest:
        return None, "too long"
    for codec in EXACT_CODECS:
        try:
            request = codec.loads(body)
        except (ValueError, RecursionError):
            continue
        if reason := why_whole(request, bounds, backends):
            return None, reason
        return Chunks(request, codec, bounds, backends[request["model"]], most_wanted(request)), ""
    return None, "shape"
