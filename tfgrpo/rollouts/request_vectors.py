"""The vectors of what requests ask, by a prior's embedding model: one call for each text of a run, to the upstream that
answers the requests too.

Each call is journalled, so that a resumed run repeats none. A text whose call fails has no vector in the run: trigrams
choose for it, which is said once and noted in the journal, for a resumed run has to make the same requests.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from weakref import WeakKeyDictionary

from ..errors import InputError, ModelError
from ..hashing import content_id
from ..model.upstream import Model, Upstream
from ..records import CallKey, Usage
from ..surfaces.nearest import compact, looked_at

VECTORS_STAGE = "embedding request"
"""What the journal calls these calls."""
_FAILED_STAGE = "no embedding request"
_FAILED = content_id("note", _FAILED_STAGE)
"""What the journal holds in place of the hash of a request where one of them has failed."""
_KEPT = 8_192
"""Vectors of one upstream that are kept; each takes about as many bytes as it has numbers."""

_logger = logging.getLogger("tfgrpo")


class _Vectors:
    """Those of one upstream, in one run after the other."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], str] = {}
        """By run, model and text; the one that was looked for last stands last."""
        self._asked: dict[tuple[str, str, str], asyncio.Task[str]] = {}
        self._failed = set[str]()
        """Models of which it was said."""

    def add(self, run: str, model: str, vectors: Mapping[str, str]) -> None:
        for text, vector in vectors.items():
            self._keep((run, model, text), vector)

    async def of(self, upstream: Upstream, run: str, model: str, text: str) -> str:
        place = (run, model, text)
        if (known := self._known.pop(place, None)) is not None:
            self._known[place] = known
            return known
        asked = self._asked.get(place)
        if asked is None:  # those of a group ask at once
            asked = self._asked[place] = asyncio.create_task(self._ask(upstream, run, model, text))
            asked.add_done_callback(lambda done: self._end(place, done))
        vector = await asyncio.shield(asked)  # another one may wait for it
        self._keep(place, vector)
        return vector

    def _end(self, place: tuple[str, str, str], done: asyncio.Task[str]) -> None:
        self._asked.pop(place, None)
        if not done.cancelled():
            done.exception()  # whoever waited may have gone

    def _keep(self, place: tuple[str, str, str], vector: str) -> None:
        self._known[place] = vector
        while len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]

    async def _ask(self, upstream: Upstream, run: str, model: str, text: str) -> str:
        key = CallKey(run, VECTORS_STAGE, task=content_id("text", model, text))
        failed = replace(key, stage=_FAILED_STAGE)
        if await upstream.journalled.committed(failed, _FAILED) is not None:
            return ""
        try:
            found = await upstream.embed(model, [text], key)
        except (ModelError, InputError) as error:  # InputError: it has no price, where prices are to be kept to
            await upstream.journalled.commit(failed, _FAILED, str(error), Usage())
            if model not in self._failed:
                self._failed.add(model)
                _logger.warning("no embedding by %s, so trigrams choose the nearest demonstrations: %s", model, error)
            return ""
        return compact(found.vectors[0])


_OF: WeakKeyDictionary[Upstream, _Vectors] = WeakKeyDictionary()


def add_vectors(upstream: Upstream, run: str, model: str, vectors: Mapping[str, str]) -> None:
    """Take in vectors in the compact form, by text, that are known already."""
    _OF.setdefault(upstream, _Vectors()).add(run, model, {looked_at(text): one for text, one in vectors.items()})


async def vector_for(upstream: Model, run: str, model: str, text: str) -> str:
    """The vector of a text in the compact form; empty where there is none. Raises BudgetEnded."""
    if not (isinstance(upstream, Upstream) and text.strip()):
        return ""
    return await _OF.setdefault(upstream, _Vectors()).of(upstream, run, model, looked_at(text))
