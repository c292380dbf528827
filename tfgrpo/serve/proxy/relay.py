"""Where requests go on: an upstream as its base URL names it, and which of several is asked next. No I/O."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ...errors import InputError
from .paths import may_go_on

COOLING_SECONDS = 5.0
"""How long an upstream that could not be reached is asked last."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_EXAMPLE = "https://api.openai.com/v1 or http://127.0.0.1:8080/v1"


@dataclass(frozen=True, slots=True, eq=False)
class RelayTarget:
    """An OpenAI-compatible API, named by the URL that an SDK would be given as `base_url`.

    The proxy's `/v1` stands for that URL: `/v1/models` goes to `BASE/models`. A base that ends in `/v1`, or has no path
    at all, also tells the server's root, and other paths go there: `/tokenize` of the proxy in front of
    `http://host:8091/v1` or `http://host:8091` is `http://host:8091/tokenize`. For any other base (`.../v1beta/openai`)
    other paths go below it. A slash at the end of the base does not matter; query strings are kept.
    """

    base: str
    """Without a slash at the end."""
    key: str | None = field(default=None, repr=False)
    """Sent in place of the caller's; None: the caller's own goes through."""
    weight: int = 1
    """How many calls it gets, beside the weights of the others."""

    @classmethod
    def parse(cls, given: str, key: str | None = None) -> Self:
        """From a URL, or `URL weight=N`; raises InputError for what cannot be a base URL."""
        url, _, weight = given.strip().partition(" weight=")
        if weight and not (weight.isascii() and weight.isdecimal() and 1 <= int(weight) <= 1_000):
            raise InputError(f"--upstream: weight={weight} must be a whole number from 1 to 1000")
        try:
            parts = urlsplit(url)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in url
        except ValueError:
            parts, sound = None, False
        if parts is None or not sound:
            raise InputError(f"the upstream must be a URL such as {_EXAMPLE}")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise InputError("the upstream's URL may hold no password and no query; give its key by --upstream-key-env")
        return cls(url.rstrip("/"), key, int(weight or 1))

    def url(self, path: bytes, query: bytes) -> str | None:
        """The address for a path and a query of the proxy; None for a path that may not go on (`may_go_on`)."""
        if not may_go_on(path):
            return None
        below = path.decode("latin-1")
        if self.base.endswith("/v1") or not urlsplit(self.base).path:
            address = self.base.removesuffix("/v1") + below
        else:
            address = self.base + (below.removeprefix("/v1") if f"{below}/".startswith("/v1/") else below)
        return f"{address}?{query.decode('latin-1')}" if query else address

    @property
    def host(self) -> str:
        """The name of its machine."""
        return _host(self.base)

    def forward_proxy(self) -> str | None:
        """The HTTP proxy that the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) puts before this host."""
        parts = urlsplit(self.base)
        if parts.hostname in LOOPBACK or proxy_bypass(parts.netloc):
            return None
        return getproxies().get(parts.scheme)


@lru_cache
def _host(base: str) -> str:
    return urlsplit(base).hostname or ""


class Rotation:
    """Upstreams that take turns by their weights; one that could not be reached is asked last for a while."""

    def __init__(self, targets: Sequence[RelayTarget], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.targets = tuple(targets)
        self._clock = clock
        self._credit = dict.fromkeys(range(len(self.targets)), 0)
        self._down: dict[RelayTarget, float] = {}

    def order(self) -> Sequence[RelayTarget]:
        """Whom to ask, the first first: the next in turn, then the others, then those that were out of reach."""
        if len(self.targets) == 1:
            return self.targets
        first = self.targets[self._turn()]
        others = [first, *(target for target in self.targets if target is not first)]
        return sorted(others, key=self.is_down)

    def _turn(self) -> int:
        """Smooth weighted round robin: each gains its weight, the richest goes and pays the sum."""
        for place, target in enumerate(self.targets):
            self._credit[place] += target.weight
        chosen = max(self._credit, key=lambda place: self._credit[place])
        self._credit[chosen] -= sum(target.weight for target in self.targets)
        return chosen

    def failed(self, target: RelayTarget) -> None:
        """It could not be reached just now."""
        self._down[target] = self._clock() + COOLING_SECONDS

    def is_down(self, target: RelayTarget) -> bool:
        """Whether it could not be reached a short while ago."""
        return self._clock() < self._down.get(target, 0.0)
