"""The connection to one OpenAI-compatible endpoint: requests go out, answers or worded errors come back.

Calls go over connections of our own; what is asked beside them, and all that a client of the caller's or an HTTP proxy
of the environment stands before, by the openai SDK's client. An endpoint may send so many bytes and no more, packed or
not, and no redirect to another host: responses are kept in memory.
"""

import asyncio
import json
import os
import re
import ssl
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from typing import Protocol
from urllib.request import getproxies

import openai
import orjson

from ..errors import InputError, ModelError, UpstreamError
from ..records import JSON
from ..settings import Settings
from ..text import shortened
from .asking import Adapted, Asking, error_within
from .failures import Failures
from .library import http
from .posts import PostedAnswer, Posts
from .retries import BUSY, may_come, may_pass, seconds_until
from .secrets_held import HELD

MOST_OF_ONE = 64_000_000
"""Of one response, unpacked: a thousand answers with 20 log-probabilities for each of their tokens."""
_PACKED = ("gzip", "deflate")
"""How a response may be packed."""
_PACKINGS = (*_PACKED, "br", "zstd", "compress")
"""What `Content-Encoding` can mean; with all else (`utf-8`, `none`) servers say that it is not packed."""


class _Unpacking:
    """A response's bytes, unpacked as they come; too many of them are an error, and so are some that are not packed as
    they are said to be."""

    def __init__(self, packed: str) -> None:
        """`packed`: what the response says that it is. Raises DecodingError for what nobody asked for."""
        said = (one.strip().removeprefix("x-") for one in packed.lower().split(","))
        named = ", ".join(one for one in said if one in _PACKINGS)
        if named not in (*_PACKED, ""):
            raise http.DecodingError(f"it is packed as {named}, which nobody asked for")
        self._unpack = zlib.decompressobj(wbits=47) if named else None
        self._left = MOST_OF_ONE

    def plain(self, part: bytes) -> bytes:
        """What a part of it is, unpacked; raises DecodingError."""
        try:
            found = self._unpack.decompress(part, self._left + 1) if self._unpack else part
        except zlib.error as error:
            raise http.DecodingError(f"not what it says it is ({error})") from error
        self._left -= len(found)
        if self._left < 0:
            raise http.DecodingError(f"more than {MOST_OF_ONE:,} bytes")
        return found


def bound(client: http.AsyncClient) -> http.AsyncClient:
    """The same client, which refuses larger responses and redirects to other hosts."""
    client.headers["accept-encoding"] = ", ".join(_PACKED)
    client.event_hooks = {**client.event_hooks, "response": [*client.event_hooks["response"], _check]}
    return client


async def _check(response: http.Response) -> None:
    """Raises TooManyRedirects, which is told as no connection, where a redirect leads elsewhere or to the open."""
    if response.has_redirect_location:
        there = response.url.join(response.headers["location"])
        if there.host != response.url.host:
            raise http.TooManyRedirects(f"it redirects to another host, {there.host}", request=response.request)
        if response.url.scheme == "https" != there.scheme:
            raise http.TooManyRedirects("it redirects to a connection without TLS", request=response.request)
    packed = response.headers.get("content-encoding", "").strip().lower().removeprefix("x-")
    refusal = response.status_code >= 400
    if packed and (packed in _PACKED or refusal):  # all else is the library's to unpack
        del response.headers["content-encoding"]
    response.stream = _Bounded(response, packed if packed in _PACKED else "", refusal=refusal)


class _Bounded(http.AsyncByteStream):
    """A response's bytes, unpacked; a refusal ends where nobody can read its words."""

    def __init__(self, response: http.Response, packed: str, *, refusal: bool) -> None:
        self._inner, self._packed, self._refusal = response.stream, packed, refusal

    async def __aiter__(self) -> AsyncIterator[bytes]:
        unpacking = _Unpacking(self._packed)
        async for part in self._inner:  # pyrefly: ignore[not-iterable]  # of an async client it is async
            try:
                plain = unpacking.plain(part)
            except http.DecodingError:
                if self._refusal:
                    return
                raise
            yield plain

    async def aclose(self) -> None:
        """Close what is below."""
        await self._inner.aclose()  # pyrefly: ignore[missing-attribute]  # of an async client it is async


_CONNECT_SECONDS = 10.0
_ANTHROPIC = {"anthropic-version": "2023-06-01"}
"""What its messages want beside the key."""
_ASIDE_SECONDS = 10.0
"""How long to wait for routes that answer at once (/models, /tokenize)."""


_KEYS = ("authorization", "x-api-key", "api-key")
_NOT_PASSED = frozenset((
    *_KEYS, "accept-encoding", "connection", "content-length", "cookie", "host", "keep-alive", "proxy-authorization",
    "te", "trailer", "transfer-encoding", "upgrade",
))  # fmt: skip
"""Headers of what is relayed that belong to one connection, or name who calls."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """A request, or the answer to one, that is passed on as it came."""

    headers: tuple[tuple[str, str], ...]
    content: bytes
    method: str = ""
    path: str = ""
    """Below the base URL, with its query."""
    status: int = 0


class Pause(Protocol):
    """Waits before a call is tried again."""

    async def __call__(self, seconds: float, *, busy: bool) -> None:
        """`busy`: the upstream said that it was one call too many."""
        ...


class Connection:
    """One endpoint, and what it was found to reject.

    A parameter that it rejects is dropped from then on and listed in `dropped`. Until it has answered once a failed
    connection is final at once; later ones are tried again, `settings.call_retries` times at most. The key is
    `api_key`, else that in OPENAI_API_KEY; no error ever quotes it.
    """

    def __init__(
        self,
        base_url: str | None,
        api_key: str | None,
        settings: Settings,
        *,
        http_client: http.AsyncClient | None = None,
        options: str = "--",
    ) -> None:
        """Raises InputError for a base URL that is none, UpstreamError where there is no usable key."""
        key = _usable_key(api_key)
        base_url = base_url or os.environ.get("OPENAI_BASE_URL")
        url = _checked_url(base_url) if base_url else None
        if not (key or url):
            raise UpstreamError(f"no API key: set OPENAI_API_KEY, or name another upstream with {options}base-url")
        self._http = bound(http_client or _client_for(url))
        connect = min(_CONNECT_SECONDS, settings.call_timeout)
        self._client = openai.AsyncOpenAI(
            base_url=url,
            api_key=key or "none",
            timeout=http.Timeout(settings.call_timeout, connect=connect),
            max_retries=0,  # a call that waits to be tried again gives its place to others: the SDK would keep it
            http_client=self._http,
        )
        self.base_url = str(self._client.base_url)
        self._posts = None if http_client else _posts_to(self._client.base_url, connect, settings.call_timeout)
        """None: all goes by the SDK's client."""
        self.root = re.sub(r"(/v1)?/?$", "", self.base_url)
        """Where routes are that are not the API's (/tokenize)."""
        self.name = self._client.base_url.netloc.decode()
        """Host and port, for people."""
        self.adapted = Adapted()
        """What it was seen to take and to reject."""
        secrets = tuple(secret for secret in (key, self._client.base_url.password) if secret)
        HELD.update(secrets)
        self.failures = Failures(self.name, options, settings.call_timeout, secrets)
        given = {name.lower(): value for name, value in self._client.default_headers.items() if isinstance(value, str)}
        self._headers = {**given, "authorization": f"Bearer {self._client.api_key}"}
        self._retries, self._answered = settings.call_retries, False

    async def close(self) -> None:
        """Close what is open to the endpoint."""
        if self._posts:
            self._posts.close()
        await self._client.close()

    async def complete(self, path: str, body: JSON, pause: Pause) -> tuple[str, Mapping[str, str]]:
        """The response's text, and which of the body's parameters were dropped to get it, and why; raises ModelError.

        `pause` waits before a call is tried again.
        Nothing of the SDK's errors is kept in ours: the server's words could quote the key.
        """
        asking = Asking(body, self.adapted, self.name)
        while True:
            try:
                response = await self._send(path, asking.next(), pause=pause)
            except openai.APIConnectionError as error:
                raise self.failures.lost(error, answered=self._answered) from None
            except openai.APIStatusError as error:
                if asking.heed(error):
                    continue
                if (kept := asking.kept()) is None:
                    raise self.failures.refused(asking.reason(error)) from None
                response = kept
            else:
                if asking.streamed(response) or asking.overdone(response):
                    continue
            return response.text, asking.settled()

    async def ask(self, path: str, body: JSON = None) -> JSON:
        """The JSON answer of a route that not every server has, None where there is none; a GET without a body.

        Raises ModelError where the route may be there another time.
        """
        try:
            return json.loads((await self._send(path, body, http.Timeout(_ASIDE_SECONDS))).text)
        except openai.APIStatusError as error:
            if error.status_code == 429 or (error.status_code >= 500 and error.status_code != 501):
                raise self.failures.refused(error) from None
        except (openai.APITimeoutError, ValueError, RecursionError):
            pass  # silence, or a page for people: there is none
        except openai.APIConnectionError as error:
            raise self.failures.lost(error, answered=self._answered) from None
        return None

    async def relay(self, asked: Relayed, pause: Pause) -> Relayed:
        """The answer to a request that is passed on as it is, but for the key; raises ModelError where there is none.

        Only what comes too fast for the upstream is asked again.
        """
        key, named = self._client.api_key, {name.lower() for name, _ in asked.headers}
        keys = [(name, key) for name in _KEYS[1:] if name in named] or [(_KEYS[0], f"Bearer {key}")]
        for tried in count():
            try:
                response = await self._http.request(
                    asked.method,
                    f"{self.base_url.rstrip('/')}/{asked.path}",
                    content=asked.content or None,
                    headers=[*_passed(asked.headers), *keys],
                    timeout=self._client.timeout,
                )
            except (http.HTTPError, http.InvalidURL) as error:
                raise ModelError(f"{self.name} gave no answer to {asked.method}: {type(error).__name__}") from None
            if response.status_code not in BUSY or tried >= self._retries:
                break
            await pause(seconds_until(response.headers, tried), busy=True)
        # pyrefly: ignore[unbound-name]  # there is always a first try
        return Relayed(_passed(response.headers.multi_items()), response.content, status=response.status_code)

    async def _post(self, path: str, body: JSON, timeout: http.Timeout | None) -> "http.Response | PostedAnswer":
        """One answer, as the SDK would give it or raise it; by the SDK itself it takes more of the processor."""
        key = self._client.api_key
        headers = {**self._headers, "x-api-key": key, **_ANTHROPIC} if path == "/messages" else self._headers
        url = path if "://" in path else f"{self.base_url.rstrip('/')}/{path.lstrip('/')}"
        try:
            if self._posts and timeout is None:
                posted = _unpacked(await self._posts.answer(url, headers, _json_of(body), MOST_OF_ONE))
                if posted.status_code < 300:
                    return posted
                if posted.status_code >= 400:
                    raise _refusal(posted.whole())
            response = await self._http.post(
                url, content=_json_of(body), headers=headers, timeout=timeout or self._client.timeout
            )  # which follows a redirect on the same host
        except http.TimeoutException as error:
            raise openai.APITimeoutError(request=http.Request("POST", url)) from error
        except http.HTTPError as error:
            raise openai.APIConnectionError(request=http.Request("POST", url)) from error
        if response.is_success:
            return response
        raise _refusal(response)

    async def _send(
        self, path: str, body: JSON, timeout: http.Timeout | None = None, pause: Pause | None = None
    ) -> "http.Response | PostedAnswer":
        """One answer, after retries: a GET where there is no body. Raises as the SDK does."""
        client = self._client.with_options(timeout=timeout) if timeout else self._client
        for tried in count():
            try:
                response: http.Response | PostedAnswer
                if body is None:
                    response = await client.get(path, cast_to=http.Response)
                else:
                    response = await self._post(path, body, timeout)
                if within := error_within(response):
                    raise within
            except openai.APIStatusError as error:
                self._answered = True
                if tried >= self._retries or not may_pass(error):
                    raise
                seconds, busy = seconds_until(error.response.headers, tried), error.status_code in BUSY
            except openai.APIConnectionError as error:
                if tried >= self._retries or not (self._answered and may_come(error)):
                    raise
                seconds, busy = seconds_until({}, tried), False
            else:
                self._answered = True
                return response
            await (pause or _slept)(seconds, busy=busy)
        raise AssertionError("count() has an end")


def _unpacked(posted: PostedAnswer) -> PostedAnswer:
    """What came back, as it was before it was packed; a refusal is one whose words nobody can read, too."""
    if not posted.packed:
        return posted
    try:
        return replace(posted, content=_Unpacking(posted.packed).plain(posted.content))
    except http.DecodingError:
        if posted.status_code < 400:
            raise
        return replace(posted, content=b"")


def _json_of(body: JSON) -> bytes:
    """A body as it goes out."""
    with suppress(TypeError):  # what is more than it knows, such as a whole number of 70 bits
        return orjson.dumps(body)
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _refusal(response: http.Response) -> openai.APIStatusError:
    """What the SDK raises for a response that is none."""
    return openai.APIStatusError(f"Error code: {response.status_code}", response=response, body=_error_of(response))


def _error_of(response: http.Response) -> JSON:
    """The error object that a server sent, or whatever it sent."""
    try:
        told = response.json()
    except (ValueError, RecursionError):
        return response.text
    return told.get("error", told) if isinstance(told, Mapping) else told


def _passed(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers if name.lower() not in _NOT_PASSED)


async def _slept(seconds: float, *, busy: bool) -> None:
    """The pause of a call that has no place to give to others."""
    await asyncio.sleep(seconds)


def _usable_key(given: str | None) -> str:
    key = (given or os.environ.get("OPENAI_API_KEY", "")).strip()
    if not (key.isascii() and key.isprintable()):
        raise UpstreamError("the API key (OPENAI_API_KEY) holds characters that no key has; copy it once more")
    return key


def _checked_url(given: str) -> str:
    try:
        url = http.URL(given)
        if url.scheme in ("http", "https") and url.host and (url.port or 80) < 2**16:
            return given
    except http.InvalidURL:
        pass
    shown = shortened(given.rpartition("@")[2])
    raise InputError(f"{shown!r} is no base URL; one looks like http://127.0.0.1:8080/v1")


_HERE = ("localhost", "127.0.0.1", "::1")
"""This machine: no HTTP proxy of the environment is for it."""


def _posts_to(url: http.URL, connect: float, seconds: float) -> Posts | None:
    """Connections of our own to an endpoint; None where the environment puts an HTTP proxy before it, or its URL holds
    a name and a password."""
    if url.userinfo or (url.host not in _HERE and getproxies().keys() - {"no"}):
        return None
    return Posts(str(url), connect, seconds, _trusted(url.host not in _HERE))


def _client_for(url: str | None) -> http.AsyncClient:
    """The SDK's own client; it goes by the HTTP proxy that the environment may name, but for this machine. Raises
    InputError for a proxy that is none."""
    local = url is not None and http.URL(url).host in _HERE
    trusted = _trusted(not local)
    try:
        return openai.DefaultAsyncHttpxClient(verify=trusted, trust_env=not local)
    except (ValueError, ImportError, http.InvalidURL):  # which may tell of its password
        raise InputError(
            "the proxy that stands in the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) must be http://HOST:PORT,"
            " NAME:PASSWORD@ before the host where it wants them; write '/', '#', '?' and '@' in a password as %2F,"
            " %23, %3F and %40 (socks5:// wants the package socksio)"
        ) from None


@cache
def _trusted(environment: bool) -> ssl.SSLContext:
    """Whose certificates are believed; read once for all connections, since it takes its time. Raises InputError."""
    named = os.environ.get("SSL_CERT_FILE")
    try:
        if environment and named:
            os.stat(named)  # httpx takes no notice of one that is not there
        return http.create_ssl_context(trust_env=environment)
    except OSError as error:
        said = named or os.environ.get("SSL_CERT_DIR") or "the system"
        raise InputError(f"no certificates in {said} (SSL_CERT_FILE, SSL_CERT_DIR): {error}") from None
