"""The journal: every completed call is committed there before anything is derived from it, and found there again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ..records import CallKey, Usage

_DROPPED = "tfgrpo_dropped"
"""Field of a journalled response: what had to be dropped to get it, and why, so that a resumed run knows too."""

_ESTIMATED = "tfgrpo_usage"
"""Field of a journalled response: its tokens as they were estimated, where the server counted none."""


class Journal(Protocol):
    """Where completed calls are committed before anything is derived from them."""

    async def reply(self, key: CallKey, request: str) -> str | None:
        """The response committed for this key, if any; `request` is the hash of the request."""
        ...

    async def record(self, key: CallKey, request: str, response: str, usage: Usage) -> None:
        """Commit one response; returns when it is safe on disk."""
        ...


@dataclass(frozen=True, slots=True)
class JournalledCalls:
    """A run's calls in its journal. Not kept: a call whose key names no run, and any call where there is no journal."""

    journal: Journal | None

    async def committed(self, key: CallKey, request: str) -> str | None:
        """The response committed for a key, if any; `request` is the hash of the request."""
        return await self.journal.reply(key, request) if self.journal and key.run else None

    async def commit(self, key: CallKey, request: str, response: str, usage: Usage) -> None:
        """Commit one response where it is to be kept."""
        if self.journal and key.run:
            await self.journal.record(key, request, response, usage)


def with_dropped(response: str, dropped: Mapping[str, str]) -> str:
    """The response with what was dropped to get it; the field is ours, whatever the server put there."""
    if not dropped and _DROPPED not in response:
        return response
    return json.dumps({**json.loads(response), _DROPPED: dropped})


def dropped_for(response: str) -> Mapping[str, str]:
    """What had to be dropped to get a committed response, and why."""
    found: Mapping[str, str] = json.loads(response).get(_DROPPED, {})
    return found


def with_estimate(response: str, usage: Usage) -> str:
    """The response with an estimate of what it cost, so that a resumed run counts the same."""
    counts = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
    return json.dumps({**json.loads(response), _ESTIMATED: counts})


def estimate_for(response: str) -> Usage:
    """What a committed response was estimated to cost; no tokens where nothing was estimated."""
    return Usage(1, **json.loads(response).get(_ESTIMATED, {}))
