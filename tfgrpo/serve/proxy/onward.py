"""The way to the upstreams: a call is sent to one of them, and the head of its answer comes back.

Another upstream is asked only where no connection came about, so that no call is ever made twice.
"""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ...http1.answers import AnswerBroken, UpstreamAnswer
from ...http1.connections import NotConnected, UpstreamConnections
from ...http1.dialing import UpstreamSite
from ...http1.outgoing import SentBody, outgoing
from ...surfaces.refused import PriorRefusals
from .door import Refusal
from .head import BAD_PATH, Head
from .limits import Limits
from .metrics import Metrics
from .relay import RelayTarget, Rotation

_LONG = 500
"""Bytes of a path and a query together that are not kept in mind."""


class OwnAnswer(Exception):
    """The proxy has an answer of its own to a call."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class Unreached(OwnAnswer):
    """No connection to an upstream came about: nothing was sent."""


@dataclass(frozen=True, slots=True)
class Onward:
    """The upstreams, and how they are reached."""

    rotation: Rotation
    limits: Limits
    metrics: Metrics
    connections: UpstreamConnections
    sites: Mapping[RelayTarget, UpstreamSite]
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
        self, target: RelayTarget, head: Head, headers: Sequence[tuple[bytes, bytes]], body: SentBody | None
    ) -> UpstreamAnswer:
        """The head of an upstream's answer; raises OwnAnswer where there is none, Unreached where nothing was sent."""
        site = self.sites[target]
        named = _address if len(head.raw_path) + len(head.query) > _LONG else _known_address
        address = named(target, site, head.raw_path, head.query)
        if address is None:
            raise OwnAnswer(BAD_PATH)
        try:
            return await self.connections.ask(site, outgoing(site, head.method, address, headers, body))
        except NotConnected as error:
            self.rotation.failed(target)
            raise Unreached(self._fault(target, "unreachable", f"cannot be reached ({_why(error)})")) from error
        except TimeoutError as error:
            raise OwnAnswer(self._fault(target, "timeout", "gave no answer in time", 504)) from error
        except AnswerBroken as error:
            raise OwnAnswer(self._fault(target, "unreachable", f"broke off ({_why(error)})")) from error

    def _fault(self, target: RelayTarget, kind: str, what: str, status: int = 502) -> Refusal:
        self.metrics.fault(kind)
        return Refusal(status, f"upstream_{kind}", f"the upstream {target.base} {what}", "upstream_error")


def _address(target: RelayTarget, site: UpstreamSite, path: bytes, query: bytes) -> bytes | None:
    """What a request names: a path, or to a proxy that reads it all of the URL."""
    url = target.url(path, query)
    if url is None or " " in url:
        return None
    whole = site.through is not None and not site.secure
    return (url if whole else "/" + url.partition("://")[2].partition("/")[2]).encode("latin-1")


_known_address = lru_cache(4_096)(_address)


def _why(error: BaseException) -> str:
    """What went wrong, without what a stranger could have put into it."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "its certificate does not verify"
    if cause is None:
        return str(error)
    return getattr(cause, "strerror", None) or type(cause).__name__
