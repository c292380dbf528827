"""The bytes of tokens that a server names by their ids alone (vLLM's `token_id:5`), asked for once each."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from ..errors import ModelError
from ..records import JSON, CallKey, Reply
from .replies import NAMED_BY_ID

_AT_ONCE = 16

Ask = Callable[[str, JSON, CallKey], Awaitable[JSON]]
"""A POST to a path at the server's root: the JSON answer, or None."""


class TokenNames:
    """What the tokens of one upstream stand for, as far as it was asked.

    A token whose text cannot be had has none, as control tokens have; it enters no token prior.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask, self._slots = ask, asyncio.Semaphore(_AT_ONCE)
        self._known: dict[int, asyncio.Task[bytes]] = {}

    async def named(self, reply: Reply, run: str) -> Reply:
        """The reply with the bytes of all its tokens."""
        unnamed = (
            [token for token, piece in reply.trace.pieces.items() if NAMED_BY_ID.match(piece)] if reply.trace else []
        )
        if not reply.trace or not unnamed:
            return reply
        for token in unnamed:
            if token not in self._known:
                self._known[token] = asyncio.create_task(self._piece(token, run))
        found = {token: await self._known[token] for token in unnamed}
        return replace(reply, trace=replace(reply.trace, pieces={**reply.trace.pieces, **found}))

    async def _piece(self, token: int, run: str) -> bytes:
        async with self._slots:
            try:
                answer = await self._ask("/detokenize", {"tokens": [token]}, CallKey(run, "detokenize", sample=token))
            except ModelError:
                return b""
        text = answer.get("prompt") if isinstance(answer, Mapping) else None
        return text.encode(errors="replace") if isinstance(text, str) else b""
