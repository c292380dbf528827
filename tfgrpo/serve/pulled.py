"""The live prior of a `tfgrpo serve` somewhere else, pulled over HTTP: `GET URL/tfgrpo/v1/priors/NAMESPACE`.

The answer is what `tfgrpo prior export` writes, and its ETag is the prior's id: while that stands the server answers
304. What does not hash to its id is refused. The last good one is kept in the user's cache folder, for a start while
the server is away.
"""

import os
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPException, InvalidURL
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import quote, urlsplit

from ..errors import StoreError
from ..hashing import content_id
from .places import InForce, exported_snapshot, kept_ready

ROUTE = "/tfgrpo/v1/priors/"
KEY_VARIABLE = "TFGRPO_API_KEY"
"""The environment variable with the key that the server wants, if it wants one."""

NONE_LIVE = "no_live_prior"
"""The code of the error by which a server says that nothing is live in a namespace, or not any more."""

_SECONDS = 2.0
"""For one look, which the first call waits for."""
_BYTES = 32_000_000
_UNCHANGED, _NONE = 304, 404


class UrlPlace:
    """A namespace of a `tfgrpo serve`. What was read last is kept, on disk too."""

    seconds = 0.5
    keeps = True

    def __init__(self, url: str, namespace: str, *, folder: Path | None = None) -> None:
        self._given = url, folder
        self._url = url.rstrip("/").removesuffix("/v1") + ROUTE + quote(namespace, safe="")
        self.name = _without_secrets(self._url)
        self.path = (folder or _cache_folder()) / f"{content_id('pulled', self._url)}.json"
        self._namespace = namespace
        self._etag: str | None = None

    def look(self, known: InForce) -> InForce:
        """Raises StoreError for a server that gives nothing usable, where no copy is kept either."""
        try:
            status, etag, text = self._get()
        except (OSError, ValueError, HTTPException) as error:  # URLError is an OSError; ValueError: no URL, no UTF-8
            return self._kept(known, StoreError(f"{self.name} cannot be reached: {_reason(error)}"))
        if status == _UNCHANGED:
            return known
        if status == _NONE and f'"{NONE_LIVE}"' in text:  # said by the server itself, and by no gateway before it
            self._etag = None
            with suppress(OSError):
                self.path.unlink()
            return InForce(reason="namespace")
        if status != 200:
            why = "; set TFGRPO_API_KEY to a key of it" if status in (401, 403) else ""
            return self._kept(known, StoreError(f"{self.name} answered {status}{why}"))
        return self._taken(known, etag, text)

    def beside(self, namespace: str) -> "UrlPlace":
        """The same server."""
        url, folder = self._given
        return UrlPlace(url, namespace, folder=folder)

    def close(self) -> None:
        """Ask for all of it at the next look."""
        self._etag = None

    def renew(self) -> None:
        """Nothing is the parent's alone: each look is a connection of its own."""

    def _get(self) -> tuple[int, str | None, str]:
        try:
            request = self._request()
            with urllib.request.urlopen(request, timeout=_SECONDS) as response:
                content = response.read(_BYTES + 1)
                if len(content) > _BYTES:
                    raise ValueError(f"more than {_BYTES} bytes")
                return response.status, response.headers.get("etag"), content.decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, None, error.read(_BYTES).decode(errors="replace") if error.code == _NONE else ""

    def _request(self) -> urllib.request.Request:
        request = urllib.request.Request(self._url, headers={"accept": "application/json"})
        if self._etag:
            request.add_header("if-none-match", self._etag)
        if key := os.environ.get(KEY_VARIABLE, "").strip():
            if not (key.isascii() and key.isprintable()):  # urllib's own error would show it
                raise ValueError(f"{KEY_VARIABLE} is no key")
            request.add_unredirected_header("authorization", f"Bearer {key}")  # it is for this server alone
        return request

    def _taken(self, known: InForce, etag: str | None, text: str) -> InForce:
        try:
            live = exported_snapshot(self.name, text)
        except StoreError as error:
            return self._kept(known, error)
        if etag and etag.removeprefix("W/").strip('"') != live.prior.id:  # W/: something between packs answers
            return self._kept(known, StoreError(f"{self.name} calls {live.prior.id} {etag}: it was changed on the way"))
        self._etag = etag
        _keep(self.path, text)
        return kept_ready(InForce(replace(live, namespace=self._namespace)), known)

    def _kept(self, known: InForce, error: StoreError) -> InForce:
        """What is kept on disk, at the first look; raises the error later, or where there is nothing."""
        if known.live:
            raise error
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            raise error from None
        live = exported_snapshot(str(self.path), text)
        return kept_ready(InForce(replace(live, namespace=self._namespace)), known)


def _cache_folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("tfgrpo") / "priors"


def _keep(path: Path, text: str) -> None:
    """Write it whole or not at all; a folder that cannot be written only means that nothing is kept."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            file.write(text)
        os.replace(file.name, path)
    except OSError:
        pass


def _reason(error: Exception) -> str:
    if isinstance(error, InvalidURL):  # it quotes what may be a password
        return "its URL is none"
    if isinstance(error, HTTPException):
        return f"what answers speaks no HTTP ({type(error).__name__})"
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def _without_secrets(url: str) -> str:
    """The URL without a password or a query, for people."""
    try:
        parts = urlsplit(url)
    except ValueError:  # it is none, which every look will tell
        return url.rpartition("@")[2].partition("?")[0]
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
