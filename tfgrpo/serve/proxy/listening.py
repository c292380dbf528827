"""Where the proxy listens: its socket, shared with other workers where there are any, and never its own upstream."""

import socket
from dataclasses import dataclass
from math import inf
from urllib.parse import urlsplit

from ...errors import InputError
from ..logs import LogFormat
from .relay import RelayTarget

_BACKLOG = 2048
_REACHED = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Whom a connection to no address in particular reaches: this machine."""


@dataclass(frozen=True, slots=True)
class Listening:
    """How a server is run."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0: a free one."""
    workers: int = 1
    """Processes that share the port: one uses one core."""
    grace: float = 30.0
    """Seconds that calls in flight have to end when the server is stopped."""
    share_port: bool = False
    """Another server may listen on the same port: the next version, before this one is stopped."""
    hosts: tuple[str, ...] = ()
    """Further names that callers may know it by, where they need no key."""
    origins: tuple[str, ...] = ()
    """Of web pages that may call without a key."""
    log_format: LogFormat = "text"
    log_requests: bool = False

    def __post_init__(self) -> None:
        """Raises InputError for what cannot be."""
        if self.workers < 1:
            raise InputError(f"--workers {self.workers}: at least 1")
        if not 0 <= self.grace < inf:
            raise InputError(f"--grace {self.grace}: a number of seconds")
        if self.shares and not hasattr(socket, "SO_REUSEPORT"):
            raise InputError("this system lets no two processes share a port; leave --workers and --share-port out")

    @property
    def shares(self) -> bool:
        """Whether several processes listen on the port."""
        return self.workers > 1 or self.share_port

    def bound(self, port: int | None = None) -> socket.socket:
        """A socket that has the address, and does not listen yet; raises InputError when it cannot be had."""
        if self.shares and port is None and not self.share_port:
            _bound(self.host, self.port, share=False).close()  # what another program has, nobody may share unasked
        return _bound(self.host, self.port if port is None else port, share=self.shares)


def _bound(host: str, port: int, *, share: bool) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host, port))
    except (OSError, OverflowError) as error:
        made.close()
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen on {host}, port {port}: {reason}; choose another with --host, --port"
        ) from error
    return made


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises InputError when it cannot be had."""
    listener = Listening(host, port).bound()
    try:
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise InputError(f"cannot listen on {host}, port {port}: {error.strerror}; choose another") from error
    return listener


def base_url(bound: socket.socket) -> str:
    """What an SDK is given as `base_url`."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


def check_upstream(target: RelayTarget, bound: socket.socket) -> None:
    """Raises InputError for an upstream that is the proxy itself, under whatever name."""
    parts = urlsplit(target.base)
    host, port = bound.getsockname()[:2]
    if (parts.port or {"http": 80, "https": 443}[parts.scheme]) != port:
        return
    everywhere = host in ("0.0.0.0", "::")
    found = {_REACHED.get(address, address) for address in _addresses(target.host, port)}
    if host in found or (everywhere and any(map(_is_ours, found))):
        raise InputError(f"the upstream {target.base} is this proxy itself: name the API behind it, or another --port")


def _addresses(host: str, port: int) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:
        return set()  # it may come up later


def _is_ours(address: str) -> bool:
    """Whether an address is one of this machine: only those can be bound."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
