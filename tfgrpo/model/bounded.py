"""What an endpoint may send: so many bytes and no more, packed or not, and no redirect to another host.

The client keeps what it gets in memory, so a bound on the bytes that travel is none on those that gzip unpacks to.
"""

import zlib
from collections.abc import AsyncIterator

from .library import http

MOST_OF_ONE = 64_000_000
"""Of one response, unpacked: a thousand answers with 20 log-probabilities for each of their tokens."""


def bound(client: http.AsyncClient) -> http.AsyncClient:
    """The same client, which refuses larger responses and redirects to other hosts."""
    client.headers["accept-encoding"] = "gzip, deflate"
    client.event_hooks = {**client.event_hooks, "response": [*client.event_hooks["response"], _check]}
    return client


async def _check(response: http.Response) -> None:
    """Raises RemoteProtocolError, which is told as no connection, where a redirect leads elsewhere or to the open."""
    if response.has_redirect_location:
        there = response.url.join(response.headers["location"])
        if there.host != response.url.host:
            raise http.RemoteProtocolError(f"it redirects to another host, {there.host}", request=response.request)
        if response.url.scheme == "https" != there.scheme:
            raise http.RemoteProtocolError("it redirects to a connection without TLS", request=response.request)
    packed = response.headers.get("content-encoding", "").strip().lower()
    if packed in ("gzip", "x-gzip", "deflate"):
        del response.headers["content-encoding"]
    response.stream = _Bounded(response, packed)


class _Bounded(http.AsyncByteStream):
    """A response's bytes, unpacked; too many of them are an error."""

    def __init__(self, response: http.Response, packed: str) -> None:
        self._inner, self._request = response.stream, response.request
        self._unpack = zlib.decompressobj(wbits=47) if packed in ("gzip", "x-gzip", "deflate") else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_OF_ONE
        async for chunk in self._inner:  # type: ignore[union-attr]  # of an async client it is async
            plain = chunk
            if self._unpack:
                try:
                    plain = self._unpack.decompress(chunk, left + 1)
                except zlib.error as error:
                    raise http.DecodingError(f"not what it says it is ({error})", request=self._request) from error
            left -= len(plain)
            if left < 0:
                raise http.DecodingError(f"more than {MOST_OF_ONE:,} bytes", request=self._request)
            yield plain

    async def aclose(self) -> None:
        """Close what is below."""
        await self._inner.aclose()  # type: ignore[union-attr]  # of an async client it is async
