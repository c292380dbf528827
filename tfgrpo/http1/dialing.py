"""How a connection to an upstream comes about: names looked up, the first address that answers, the environment's HTTP
proxies, TLS. What is spoken over it is no matter here.
"""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

import aiohappyeyeballs

from ..errors import InputError

_P = TypeVar("_P", bound=asyncio.Protocol)

_EYEBALLS_SECONDS = 0.25
"""Until the next address of a name is tried beside the one that has not answered (RFC 8305)."""
_REMEMBERED_SECONDS = 10.0
"""For the addresses of a name: a burst of connections asks once."""
_MOST_OF_A_HEAD = 65_536
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ForwardProxy:
    """An HTTP proxy that the environment puts before an upstream."""

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """From what HTTP_PROXY says, which may hold a name and a password; InputError for what is no HTTP proxy."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port or 80
        except ValueError:  # which may tell of the password
            raise InputError(
                "the proxy that stands in the environment must be http://NAME:PASSWORD@HOST:PORT;"
                " write '/', '#', '?' and '@' in a password as %2F, %23, %3F and %40"
            ) from None
        if parts.scheme != "http" or not parts.hostname:
            raise InputError(
                f"a proxy of scheme {parts.scheme!r} stands in the environment; it must be http://HOST:PORT"
            )
        given = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}" if parts.username else None
        basic = b"Basic " + b64encode(given.encode()) if given else None
        return cls(parts.hostname, port, basic)


@dataclass(frozen=True, slots=True, eq=False)
class UpstreamSite:
    """Where connections for an upstream go to."""

    host: str
    port: int
    secure: bool
    named: bytes
    """As the Host header has it."""
    through: ForwardProxy | None = None

    @classmethod
    def of(cls, base: str, proxy: str | None) -> Self:
        """The site of an upstream by its URL, with the proxy that stands before it; InputError for what is none."""
        parts = urlsplit(base)
        host, usual = parts.hostname or "", _PORTS[parts.scheme]
        try:
            shown = f"[{host}]" if ":" in host else host if host.isascii() else host.encode("idna").decode()
        except UnicodeError as error:
            raise InputError(f"the upstream {base} names no host") from error
        port = parts.port or usual
        named = shown if port == usual else f"{shown}:{port}"
        return cls(host, port, parts.scheme == "https", named.encode(), ForwardProxy.parse(proxy) if proxy else None)

    @property
    def is_tunnelled(self) -> bool:
        """Whether the proxy before it passes bytes on unread."""
        return self.through is not None and self.secure


class Dialer:
    """Makes connections."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: whose certificates are believed; by default those that this machine trusts."""
        self._known: dict[tuple[str, int], tuple[float, Sequence[Any]]] = {}
        self._tls = tls

    def make_ready(self) -> None:
        """Read the certificates that are trusted, which takes its time."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])

    async def dial(self, site: UpstreamSite, protocol: Callable[[], _P]) -> _P:
        """A connection to a site; OSError where there is none, one of TLS among them."""
        loop = asyncio.get_running_loop()
        near = site.through or site
        sock = await aiohappyeyeballs.start_connection(
            await self._addresses(near.host, near.port), happy_eyeballs_delay=_EYEBALLS_SECONDS, loop=loop
        )
        try:
            if site.through and site.is_tunnelled:
                await _tunnel(loop, sock, site, site.through)
            if site.secure:
                self.make_ready()
            tls, name = (self._tls, site.host) if site.secure else (None, None)
            _, made = await loop.create_connection(protocol, sock=sock, ssl=tls, server_hostname=name)
        except BaseException:
            sock.close()
            raise
        return made

    async def _addresses(self, host: str, port: int) -> Sequence[Any]:
        loop = asyncio.get_running_loop()
        until, found = self._known.get((host, port), (0.0, ()))
        if loop.time() >= until:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            self._known[host, port] = loop.time() + _REMEMBERED_SECONDS, found
        return found


async def _tunnel(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, site: UpstreamSite, through: ForwardProxy
) -> None:
    """Have a proxy pass bytes on to a site; OSError where it does not."""
    host = f"[{site.host}]" if ":" in site.host else site.host
    place = f"{host}:{site.port}".encode()
    basic = b"proxy-authorization: %b\r\n" % through.authorization if through.authorization else b""
    await loop.sock_sendall(sock, b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (place, place, basic))
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < _MOST_OF_A_HEAD:
        if not (more := await loop.sock_recv(sock, 1)):  # what follows the head is the site's already
            break
        head += more
    status = head.split(b" ", 2)[1:2]
    if not head.endswith(b"\r\n\r\n") or status[:1] != [b"200"]:
        said = status[0][:3].decode("latin-1") if status else "nothing"
        raise ConnectionRefusedError(0, f"the proxy of the environment answers {said}")
