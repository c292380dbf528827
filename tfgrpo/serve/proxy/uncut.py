"""Whether the answer to a chat completion may be written in chunks, or why not: it is more than one text, or its
upstream cannot go on.

Upstreams go on where `tfgrpo probe` saw how, or saw a server that is known to. Pure.
"""

from collections.abc import Mapping
from typing import Any

from ...records import Backend, ChatBody
from ...rollouts.bounded import Bounds
from ...rollouts.uncuttable import uncuttable
from ...rollouts.ways_on import AS_TEXT, way_on

_LENGTHS = ("max_completion_tokens", "max_tokens")


def why_whole(request: Any, bounds: Bounds, backends: Mapping[str, Backend]) -> str | None:
    """Why the answer to a request is not cut, in a word; None: it can be."""
    messages = request.get("messages") if isinstance(request, dict) else None
    if not (isinstance(messages, list) and messages and all(isinstance(one, dict) for one in messages)):
        return "shape"
    if found := uncuttable(request):
        return found[1]
    most, model = most_wanted(request), request.get("model")
    backend = backends.get(model) if isinstance(model, str) else None
    reasons = {
        "n": request.get("n") not in (None, 1),
        "continues": messages[-1].get("role") == "assistant",
        "shape": not (isinstance(most, int | None) and any(one.get("role") == "user" for one in messages)),
        "short": isinstance(most, int) and most <= bounds.chunk,
        "upstream": backend is None or way_on(backend) == AS_TEXT,
    }
    return next((why for why, is_so in reasons.items() if is_so), None)


def most_wanted(request: ChatBody) -> Any:
    """Tokens that the caller wants at most."""
    return next((request[name] for name in _LENGTHS if request.get(name) is not None), None)
