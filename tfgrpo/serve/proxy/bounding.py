"""Long answers in bounded context: one call goes on as several, a chunk each, and its caller gets one answer.

As the client's `chat_in_chunks`, for chat completions that can be cut (`uncut` says which cannot). All chunks go to one
upstream and have one prior; to keys, figures and records they are one call. A chunk that fails is the answer to it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

from ...errors import ModelError
from ...http1.answers import UpstreamAnswer
from ...records import JSON, Backend, ChatBody, Usage
from ...rollouts.bounded import Bounds, bounds_of
from ...surfaces.http import STANDARD, Codec
from ..in_chunks import ChunkSaid, written_in_chunks
from ..unpacking import unpacked
from .bodies import EXACT_CODECS
from .decide import read_whole
from .door import Refusal
from .limits import Limits
from .onward import OwnAnswer
from .uncut import most_wanted, why_whole


class Chunks:
    """One call whose answer is written in chunks."""

    def __init__(self, request: ChatBody, codec: Codec, bounds: Bounds, backend: Backend, most: int | None) -> None:
        """`most`: tokens that the caller wants at most."""
        self._codec, self._steps = codec, written_in_chunks(bounds, request, backend, most)
        self.sent: bytes = codec.dumps(next(self._steps))
        """The request for the next chunk."""
        self._usage: JSON = {}
        self._took = 0

    @property
    def told(self) -> str:
        """What the caller is told of them: how many there are."""
        return str(self._took)

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
        self._took += 1
        try:
            completion: Any = STANDARD.loads(content)
            choice = completion["choices"][0]
            said = _said(choice, completion.get("usage"))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            if self._took == 1:
                return content
            raise OwnAnswer(_refusal("a chunk of the answer is no chat completion")) from error
        self._usage = _sum(self._usage, completion.get("usage") or {})
        if self._took == 1 and said.finish_reason != "length":
            return content
        try:
            self.sent = self._codec.dumps(self._steps.send(said))
        except StopIteration as done:
            message = {**choice["message"], "content": done.value.text}
            told = {**completion, "choices": [{**choice, "message": message}], "usage": self._usage}
            return STANDARD.dumps({name: value for name, value in told.items() if name != "timings"})
        except ModelError as error:
            raise OwnAnswer(_refusal(f"{error}; a model that reasons out of sight goes without --bounded")) from error
        return None


def _refusal(message: str) -> Refusal:
    return Refusal(502, "upstream_chunk", message, "upstream_error")


def _said(choice: Any, used: Any) -> ChunkSaid:
    text = choice["message"].get("content")
    usage = Usage(1, used["prompt_tokens"], used["completion_tokens"]) if used else None
    return ChunkSaid(text if isinstance(text, str) else None, str(choice["finish_reason"]), usage)


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
