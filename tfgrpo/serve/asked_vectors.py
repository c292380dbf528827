"""The vectors of what calls in use ask, where a prior chooses demonstrations by an embedding model: which are known,
and how one is asked for at the upstream that answers the call too. No I/O.

A text is asked for once in a process, as long as it is kept. Where that fails trigrams choose, and the model is not
asked there for a while, so that no further call waits; the call itself goes on as ever.
"""

import re
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import quote

import orjson

from ..errors import ModelError
from ..surfaces.http import Codec
from ..surfaces.routes import surface_of
from ..surfaces.surface import question

VECTOR_SECONDS = 5.0
"""How long a call waits for a vector at most."""
_PAUSE_SECONDS = 60.0
"""For which a model is not asked after it has failed."""
_KEPT = 4_096
"""Vectors that are kept; each takes about as many bytes as it has numbers."""
_SURFACES = ("chat", "responses")
"""Those whose upstreams may serve embeddings beside them; elsewhere trigrams choose."""
_TEXT_REFUSED = (400, 413, 422)
"""Statuses that may be the text's fault."""
_DEPLOYMENT = re.compile(r"/deployments/[^/]+/")
_FOUND = 200


class WantedVector(NamedTuple):
    """A vector that a call waits for."""

    url: str
    """Names the upstream: where the vector is asked for."""
    model: str
    text: str

    @property
    def content(self) -> bytes:
        """The body of the request for it."""
        return orjson.dumps({"model": self.model, "input": [self.text]})


def embeddings_path(path: str, model: str) -> str | None:
    """Where the embeddings of an upstream are, beside a path that a call goes to; None where it has none."""
    surface = surface_of("POST", path)
    if surface is None or surface.name not in _SURFACES:
        return None
    beside = f"{path.rstrip('/').removesuffix(surface.route)}/embeddings"
    return _DEPLOYMENT.sub(lambda _: f"/deployments/{quote(model, safe='')}/", beside)


def asked_text(content: bytes, path: str, codecs: Sequence[Codec]) -> str:
    """What a call asks, as far as an embedding model looks at it; empty where it is nothing."""
    from ..surfaces.nearest import looked_at  # a client without a pool gets on without numpy

    surface = surface_of("POST", path)
    for codec in codecs if surface else ():
        try:
            body = codec.loads(content)
        except (ValueError, RecursionError):
            continue
        if surface and surface.fits(body):
            return looked_at(question(surface.asked(body)))
    return ""


class AskedVectors:
    """The vectors of one process, in the compact form."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[WantedVector, str] = {}
        """The one that was looked for last stands last."""
        self._paused: dict[tuple[str, str], float] = {}

    def known(self, wanted: WantedVector) -> str | None:
        """The vector; empty where there is none to be had now, None where it is to be asked for."""
        if (found := self._known.pop(wanted, None)) is not None:
            self._known[wanted] = found
            return found
        return "" if self._clock() < self._paused.get(wanted[:2], 0.0) else None

    def take(self, wanted: WantedVector, status: int, content: bytes) -> tuple[str, str | None]:
        """The vector in an answer, and what a person should know, once, where there is none; `status` 0: no answer."""
        from ..model.replies import parse_vectors
        from ..surfaces.nearest import compact

        why = f"the upstream answered {status}" if status else "no answer came in time"
        if status == _FOUND:
            try:
                vector = compact(parse_vectors(content.decode(errors="replace"), 1).vectors[0])
            except ModelError:
                why = "the upstream's answer is none"
            else:
                self._keep(wanted, vector)
                return vector, None
        if status in _TEXT_REFUSED:
            self._keep(wanted, "")
        else:
            self._paused[wanted[:2]] = self._clock() + _PAUSE_SECONDS
        return "", f"no embedding by {wanted.model}: {why}; trigrams choose the nearest demonstrations meanwhile"

    def _keep(self, wanted: WantedVector, vector: str) -> None:
        if len(self._known) >= _KEPT:
            self._known = dict(list(self._known.items())[_KEPT // 2 :])
        self._known[wanted] = vector


VECTORS = AskedVectors()
"""Of this process."""
