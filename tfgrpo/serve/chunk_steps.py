"""One long answer in bounded context, step by step: what is asked next, whoever asks it. Pure.

A client of the SDK goes this way (`in_chunks`), and so does the proxy (`proxy/bounding`).
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from ..errors import ModelError
from ..records import Backend, ChatBody, Usage
from ..rollouts.bounded import NO_TEXT, Bounds, carried
from ..rollouts.chunk_answers import ChunkSaid, in_whole
from ..rollouts.ways_on import CHAT, ChunkRequest, added, steps_on, unless_reasoned, way_on
from ..surfaces.chat import token_estimate

CHUNKS_SAY = ("max_tokens", "max_completion_tokens")
"""How a request says how long its answer may be, and a chunk's how long that chunk may be."""


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """What all chunks came to."""

    text: str
    finish_reason: str
    """Of the last chunk: `length` where there were not enough."""
    usage: Usage
    """Of all of them."""
    way: str = ""
    """How the model went on: `prefix`, `message`, ..., or `text` where it did not; empty for an answer of one chunk."""


def limit_name(request: ChatBody) -> str:
    """The field by which a request sets, or would set, how long its answer may be."""
    return next((name for name in reversed(CHUNKS_SAY) if name in request), CHUNKS_SAY[0])


def written_in_chunks(
    bounds: Bounds,
    request: ChatBody,
    found: Callable[[ChunkSaid], Generator[ChunkRequest, Any, Backend]],
    most: int | None = None,
) -> Generator[ChunkRequest, Any, WholeAnswer]:
    """The requests, one for each chunk, each answered by what was `ChunkSaid`; what they came to.

    What serves the model is `found` before the second chunk, from what the first one said. Asides are answered by their
    JSON, None where there is none. `most`: tokens that the whole answer may have. Raises ModelError for a chunk that
    cannot be gone on from.
    """
    plain = {name: value for name, value in request.items() if name not in CHUNKS_SAY}
    limit, backend, said = limit_name(request), None, ChunkSaid(None, "")
    text, usage, work, spent = "", Usage(), "", 0
    for chunk in range(bounds.chunks):
        room = bounds.room(chunk) if most is None else min(bounds.room(chunk), most - spent)
        asked = ChunkRequest(CHAT, {**plain, limit: room})
        if chunk:
            backend = unless_reasoned(backend or (yield from found(said)), reasoned=said.reasoned)
            work = carried(text, bounds, _counting(usage.completion_tokens, text))
            asked = yield from steps_on(asked.body, work, backend, text)
        said = yield asked
        if said.text is None or not (said.text or chunk or said.finish_reason != "length"):
            raise ModelError(NO_TEXT)
        new = in_whole(said.text, said.finish_reason)
        new = added(new, work, backend) if backend else new
        text += new
        usage += said.usage or Usage(1)
        spent += (said.usage.completion_tokens if said.usage else 0) or room
        if said.finish_reason != "length" or not new or (most is not None and spent >= most):
            break
    return WholeAnswer(text, said.finish_reason, usage, way_on(backend) if backend else "")


def _counting(tokens: int, text: str) -> Callable[[str], int]:
    """How many tokens a text has, where this one took so many; estimated where the upstream counts none."""
    if not tokens:
        return token_estimate
    each = tokens / max(1, len(text))
    return lambda piece: round(len(piece) * each)
