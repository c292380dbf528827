"""One model call: through the openai SDK, bounded, retried, journalled before anything is derived from it."""

import asyncio
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

import httpx2
import numpy as np
import openai

from .errors import ModelError, UpstreamError
from .hashing import content_id
from .records import JSON, CallKey, ChatBody, Reply, TokenTrace, Usage
from .settings import Settings


class Model(Protocol):
    """Any function from a chat request to a reply; the key says for which place in the run it is made."""

    async def __call__(self, body: ChatBody, key: CallKey) -> Reply:
        """Raises ModelError for one call that failed, UpstreamError when none can succeed."""
        ...


class Journal(Protocol):
    """Where completed calls are committed before anything is derived from them."""

    async def reply(self, key: CallKey, request: str) -> str | None:
        """The response committed for this key, if any; `request` is the hash of the request."""
        ...

    async def record(self, key: CallKey, request: str, response: str, usage: Usage) -> None:
        """Commit one response; returns when it is safe on disk."""
        ...


OPTIONAL = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repeat_penalty",
    "repetition_penalty",
    "seed",
    "logit_bias",
    "top_logprobs",
    "logprobs",
    "max_tokens",
)
"""Parameters that a request can do without when an upstream rejects them."""

_RENAMED = {"max_tokens": "max_completion_tokens"}
_IMPLIED = {"logprobs": ("top_logprobs",)}
_DROPPED = "tfgrpo_dropped"
"""Field of a journalled response: what had to be dropped to get it, so that a resumed run knows too."""


class Upstream:
    """One OpenAI-compatible endpoint; a Model that keeps count.

    A parameter that it rejects is dropped from then on and listed in `dropped`. Until it has answered once a failed
    connection is final; later ones are worth the SDK's retries.
    """

    def __init__(
        self,
        base_url: str | None,
        *,
        api_key: str | None = None,
        settings: Settings | None = None,
        journal: Journal | None = None,
        http_client: httpx2.AsyncClient | None = None,
    ) -> None:
        settings = settings or Settings()
        try:
            self.client = openai.AsyncOpenAI(
                base_url=base_url,
                api_key=api_key or ("none" if base_url else None),
                timeout=settings.call_timeout,
                max_retries=settings.call_retries,
                http_client=http_client,
            )
        except openai.OpenAIError as error:
            raise UpstreamError("no API key: set OPENAI_API_KEY, or name another upstream with --base-url") from error
        self.name = urlsplit(str(self.client.base_url)).netloc.rpartition("@")[2]
        self.usage = Usage()
        self.dropped: dict[str, str] = {}
        self._journal = journal
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._answered = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def __call__(self, body: ChatBody, key: CallKey) -> Reply:
        """The committed reply for this key when there is one, else a new one, committed."""
        request = content_id("request", body)
        response = await self._journal.reply(key, request) if self._journal else None
        if response is None:
            async with self._slots:
                response = await self._post(body)
            reply = parse_reply(response)
            if self._journal:
                await self._journal.record(key, request, response, reply.usage)
        else:
            reply = parse_reply(response)
            for name in json.loads(response).get(_DROPPED, ()):
                self.dropped.setdefault(name, "rejected earlier in this run")
        self.usage += reply.usage
        return reply

    async def get(self, path: str) -> JSON:
        """The JSON at a path beside the chat route (`/models`), or None where there is none."""
        return await self._other("GET", path, None)

    async def post(self, path: str, body: JSON) -> JSON:
        """The JSON answer to a POST at the server's root (`/tokenize`), or None where there is none."""
        root = re.sub(r"/v1/?$", "", str(self.client.base_url))
        return await self._other("POST", root.rstrip("/") + path, body)

    async def _other(self, method: str, path: str, body: JSON) -> JSON:
        client = self.client.with_options(max_retries=0)
        try:
            if method == "GET":
                response = await client.get(path, cast_to=httpx2.Response)
            else:
                response = await client.post(path, body=body, cast_to=httpx2.Response)
            return response.json()
        except (openai.APIStatusError, ValueError):
            return None
        except openai.APIConnectionError as error:
            raise UpstreamError(self._unreachable(error)) from error

    async def _post(self, body: ChatBody) -> str:
        while True:
            sent = without(body, self.dropped)
            client = self.client if self._answered else self.client.with_options(max_retries=1)
            try:
                response = await client.post("/chat/completions", body=sent, cast_to=httpx2.Response)
            except openai.APIStatusError as error:
                self._answered = True
                name = rejected_parameter(error, sent)
                if name is None:
                    raise self._failure(error) from error
                self.dropped[name] = f"rejected by {self.name} with {error.status_code}"
                continue
            except openai.APIConnectionError as error:
                kind = ModelError if self._answered else UpstreamError
                raise kind(self._unreachable(error)) from error
            self._answered = True
            return _note_dropped(response.text, sorted(self.dropped))

    def _unreachable(self, error: openai.APIConnectionError) -> str:
        if isinstance(error, openai.APITimeoutError):
            return f"{self.name} did not answer in time; see --base-url, or raise the timeout"
        return f"cannot reach {self.name}: {error.__cause__ or error}; is it running, and is --base-url right?"

    def _failure(self, error: openai.APIStatusError) -> ModelError:
        """The error to raise; the server's words are left out where they could quote the key."""
        status = error.status_code
        if status in (401, 403):
            return UpstreamError(f"{self.name} answered {status}: it refuses the key in OPENAI_API_KEY")
        words = " ".join(str(_error_field(error, "message") or error.message).split())[:300]
        words = words.replace(self.client.api_key, "***") if self.client.api_key != "none" else words
        if status == 404:
            return UpstreamError(f"{self.name} answered 404: {words}; are --model and --base-url right?")
        if _error_field(error, "code") == "insufficient_quota":
            return UpstreamError(f"{self.name} answered {status}: the account's quota is spent")
        return ModelError(f"{self.name} answered {status}: {words}")


def without(body: ChatBody, dropped: Mapping[str, str]) -> dict[str, JSON]:
    """The body less what the upstream rejects; a limit that has another name there is renamed."""
    kept = {name: value for name, value in body.items() if name not in dropped}
    for old, new in _RENAMED.items():
        if old in dropped and old in body:
            kept.setdefault(new, body[old])
    for name, implied in _IMPLIED.items():
        if name in dropped:
            kept = {key: value for key, value in kept.items() if key not in implied}
    return kept


def rejected_parameter(error: openai.APIStatusError, sent: ChatBody) -> str | None:
    """The optional parameter that a 400 or 422 is about: the one that it names as `param`, else in its words."""
    if error.status_code not in (400, 422):
        return None
    candidates = [name for name in OPTIONAL if name in sent]
    if (param := _error_field(error, "param")) in candidates:
        return str(param)
    words = str(_error_field(error, "message") or error.message)
    return next((name for name in candidates if re.search(rf"\b{name}\b", words)), None)


def _error_field(error: openai.APIStatusError, name: str) -> Any:
    body = error.body
    inner = body.get("error", body) if isinstance(body, Mapping) else None
    return inner.get(name) if isinstance(inner, Mapping) else None


def _note_dropped(response: str, dropped: list[str]) -> str:
    if not dropped:
        return response
    return json.dumps({**json.loads(response), _DROPPED: dropped}, ensure_ascii=False)


def parse_reply(response: str) -> Reply:
    """A chat completion's JSON text as a Reply; raises ModelError when it is not one."""
    try:
        payload = json.loads(response)
        choice = payload["choices"][0]
        message = choice["message"]
        usage = payload.get("usage") or {}
        spent = Usage(1, int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
        entries = (choice.get("logprobs") or {}).get("content")
        finish = str(choice.get("finish_reason") or "")
        trace = parse_trace(entries) if entries else None
        return Reply(str(message.get("content") or ""), message, finish, spent, trace)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ModelError(f"not a chat completion: {response[:120]!r} ({error!r})") from error


def parse_trace(entries: list[Mapping[str, JSON]]) -> TokenTrace | None:
    """`logprobs.content` as arrays; None where the server gives no token ids, or no usable log-probability."""
    pieces: dict[int, bytes] = {}
    rows: list[dict[int, float]] = []
    for entry in entries:
        row: dict[int, float] = {}
        for token in (entry, *(entry.get("top_logprobs") or ())):
            number, logprob = token.get("id"), token.get("logprob")
            if isinstance(number, int) and logprob is not None and not math.isnan(logprob):
                row.setdefault(number, min(0.0, float(logprob)))
                pieces.setdefault(number, _piece(token))
        if row and entry.get("id") == next(iter(row)):
            rows.append(row)
    if not rows:
        return None
    width = max(len(row) for row in rows)
    ids = np.full((len(rows), width), -1, dtype=np.int64)
    logprobs = np.full((len(rows), width), -np.inf)
    for position, row in enumerate(rows):
        ids[position, : len(row)] = list(row.keys())
        logprobs[position, : len(row)] = list(row.values())
    return TokenTrace(ids, logprobs, pieces)


def _piece(token: Mapping[str, JSON]) -> bytes:
    given = token.get("bytes")
    return bytes(given) if isinstance(given, list) else str(token.get("token", "")).encode()
