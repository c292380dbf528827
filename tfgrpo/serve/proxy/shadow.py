"""Groups in deployment: for a share of the calls, further rollouts of the same request, after its answer is out.

The caller gets nothing of them, and pays for nothing: they go under the proxy's own key, within a budget of their own,
a few at a time, and never where a call could act (tools), cost in other ways, or be kept upstream. They are recorded as
what they are (`shadow_of`), and tell later what most rollouts answer to real inputs.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter

import orjson

from ...errors import StoreError
from ...http1.answers import AnswerBroken
from ...records import JSON
from ...settings import LISTED_FOR_LABELS
from ...store import Store, StorePath
from ...surfaces.http import PRIOR_HEADER, Rewrite, answers_decided
from ..writing import KEPT_BODY, RecordedCall, Shadowing
from .bodies import EXACT_CODECS
from .decide import read_whole
from .head import Head
from .headers import with_key
from .metrics import Metrics
from .onward import Onward, OwnAnswer
from .record import Traffic
from .relay import RelayTarget

_AT_ONCE = 4
_GROUPS_WAITING = 16
_PAUSE_SECONDS = 60.0
"""After an upstream said that it is asked too much: what callers ask comes first."""
_PLAIN = frozenset(
    (
        "model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "logit_bias", "n",
        "frequency_penalty", "presence_penalty", "response_format", "seed", "user", "safety_identifier", "stream",
        "stream_options", "reasoning_effort", "verbosity", "prompt_cache_key", "chat_template_kwargs", "top_k", "min_p",
        "logprobs", "top_logprobs",
    )
)  # fmt: skip
"""Fields of a request that asks a question, and no more."""
_LEFT_OUT = ("seed", "stream", "stream_options", "n")
_LISTED: Mapping[str, JSON] = {"logprobs": True, "top_logprobs": LISTED_FOR_LABELS}
"""Asked for beside it where answers are short, so that a token prior learns from them; and how short: a token's
alternatives are about 1.5 kB."""
_SHORT = 32
_REFUSED = (400, 422)


@dataclass(frozen=True, slots=True)
class ShadowedCall:
    """A call that was answered, as far as a further rollout of it needs to know."""

    target: RelayTarget
    head: Head
    sent: bytes
    """The body as it went on, with the prior in it."""
    rewrite: Rewrite
    """How the prior went in, and what becomes of the answer."""
    recorded: RecordedCall


class Shadows:
    """Makes further rollouts, in the background."""

    def __init__(self, shadowing: Shadowing, onward: Onward, traffic: Traffic, metrics: Metrics) -> None:
        self._shadowing, self._onward, self._traffic, self._metrics = shadowing, onward, traffic, metrics
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._day, self._used = "", 0
        self._paused = 0.0
        self._unlisted: set[str] = set()
        """Upstreams that refuse to tell log-probabilities."""

    def follow(self, call: ShadowedCall) -> None:
        """Have further rollouts of a call made, where there is room and budget for them."""
        rollouts = self._shadowing.group_size - 1
        if len(self._tasks) >= _GROUPS_WAITING:
            return self._metrics.shadow("busy", rollouts)
        if time.monotonic() < self._paused:
            return self._metrics.shadow("paused", rollouts)
        task = asyncio.create_task(self._group(call, rollouts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Make no more."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _group(self, call: ShadowedCall, rollouts: int) -> None:
        body = further(call.sent, listed=call.target.base not in self._unlisted)
        if body is None:
            return self._metrics.shadow("not plain", rollouts)
        if not await self._afford(rollouts):
            return self._metrics.shadow("budget", rollouts)
        async with asyncio.TaskGroup() as group:
            for _ in range(rollouts):
                group.create_task(self._rollout(call, body))

    async def _afford(self, rollouts: int) -> bool:
        """Whether the budget of the day has so many left, which are taken from it."""
        today = datetime.now(UTC).date().isoformat()
        if today != self._day:
            used = await asyncio.to_thread(_made_since, self._traffic.path, today)
            if today != self._day:  # nobody else was as fast
                self._day, self._used = today, used // self._shadowing.workers
        if self._used + rollouts > -(-self._shadowing.calls_a_day // self._shadowing.workers):
            return False
        self._used += rollouts
        return True

    async def _rollout(self, call: ShadowedCall, body: bytes) -> None:
        async with self._slots:
            began = perf_counter()
            try:
                status, content = await self._answered(call, body)
            except (OwnAnswer, AnswerBroken, TimeoutError):
                return self._metrics.shadow("failed", 1)
            if status != 200:
                if status == 429:
                    self._paused = time.monotonic() + _PAUSE_SECONDS
                return self._metrics.shadow("failed", 1)
        self._metrics.shadow("made", 1)
        self._traffic.add(
            call.recorded._replace(
                id=f"inf_{secrets.token_hex(16)}",
                status=status,
                seconds=perf_counter() - began,
                added=None,
                at=time.time(),
                request=b"",  # the call has it
                response=content,
                encoding="",
                texts=True,
                shadow_of=call.recorded.id,
            )
        )

    async def _answered(self, call: ShadowedCall, body: bytes) -> tuple[int, bytes]:
        """The answer as a caller would be told it: its label decided again, where that is how the prior acts."""
        status, content = await self._asked(call, body)
        if status in _REFUSED and (plain := further(call.sent, listed=False)) not in (None, body):
            status, content = await self._asked(call, plain or body)
            if status not in _REFUSED:  # else it was refused for something else
                self._unlisted.add(call.target.base)
        decided = answers_decided(call.rewrite, status, content, EXACT_CODECS)
        return status, decided[0] if decided else content

    async def _asked(self, call: ShadowedCall, body: bytes) -> tuple[int, bytes]:
        """None of the caller's headers goes on: they may hold its key."""
        headers = [(b"content-type", b"application/json"), (b"accept", b"application/json")]
        if call.recorded.prior:
            headers.append((PRIOR_HEADER.encode(), call.recorded.prior.encode()))
        if call.target.key:
            headers = with_key(headers, call.target.key, {}, anthropic=False)
        response = await self._onward.ask(call.target, call.head, headers, body)
        try:
            return response.status, await read_whole(response, KEPT_BODY)
        finally:
            response.close()


def may_be_followed(head: Head, target: RelayTarget, *, own_key: bool) -> Head | None:
    """The head for further rollouts of a call; None where there are to be none: it is no chat, its caller's own key for
    the upstream would pay, or its query holds what might be a secret. `own_key`: the caller came with a key of ours."""
    if head.surface is None or head.surface.name != "chat":
        return None
    if not target.key and not own_key and any(name in head.given for name in ("authorization", "api-key", "x-api-key")):
        return None
    versioned = head.query.startswith(b"api-version=") and b"&" not in head.query
    return head._replace(lines=(), given={}) if versioned or not head.query else None


def further(sent: bytes, *, listed: bool) -> bytes | None:
    """The body of a further rollout; None for a request that is more than a question, or that gives the same again.

    `listed`: alternatives to each token are asked for, where there are to be few tokens.
    """
    if len(sent) > KEPT_BODY:
        return None
    try:
        body = orjson.loads(sent)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(body, Mapping) or set(body) - _PLAIN or body.get("n") not in (None, 1):
        return None
    messages = body.get("messages")
    if not (isinstance(messages, list) and messages and all(map(_is_said, messages))):
        return None
    if messages[-1]["role"] != "user" or body.get("temperature") == 0:
        return None
    asked = {name: held for name, held in body.items() if name not in _LEFT_OUT}
    lengths = [asked[name] for name in ("max_tokens", "max_completion_tokens") if name in asked]
    short = any(isinstance(most, int) and most <= _SHORT for most in lengths)
    return orjson.dumps({**_LISTED, **asked} if listed and short and "logprobs" not in asked else asked)


def _is_said(message: JSON) -> bool:
    if not isinstance(message, Mapping) or message.get("tool_calls"):
        return False
    return message.get("role") in ("system", "developer", "user", "assistant")


def _made_since(path: StorePath, day: str) -> int:
    with suppress(StoreError), Store(path, create=False) as store:
        return store.count_shadows(day)
    return 0
