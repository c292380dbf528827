"""One model call: through the openai SDK, bounded, retried, journalled before anything is derived from it."""

import asyncio
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, Self, TypeVar

import httpx2
import openai

from ..errors import InputError, ModelError, UpstreamError
from ..hashing import content_id
from ..records import JSON, CallKey, ChatBody, Reply, Usage, Vectors
from ..settings import Settings
from ..text import counted, shortened
from .backends import backend_key
from .budget import Budget
from .refusals import error_field, rejected_parameter, what_it_says, without_parameters
from .replies import parse_reply, parse_vectors
from .tokenizer import TokenId, Tokenizer


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


_DROPPED = "tfgrpo_dropped"
"""Field of a journalled response: what had to be dropped to get it, and why, so that a resumed run knows too."""
_CONNECT_SECONDS = 10.0
_ASIDE_SECONDS = 10.0
"""How long to wait for routes that answer at once (/models, /tokenize)."""

R = TypeVar("R", Reply, Vectors)


@dataclass(frozen=True, slots=True)
class _Route(Generic[R]):
    """Where a request goes, and how its answer is read."""

    path: str
    gives: str
    """What its answer is, for errors."""
    read: Callable[[str], R]
    """From the response's text; raises ModelError for what is no such answer."""


class Upstream:
    """One OpenAI-compatible endpoint; a Model that keeps count.

    A parameter that it rejects is dropped from then on and listed in `dropped`. Until it has answered once a failed
    connection is final at once; later ones are worth the SDK's retries. The key is `api_key`, else that in
    OPENAI_API_KEY; no error ever quotes it. Calls whose key names no run are not journalled.
    """

    def __init__(
        self,
        base_url: str | None,
        *,
        api_key: str | None = None,
        settings: Settings | None = None,
        journal: Journal | None = None,
        budget: Budget | None = None,
        http_client: httpx2.AsyncClient | None = None,
        tokenizer: Tokenizer | None = None,
        options: str = "--",
    ) -> None:
        """Raises InputError for a base URL that is none, UpstreamError where there is no usable key.

        `options` is what the options that name this endpoint begin with, for errors: `--distiller-`.
        """
        settings = settings or Settings()
        key = _usable_key(api_key)
        base_url = base_url or os.environ.get("OPENAI_BASE_URL")
        url = _checked_url(base_url) if base_url else None
        if not (key or url):
            raise UpstreamError(f"no API key: set OPENAI_API_KEY, or name another upstream with {options}base-url")
        self.client = openai.AsyncOpenAI(
            base_url=url,
            api_key=key or "none",
            timeout=httpx2.Timeout(settings.call_timeout, connect=min(_CONNECT_SECONDS, settings.call_timeout)),
            max_retries=settings.call_retries,
            http_client=http_client or _direct_client(url),
        )
        self.name = self.client.base_url.netloc.decode()
        self.key = backend_key(str(self.client.base_url))
        """The base URL as the store knows it."""
        self.usage = Usage()
        self.dropped: dict[str, str] = {}
        self.tokenizer = tokenizer
        """Tells the ids of tokens that come without; `probe` finds one for models of OpenAI's."""
        self._options = options
        self._secrets = [secret for secret in (key, self.client.base_url.password) if secret]
        self._seconds = settings.call_timeout
        self._journal = journal
        self._budget = budget
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._answered = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def __call__(self, body: ChatBody, key: CallKey) -> Reply:
        """The committed reply for this key when there is one, else a new one, committed; raises BudgetEnded instead."""
        return (await self.exchange(body, key))[1]

    async def exchange(self, body: ChatBody, key: CallKey) -> tuple[str, Reply]:
        """As the call, with the response's JSON text before the reply."""
        return await self._exchange(self._chat, body, key)

    async def embed(self, model: str, texts: Sequence[str], key: CallKey) -> Vectors:
        """The vectors of texts, in their order, by an embedding model here; under the same terms as the call."""
        route = _Route(
            "/embeddings", f"embeddings of {counted(len(texts), 'text')}", lambda told: parse_vectors(told, len(texts))
        )
        return (await self._exchange(route, {"model": model, "input": list(texts)}, key))[1]

    async def replay(self, key: CallKey, request: str) -> tuple[str, Reply] | None:
        """What `exchange` gave when it was committed for this key, if it was; `request` is the hash of the body."""
        return await self._replay(self._chat, key, request)

    @property
    def _chat(self) -> _Route[Reply]:
        return _Route("/chat/completions", "chat completion", lambda told: parse_reply(told, self._token_id))

    async def _exchange(self, route: _Route[R], body: JSON, key: CallKey) -> tuple[str, R]:
        request = content_id("request", body)
        known = await self._replay(route, key, request)
        if known is not None:
            return known
        async with self._slots:
            if self._budget:
                self._budget.admit()
            response, lacking = await self._complete(route.path, body)
            reply = self._parsed(route, response)
            if self._budget:
                self._budget.charge(body["model"], reply.usage)
            await self._commit(key, request, _noted(response, lacking), reply.usage)  # until then it is in flight
        self.usage += reply.usage
        return response, reply

    async def _replay(self, route: _Route[R], key: CallKey, request: str) -> tuple[str, R] | None:
        known = await self._committed(key, request)
        if known is None:
            return None
        reply = replace(route.read(known), replayed=True)
        for name, why in json.loads(known).get(_DROPPED, {}).items():
            self.dropped.setdefault(name, why)
        self.usage += reply.usage
        return known, reply

    async def get(self, path: str, key: CallKey) -> JSON:
        """The JSON at a path beside the chat route (`/models`), or None where there is none."""
        return await self._aside(path, None, key)

    async def post(self, path: str, body: JSON, key: CallKey) -> JSON:
        """The JSON answer to a POST at the server's root (`/tokenize`), or None where there is none."""
        root = re.sub(r"(/v1)?/?$", "", str(self.client.base_url))
        return await self._aside(path, body, key, root)

    async def _aside(self, path: str, body: JSON, key: CallKey, root: str = "") -> JSON:
        """Journalled like any call, so that a resumed run takes the upstream for what it was, on another port too."""
        request = content_id("request", path, body)
        known = await self._committed(key, request)
        if known is not None:
            return json.loads(known)
        answer: JSON = None
        try:
            answer = (await self._send(root + path, body, httpx2.Timeout(_ASIDE_SECONDS))).json()
        except openai.APIStatusError as error:
            if error.status_code == 429 or (error.status_code >= 500 and error.status_code != 501):
                raise self._failure(error) from None  # it may be there another time: nothing to commit
        except (openai.APITimeoutError, ValueError):
            pass  # silence, or a page for people: there is none
        except openai.APIConnectionError as error:
            raise self._lost(error) from None
        await self._commit(key, request, json.dumps(answer), Usage())
        return answer

    async def _committed(self, key: CallKey, request: str) -> str | None:
        return await self._journal.reply(key, request) if self._journal and key.run else None

    async def _commit(self, key: CallKey, request: str, response: str, usage: Usage) -> None:
        if self._journal and key.run:
            await self._journal.record(key, request, response, usage)

    async def _complete(self, path: str, body: JSON) -> tuple[str, Mapping[str, str]]:
        """The response's text, and which of the body's parameters were dropped to get it, and why."""
        while True:
            lacking = {name: why for name, why in self.dropped.items() if name in body}
            sent = without_parameters(body, lacking)
            try:
                return (await self._send(path, sent)).text, lacking
            except openai.APIConnectionError as error:
                raise self._lost(error) from None
            except openai.APIStatusError as error:
                name = rejected_parameter(error, sent)
                if name is None:
                    raise self._failure(error) from None  # the server's words could quote the key
                self.dropped[name] = f"rejected by {self.name} with {error.status_code}"

    async def _send(self, path: str, body: JSON, timeout: httpx2.Timeout | None = None) -> httpx2.Response:
        """One answer, after retries: a GET where there is no body. Raises as the SDK does."""
        while True:
            patient = self._answered
            client = self.client.with_options(
                max_retries=self.client.max_retries if patient else 0, timeout=timeout or self.client.timeout
            )
            try:
                if body is None:
                    response = await client.get(path, cast_to=httpx2.Response)
                else:
                    response = await client.post(path, body=body, cast_to=httpx2.Response)
            except openai.APIStatusError as error:
                self._answered = True
                if not patient and _may_pass(error.status_code):
                    continue
                raise
            self._answered = True
            return response

    @property
    def _token_id(self) -> TokenId | None:
        return self.tokenizer.id_of if self.tokenizer else None

    def _parsed(self, route: _Route[R], response: str) -> R:
        try:
            return route.read(response)
        except ModelError:
            raise ModelError(f"{self.name} gave no {route.gives}: {self._safe(response, 120)}") from None

    def _lost(self, error: openai.APIConnectionError) -> ModelError:
        """Final while the upstream has never answered, and whenever it no longer takes connections."""
        cause = error.__cause__ or error
        unreachable = isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout)
        kind = UpstreamError if unreachable or not self._answered else ModelError
        if isinstance(error, openai.APITimeoutError) and not unreachable:
            return kind(f"{self.name} did not answer within {self._seconds:g} s; is {self._options}base-url right?")
        words = self._safe(cause) or type(cause).__name__
        return kind(f"cannot reach {self.name}: {words}; is it running, and is {self._options}base-url right?")

    def _failure(self, error: openai.APIStatusError) -> ModelError:
        status = error.status_code
        if status in (401, 403):
            named = "OPENAI_API_KEY" + (f" (or {self._options}key-env)" if self._options != "--" else "")
            refused = f"it refuses the key in {named}" if self._secrets else f"it wants a key; set {named}"
            return UpstreamError(f"{self.name} answered {status}: {refused}")
        if status == 402 or error_field(error, "code") == "insufficient_quota":
            return UpstreamError(f"{self.name} answered {status}: the account's quota is spent")
        words = self._safe(what_it_says(error))
        if status == 404:
            named = f"{self._options}model and {self._options}base-url"
            return UpstreamError(f"{self.name} answered 404: {words}; are {named} right?")
        return ModelError(f"{self.name} answered {status}: {words}", status)

    def _safe(self, text: object, limit: int = 300) -> str:
        """An upstream's words fit for an error: short, printable, and without what is secret."""
        words = str(text)
        for secret in self._secrets:
            words = words.replace(secret, "***")
        return shortened(words, limit)


def _usable_key(given: str | None) -> str:
    key = (given or os.environ.get("OPENAI_API_KEY", "")).strip()
    if not (key.isascii() and key.isprintable()):
        raise UpstreamError("the API key (OPENAI_API_KEY) holds characters that no key has; copy it once more")
    return key


def _direct_client(url: str | None) -> httpx2.AsyncClient | None:
    """A client for this machine, past the HTTP proxy that the environment may name; None: the SDK's own will do."""
    local = url is not None and httpx2.URL(url).host in ("localhost", "127.0.0.1", "::1")
    return openai.DefaultAsyncHttpx2Client(trust_env=False) if local else None


def _checked_url(given: str) -> str:
    try:
        url = httpx2.URL(given)
        if url.scheme in ("http", "https") and url.host and (url.port or 80) < 2**16:
            return given
    except httpx2.InvalidURL:
        pass
    shown = shortened(given.rpartition("@")[2])
    raise InputError(f"{shown!r} is no base URL; one looks like http://127.0.0.1:8080/v1")


def _may_pass(status: int) -> bool:
    """Whether a call may succeed when it is made again; 501: the server cannot do this at all."""
    return status in (408, 409, 429) or (status >= 500 and status != 501)


def _noted(response: str, lacking: Mapping[str, str]) -> str:
    """The response with what it took to get it; the field is ours, whatever the server put there."""
    if not lacking and _DROPPED not in response:
        return response
    return json.dumps({**json.loads(response), _DROPPED: lacking})
