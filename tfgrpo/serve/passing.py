"""A response's stream on its way to the caller, blocking or async: what is read of it can be looked at as it passes."""

import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from typing import Any

_ID = re.compile(rb'"id"\s*:\s*"([^"\\]{1,200})"')
_BEGINNING = 4_096
"""Bytes in which the id of what is streamed stands, if it has one."""


class _Passing:
    """The same stream, whose chunks are shown on the way, and of which it is told once that it is over or let go of."""

    def __init__(self, inner: Any, see: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self._inner, self._see, self._end = inner, see, end
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._inner:
            self._see(chunk)
            yield chunk
        self._over()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._see(chunk)
            yield chunk
        self._over()

    def close(self) -> None:
        self._over()
        self._inner.close()

    async def aclose(self) -> None:
        self._over()
        await self._inner.aclose()

    def _over(self) -> None:
        if not self._ended:
            self._ended = True
            self._end()


def look_at(response: Any, see: Callable[[bytes], None], end: Callable[[], None] = lambda: None) -> None:
    """Show each chunk of a response's stream on its way, and its end."""
    library = type(response).__module__.partition(".")[0]
    response.stream = _passing(library)(response.stream, see, end)


@lru_cache
def _passing(name: str) -> type[Any]:
    """A stream of the library that a response is of, which accepts no others."""
    library: Any = sys.modules[name]
    return type("Passing", (_Passing, library.SyncByteStream, library.AsyncByteStream), {})


class StreamedId:
    """Looks for the id that a stream gives to what is streamed (`chatcmpl-...`, `resp_...`), and tells it once."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._read: bytes | None = b""

    def __call__(self, chunk: bytes) -> None:
        """One more chunk."""
        if self._read is None:
            return
        self._read += chunk
        if found := _ID.search(self._read):
            self._tell(found[1].decode(errors="replace"))
        if found or len(self._read) > _BEGINNING:
            self._read = None
