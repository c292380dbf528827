"""The way to the upstreams: a call is sent to one of them, and the head of its answer comes back.

Another upstream is asked only where no connection came about, so that no call is ever made twice.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import TypeAlias

import aiohttp
from yarl import URL

from ...surfaces.refused import PriorRefusals
from .door import Refusal
from .head import BAD_PATH, Head
from .limits import Limits
from .metrics import Metrics
from .relay import RelayTarget, Rotation

SentBody: TypeAlias = bytes | BytesIO | AsyncIterator[bytes] | None
"""What goes to an upstream: a body whose length is known, one that is still coming, or none."""

_HEADER_BYTES, _MOST_HEADERS = 65_536, 10_000
_UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class OwnAnswer(Exception):
    """The proxy has an answer of its own to a call."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class Unreached(OwnAnswer):
    """No connection to an upstream came about: nothing was sent."""


def new_session(limits: Limits) -> aiohttp.ClientSession:
    """Connections to upstreams that add nothing of their own and follow nothing."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
        timeout=aiohttp.ClientTimeout(
            total=limits.total, sock_connect=limits.connect, sock_read=max(limits.first_byte, limits.silence)
        ),
        max_line_size=_HEADER_BYTES,
        max_field_size=_HEADER_BYTES,
        max_headers=_MOST_HEADERS,
    )


@dataclass(frozen=True, slots=True)
class Onward:
    """The upstreams, and how they are reached."""

    rotation: Rotation
    limits: Limits
    metrics: Metrics
    session: aiohttp.ClientSession
    proxies: Mapping[RelayTarget, str | None]
    """The HTTP proxies that the environment puts before upstreams."""
    _refusals: dict[RelayTarget, PriorRefusals] = field(default_factory=dict)

    def refusals(self, target: RelayTarget) -> PriorRefusals:
        """What an upstream refuses with a prior in it."""
        found = self._refusals.get(target)
        if found is None:
            found = self._refusals[target] = PriorRefusals()
        return found

    def forget_refusals(self) -> None:
        """An upstream was probed anew."""
        for each in self._refusals.values():
            each.forget()

    async def ask(
        self, target: RelayTarget, head: Head, headers: Sequence[tuple[str, str]], body: SentBody
    ) -> aiohttp.ClientResponse:
        """The head of an upstream's answer; raises OwnAnswer where there is none, Unreached where nothing was sent."""
        address = _address(target, head.raw_path, head.query)
        if address is None:
            raise OwnAnswer(BAD_PATH)
        try:
            async with asyncio.timeout(self._first_byte):
                response = await self.session.request(
                    head.method,
                    address,
                    headers=headers,
                    data=body,
                    allow_redirects=False,
                    proxy=self.proxies[target],
                )
        except _UNREACHED as error:
            self.rotation.failed(target)
            raise Unreached(self._fault(target, "unreachable", f"cannot be reached ({_why(error)})")) from error
        except TimeoutError as error:
            raise OwnAnswer(self._fault(target, "timeout", "gave no answer in time", 504)) from error
        except aiohttp.ClientError as error:
            raise OwnAnswer(self._fault(target, "unreachable", f"broke off ({_why(error)})")) from error
        self._quicken(response)
        return response

    def _quicken(self, response: aiohttp.ClientResponse) -> None:
        """From its head on an answer may be silent for as long as is allowed within one, and no longer."""
        allowed, connection = self.limits.silence, response.connection
        protocol = connection.protocol if connection else None  # None: all of the answer is here
        if protocol is not None and allowed < self.limits.first_byte:
            protocol.read_timeout = allowed
            protocol.start_timeout()

    @property
    def _first_byte(self) -> float | None:
        """None where the session's own limit, on silence, is as good: a timer for each call costs something."""
        return self.limits.first_byte if self.limits.first_byte < self.limits.silence else None

    def _fault(self, target: RelayTarget, kind: str, what: str, status: int = 502) -> Refusal:
        self.metrics.fault(kind)
        return Refusal(status, f"upstream_{kind}", f"the upstream {target.base} {what}", "upstream_error")


@lru_cache(4_096)
def _address(target: RelayTarget, path: bytes, query: bytes) -> URL | None:
    url = target.url(path, query)
    return None if url is None else URL(url, encoded=True)


def _why(error: BaseException) -> str:
    """What went wrong, without what a stranger could have put into it."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate does not verify"
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return getattr(inner, "strerror", None) or type(inner).__name__
