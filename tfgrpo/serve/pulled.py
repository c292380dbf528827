"""The live prior of a `tfgrpo serve` somewhere else, pulled over HTTP: `GET URL/tfgrpo/v1/priors/NAMESPACE`.

The answer is what `tfgrpo prior export` writes, and its ETag is the prior's id: while that stands the server answers
304. What does not hash to its id is refused. The last good one is kept in the user's cache folder, for a start while
the server is away.
"""

import os
import random
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPException, InvalidURL
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from ..errors import StoreError
from ..hashing import content_id
from ..records import Snapshot
from .places import InForce, exported_in_force, exported_snapshot, kept_ready

ROUTE = "/tfgrpo/v1/priors/"
KEY_VARIABLE = "TFGRPO_API_KEY"
"""The environment variable with the key that the server wants, if it wants one."""

NONE_LIVE = "no_live_prior"
"""The code of the error by which a server says that nothing is live in a namespace, or not any more."""

CANARY_HEADER = "x-tfgrpo-canary"
"""Of an answer: the candidate that a share of the calls has, as `ID SHARE`; its text stands at `?canary=ID`."""

_LOOK_SECONDS = 3.0
"""Between two looks at most: a fleet asks one server."""
_SECONDS = 2.0
"""For one look, which the first call waits for."""
_BYTES = 32_000_000
_UNCHANGED, _NONE = 304, 404


class KeptCopy:
    """What was read last from a place, in the user's cache folder: for a start while the place is away."""

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self.path = (folder or _cache_folder()) / f"{content_id('pulled', name)}.json"

    def keep(self, text: str) -> None:
        """Write it whole or not at all; a folder that cannot be written only means that nothing is kept."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with NamedTemporaryFile("w", encoding="utf-8", dir=self.path.parent, delete=False) as file:
                file.write(text)
            os.replace(file.name, self.path)
        except OSError:
            pass

    def forget(self) -> None:
        """Remove it: nothing is live there any more."""
        with suppress(OSError):
            self.path.unlink()

    def in_force(
        self, known: InForce, error: StoreError, namespace: str, trust: Path | None, *, only: bool = False
    ) -> InForce:
        """What is kept, at the first look; raises the error later, or where there is nothing."""
        if known.live:
            raise error
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            raise error from None
        return exported_in_force(str(self.path), text, known, namespace, trust, only=only)


class PulledAnswer(NamedTuple):
    """An answer of the server's."""

    status: int
    text: str = ""
    etag: str | None = None
    canary: str | None = None
    """As its header has it."""


class UrlPlace:
    """A namespace of a `tfgrpo serve`, or an exported file (`.json`) on any web server.

    What was read last is kept, on disk too.
    """

    keeps = True

    def __init__(
        self, url: str, namespace: str, *, folder: Path | None = None, trust: Path | None = None, only: bool = False
    ) -> None:
        self._given, self._trust, self._only = (url, folder), trust, only
        self._is_file = url.partition("?")[0].lower().endswith(".json")
        self._url = url if self._is_file else server_of(url) + ROUTE + quote(namespace, safe="")
        self.name = without_secrets_in(self._url)
        self._copy = KeptCopy(self._url, folder)
        self.path = self._copy.path
        self._namespace = namespace
        self._etag: str | None = None

    @property
    def server(self) -> str | None:
        """The `tfgrpo serve` that it is pulled from; None: it is a file."""
        return None if self._is_file else server_of(self._given[0])

    @property
    def seconds(self) -> float:
        """As a PriorPlace's; each time another, so that a fleet does not ask all at once."""
        return _LOOK_SECONDS * random.uniform(0.6, 1.0)

    def listen(self) -> bool:
        """Nobody tells it."""
        return False

    def look(self, known: InForce) -> InForce:
        """Raises StoreError for a server that gives nothing usable, where no copy is kept either."""
        try:
            found = self._get(self._url, self._etag)
        except (OSError, ValueError, HTTPException) as error:  # URLError is an OSError; ValueError: no URL, no UTF-8
            return self._kept(known, StoreError(f"{self.name} cannot be reached: {_reason(error)}"))
        if found.status == _UNCHANGED:
            return self._with_canary(known, found.canary, known)
        if found.status == _NONE and f'"{NONE_LIVE}"' in found.text:  # by the server itself, no gateway before it
            self._etag = None
            self._copy.forget()
            return self._with_canary(InForce(reason="namespace"), found.canary, known)
        if found.status != 200:
            why = "; set TFGRPO_API_KEY to a key of it" if found.status in (401, 403) else ""
            return self._kept(known, StoreError(f"{self.name} answered {found.status}{why}"))
        return self._taken(known, found)

    def beside(self, namespace: str) -> "UrlPlace":
        """The same server."""
        url, folder = self._given
        return UrlPlace(url, namespace, folder=folder, trust=self._trust, only=self._is_file)

    def close(self) -> None:
        """Ask for all of it at the next look."""
        self._etag = None

    def renew(self) -> None:
        """Nothing is the parent's alone: each look is a connection of its own."""

    def _get(self, url: str, etag: str | None = None) -> PulledAnswer:
        try:
            with urllib.request.urlopen(request_to(url, etag), timeout=_SECONDS) as response:
                content = response.read(_BYTES + 1)
                if len(content) > _BYTES:
                    raise ValueError(f"more than {_BYTES} bytes")
                told = response.headers
                return PulledAnswer(response.status, content.decode(), told.get("etag"), told.get(CANARY_HEADER))
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(_BYTES).decode(errors="replace") if error.code == _NONE else ""
                return PulledAnswer(error.code, text, None, error.headers.get(CANARY_HEADER))

    def _taken(self, known: InForce, found: PulledAnswer) -> InForce:
        try:
            live = exported_in_force(self.name, found.text, known, self._namespace, self._trust, only=self._only)
        except StoreError as error:
            return self._kept(known, error)
        etag, snapshot = found.etag, live.live
        if etag and snapshot and not self._is_file and etag.removeprefix("W/").strip('"') != snapshot.prior.id:
            changed = f"{self.name} calls {snapshot.prior.id} {etag}: it was changed on the way"
            return self._kept(known, StoreError(changed))  # W/: something between packs answers
        self._etag = etag
        self._copy.keep(found.text)
        return self._with_canary(live, found.canary, known)

    def _with_canary(self, found: InForce, told: str | None, known: InForce) -> InForce:
        """The same with the canary that is out, if there is one that can be had; it is asked for once."""
        id_, share = _canary_of(told)
        before = known.canary
        if id_ is None:
            return found if found.canary is None else replace(found, canary=None, share=0.0)
        if before is None or before.prior.id != id_:
            before = self._canary(id_)
        if before is None:
            return replace(found, canary=None, share=0.0)
        if (found.canary, found.share) == (before, share):
            return found
        return kept_ready(replace(found, canary=before, share=share), known)

    def _canary(self, id_: str) -> Snapshot | None:
        try:
            answer = self._get(f"{self._url}?canary={quote(id_, safe='')}")
            if answer.status == 200:
                found = exported_snapshot(self.name, answer.text, self._trust)
                if found.prior.id == id_:
                    return replace(found, namespace=self._namespace, state="canary")
        except (OSError, ValueError, HTTPException, StoreError):  # the live one is what matters
            pass
        return None

    def _kept(self, known: InForce, error: StoreError) -> InForce:
        return self._copy.in_force(known, error, self._namespace, self._trust, only=self._only)


def server_of(url: str) -> str:
    """The base of a `tfgrpo serve` from the URL that it is known by, with `/v1` or without."""
    return url.rstrip("/").removesuffix("/v1")


def request_to(url: str, etag: str | None = None, content: bytes | None = None) -> urllib.request.Request:
    """A request with the key that the server wants; raises ValueError for what is no URL, or no key."""
    request = urllib.request.Request(url, content, headers={"accept": "application/json"})
    if content is not None:
        request.add_header("content-type", "application/json")
    if etag:
        request.add_header("if-none-match", etag)
    if key := os.environ.get(KEY_VARIABLE, "").strip():
        if not (key.isascii() and key.isprintable()):  # urllib's own error would show it
            raise ValueError(f"{KEY_VARIABLE} is no key")
        request.add_unredirected_header("authorization", f"Bearer {key}")  # it is for this server alone
    return request


def _canary_of(told: str | None) -> tuple[str | None, float]:
    """The id and the share that a header names."""
    id_, _, number = (told or "").strip().partition(" ")
    try:
        share = float(number)
    except ValueError:
        return None, 0.0
    return (id_, share) if id_ and 0 < share <= 1 else (None, 0.0)


def _cache_folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("tfgrpo") / "priors"


def _reason(error: Exception) -> str:
    if isinstance(error, InvalidURL):  # it quotes what may be a password
        return "its URL is none"
    if isinstance(error, HTTPException):
        return f"what answers speaks no HTTP ({type(error).__name__})"
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def without_secrets_in(url: str) -> str:
    """The URL without a password or a query, for people."""
    try:
        parts = urlsplit(url)
    except ValueError:  # it is none, which every look will tell
        return url.rpartition("@")[2].partition("?")[0]
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
