"""A response's stream on its way to the caller, blocking or async: what is read of it can be looked at as it passes."""

import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from typing import Any

_ID = re.compile(rb'"id"\s*:\s*"([^"\\]{1,200})"')
_WHOLE = 1_000_000
"""Bytes of a response that is looked at whole."""
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


class _Changing:
    """A stream whose chunks become others on the way."""

    def __init__(self, inner: Any, feed: Callable[[bytes], bytes], end: Callable[[], bytes]) -> None:
        self._inner, self._feed, self._end = inner, feed, end

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._inner:
            if changed := self._feed(chunk):
                yield changed
        if rest := self._end():
            yield rest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            if changed := self._feed(chunk):
                yield changed
        if rest := self._end():
            yield rest

    def close(self) -> None:
        self._inner.close()

    async def aclose(self) -> None:
        await self._inner.aclose()


def change(response: Any, feed: Callable[[bytes], bytes], end: Callable[[], bytes]) -> None:
    """Have each chunk of a response's stream become another on its way; `end` gives what is left."""
    response.stream = _made("Changing", _Changing, _library(response))(response.stream, feed, end)


def look_at(response: Any, see: Callable[[bytes], None], end: Callable[[], None] = lambda: None) -> None:
    """Show each chunk of a response's stream on its way, and its end."""
    response.stream = _made("Passing", _Passing, _library(response))(response.stream, see, end)


def _library(response: Any) -> str:
    return type(response).__module__.partition(".")[0]


@lru_cache
def _made(name: str, kind: type[Any], of: str) -> type[Any]:
    """A stream of the library that a response is of, which accepts no others."""
    library: Any = sys.modules[of]
    return type(name, (kind, library.SyncByteStream, library.AsyncByteStream), {})


def look_at_all(response: Any, tell: Callable[[bytes], None]) -> None:
    """Tell the whole content of a response once that is there, unpacked; nothing where it is very long, or cut."""
    if response.is_closed:
        tell(response.content)
        return
    read = bytearray()

    def see(chunk: bytes) -> None:
        if len(read) <= _WHOLE:
            read.extend(chunk)

    def end() -> None:
        if len(read) > _WHOLE:
            return
        try:  # as it came; the library knows how to unpack it
            content = type(response)(response.status_code, headers=response.headers, content=bytes(read)).content
        except Exception:  # it was let go of before its end, or is not packed as it says: that is its caller's to see
            return
        tell(content)

    look_at(response, see, end)


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
