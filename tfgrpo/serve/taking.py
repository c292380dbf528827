"""A copy of what passes through: the request and the answer of a call that is recorded, made off the call's path."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from ..store import Inference
from .recording import BODY_BYTES


def take(call: Inference, request: Any, response: Any, keep: Callable[[Callable[[], Inference]], None]) -> None:
    """Have a call kept, with the request and the answer, once that is whole.

    An answer that nobody reads to its end is kept as far as it was read.
    """
    made = partial(_whole, call, request, response)
    if response.is_closed:
        keep(partial(made, None))
    else:
        library = type(response).__module__.partition(".")[0]
        response.stream = _taken(library)(response.stream, lambda raw: keep(partial(made, raw)))


def _whole(call: Inference, request: Any, response: Any, raw: bytes | None) -> Inference:
    if raw is not None:  # as it came; the library knows how to unpack it
        response = type(response)(response.status_code, headers=response.headers, content=raw)
    answer = response.text if len(response.content) <= BODY_BYTES else ""
    return replace(call, request=_text(request.content), response=answer)


def _text(content: bytes) -> str:
    return content.decode(errors="replace") if len(content) <= BODY_BYTES else ""


class _Taken:
    """A response's stream, blocking or async, that copies what is read of it."""

    def __init__(self, inner: Any, done: Callable[[bytes], None]) -> None:
        self._inner, self._done = inner, done
        self._read = bytearray()
        self._told = False

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._inner:
            self._copy(chunk)
            yield chunk
        self._tell()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._copy(chunk)
            yield chunk
        self._tell()

    def close(self) -> None:
        self._tell()
        self._inner.close()

    async def aclose(self) -> None:
        self._tell()
        await self._inner.aclose()

    def _copy(self, chunk: bytes) -> None:
        if len(self._read) <= BODY_BYTES:
            self._read += chunk

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._done(bytes(self._read))


@lru_cache
def _taken(name: str) -> type[Any]:
    """The same as a stream of the library that a response is of, which accepts no others."""
    library: Any = sys.modules[name]
    return type("Taken", (_Taken, library.SyncByteStream, library.AsyncByteStream), {})
