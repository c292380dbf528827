"""Pages of the proxy's own: whether it lives, whether it is ready, its figures, and the priors that clients pull."""

import asyncio
import time
from collections.abc import Mapping

from ...priors.portable import Event, Portable, json_text
from ...priors.signing import signed_text, signer
from ...records import JSON, Snapshot
from ..pulled import CANARY_HEADER, NONE_LIVE, ROUTE
from .asgi import Send, error_body, respond, respond_bytes
from .call import Works
from .door import Refusal, presented_key
from .head import Head
from .headers import with_key
from .metrics import CONTENT_TYPE
from .onward import OwnAnswer
from .relay import RelayTarget

_PROBE_SECONDS = 2.0
"""For one look at an upstream, and how long what it found is good for."""
_OWN = "/tfgrpo/"
_NOT_ADMIN = Refusal(403, "admin_key_needed", "this page needs an admin key: tfgrpo keys add NAME --admin")
_NOT_YOURS = Refusal(403, "namespace_not_allowed", "this key is not for that namespace")
_UNKNOWN = Refusal(404, "not_found", "this proxy has no such page")
_NO_PRIOR = Refusal(404, NONE_LIVE, "no prior is live in that namespace")


class Pages:
    """What the proxy answers by itself."""

    def __init__(self, works: Works) -> None:
        self._works = works
        self._seen: dict[RelayTarget, tuple[float, str | None]] = {}
        self._looking = asyncio.Lock()
        self._written: dict[str, bytes] = {}
        self._signer = signer()

    def has(self, path: str) -> bool:
        """Whether a path is one of these."""
        return path in _PAGES or path.startswith(_OWN)

    async def answer(self, head: Head, send: Send, in_flight: int) -> None:
        """Answer a call to one of them."""
        if head.method not in ("GET", "HEAD"):
            await _refuse(send, Refusal(405, "method_not_allowed", "this page can be read, and no more"))
        elif head.path == "/healthz":
            await respond(send, 200, {"status": "ok"})
        elif head.path == "/readyz":
            await self._ready(send)
        elif refusal := self._refusal(head):
            await _refuse(send, refusal)
        elif head.path == "/metrics":
            text = self._works.metrics.text(in_flight, self._works.shelf)
            await respond_bytes(send, 200, text, [(b"content-type", CONTENT_TYPE)])
        elif head.path.startswith(ROUTE):
            await self._prior(head, send)
        else:
            await _refuse(send, _UNKNOWN)

    def _refusal(self, head: Head) -> Refusal | None:
        """Why a page that tells something may not be read: figures are for admins, a prior for those who have it."""
        door, keys = self._works.door, self._works.shelf.held.keys
        asked = door.guards(keys)
        key = presented_key(head.given, keys) if asked else None
        if refusal := door.refusal(head.given, key, asked):
            return refusal
        if key is None or key.admin:
            return None
        if not head.path.startswith(ROUTE):
            return _NOT_ADMIN
        return None if key.namespace in (None, head.path.removeprefix(ROUTE)) else _NOT_YOURS

    # Whether calls can be served

    async def _ready(self, send: Send) -> None:
        """Ready is who has tried to read the store, and reaches an upstream; how the store is stands beside."""
        shelf = self._works.shelf
        troubles = [await self._trouble(target) for target in self._works.onward.rotation.targets]
        until = "what was read last is served" if shelf.held.namespaces else "calls go out without a prior"
        store = f"cannot be read; {until}" if shelf.trouble else "ok"
        ready = not troubles or not all(troubles)
        told: dict[str, JSON] = {"status": "ready" if ready else "not ready", "store": store}
        told["upstreams"] = [trouble or "ok" for trouble in troubles]
        told["prior"] = shelf.snapshot.prior.id if shelf.snapshot else None
        await respond(send, 200 if ready else 503, told, [] if ready else [(b"retry-after", b"2")])

    async def _trouble(self, target: RelayTarget) -> str | None:
        """Why an upstream cannot serve, as seen a moment ago; None: it can."""
        async with self._looking:
            when, trouble = self._seen.get(target, (-_PROBE_SECONDS, None))
            if time.monotonic() - when >= _PROBE_SECONDS:
                trouble = await self._look_at(target)
                self._seen[target] = time.monotonic(), trouble
        return trouble

    async def _look_at(self, target: RelayTarget) -> str | None:
        """Any answer but a server's error will do: one without a key is a 401."""
        headers = with_key((), target.key, {}, anthropic=False) if target.key else []
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                answer = await self._works.onward.ask(target, _MODELS, headers, None)
        except TimeoutError:
            return "gives no answer in time"
        except OwnAnswer:
            return "cannot be reached"
        answer.close()
        return f"answers {answer.status}" if answer.status >= 500 else None

    # Priors to pull

    async def _prior(self, head: Head, send: Send) -> None:
        """The live prior of a namespace, its canary and that one's share beside it; with `?canary=ID` the canary."""
        held, namespace = self._works.shelf.held, head.path.removeprefix(ROUTE)
        offer, known = held.offers.get(namespace), head.given.get("if-none-match", "")
        canary = offer.canary if offer else None
        asked = head.query.startswith(b"canary=")
        told = [(CANARY_HEADER.encode(), f"{canary.prior.id} {offer.share}".encode())] if offer and canary else []
        snapshot = held.snapshots.get(namespace)
        if asked:
            snapshot = canary if canary and head.query == f"canary={canary.prior.id}".encode() else None
        if snapshot is None:
            body = error_body(_NO_PRIOR.kind, _NO_PRIOR.code, _NO_PRIOR.message)
            await respond(send, _NO_PRIOR.status, body, told)
            return
        tag = f'"{snapshot.prior.id}"'
        headers = [(b"etag", tag.encode()), (b"cache-control", b"no-cache"), *told]
        if tag in known or known.strip() == "*":
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body"})
            return
        await respond_bytes(send, 200, self._exported(snapshot), [*headers, (b"content-type", b"application/json")])

    def _exported(self, snapshot: Snapshot) -> bytes:
        """As `tfgrpo prior export` writes it, less the history, which stays with the store."""
        key = f"{snapshot.namespace} {snapshot.prior.id} {snapshot.state}"
        if key not in self._written:
            if len(self._written) > 100:
                self._written.clear()
            standing = Event(snapshot.state, "", "", "", "")
            given = Portable(snapshot.prior, snapshot.frame, snapshot.namespace, lineage=(standing,))
            self._written[key] = (signed_text(given, self._signer) if self._signer else json_text(given)).encode()
        return self._written[key]


_MODELS = Head("GET", "/v1/models", b"/v1/models", b"", (), {}, None)
_PAGES = ("/healthz", "/readyz", "/metrics")


async def _refuse(send: Send, refusal: Refusal) -> None:
    body: Mapping[str, JSON] = error_body(refusal.kind, refusal.code, refusal.message)
    await respond(send, refusal.status, body, refusal.lines)
