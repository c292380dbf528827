"""The vector of what a call asks, from the upstream that the call goes to."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from ...http1.answers import AnswerBroken
from ..asked_vectors import VECTOR_SECONDS, VECTORS, WantedVector, asked_text, embeddings_path
from .asked import RequestBody
from .bodies import EXACT_CODECS, hollowed
from .decide import read_whole
from .head import Head
from .headers import CREDENTIALS, with_key
from .onward import Onward, OwnAnswer
from .relay import RelayTarget

_GO_ALONG = (*CREDENTIALS, "openai-organization", "openai-project")
"""The caller's headers that such a request has too."""
_MOST = 2_000_000
"""Bytes of an answer."""


class FoundVector(NamedTuple):
    """What became of the search for one."""

    vector: str = ""
    """In the compact form; empty: trigrams choose."""
    notice: str | None = None
    """What a person should be told, once."""


async def vector_for_call(
    onward: Onward, target: RelayTarget, head: Head, body: RequestBody, model: str, *, own_key: bool, most: int
) -> FoundVector:
    """The vector of what a body asks, by an embedding model; at most so many bytes beside long strings are parsed.

    `own_key`: the caller came with a key of ours, which is not the upstream's to know.
    """
    content = hollowed(body.plain).content
    path = embeddings_path(head.raw_path.decode("latin-1"), model)
    text = asked_text(content, head.path, EXACT_CODECS) if path and len(content) <= most else ""
    if path is None or not text.strip():
        return FoundVector()
    wanted = WantedVector(f"{target.base} {path}", model, text)
    if (known := VECTORS.known(wanted)) is not None:
        return FoundVector(known)
    there = head._replace(path=path, raw_path=path.encode("latin-1"))
    status, answer = await _asked(onward, target, there, _headers(target, head, own_key=own_key), wanted.content)
    return FoundVector(*VECTORS.take(wanted, status, answer))


def _headers(target: RelayTarget, head: Head, *, own_key: bool) -> Sequence[tuple[bytes, bytes]]:
    dropped = CREDENTIALS if own_key else ()
    along = [line for line in head.lines if (name := line[0].decode("latin-1")) in _GO_ALONG and name not in dropped]
    headers = [*along, (b"content-type", b"application/json"), (b"accept", b"application/json")]
    return with_key(headers, target.key, head.given, anthropic=False) if target.key else headers


async def _asked(
    onward: Onward, target: RelayTarget, head: Head, headers: Sequence[tuple[bytes, bytes]], content: bytes
) -> tuple[int, bytes]:
    """The status and the content of the answer; 0 where there is none."""
    try:
        async with asyncio.timeout(VECTOR_SECONDS):
            response = await onward.ask(target, head, headers, content)
            try:
                return response.status, await read_whole(response, _MOST)
            finally:
                response.close()
    except (OwnAnswer, AnswerBroken, TimeoutError):
        return 0, b""
