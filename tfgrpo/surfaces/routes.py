"""The surfaces that there are, and which of them a request belongs to. Pure."""

import re
from collections.abc import Sequence
from functools import lru_cache

from .chat import CHAT
from .completions import COMPLETIONS
from .decisions import DECISIONS
from .messages import MESSAGES
from .responses import RESPONSES
from .surface import Surface

SURFACES: Sequence[Surface] = (CHAT, RESPONSES, MESSAGES, COMPLETIONS, DECISIONS)

_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/")
_OTHERS = re.compile(r"/threads/[^/]+/messages$")
"""Routes that end as one of ours does, and are not."""


@lru_cache(1_024)
def surface_of(method: str, path: str) -> Surface | None:
    """The surface of a request; None where a prior has no place in it. A query and what stands before do not matter."""
    bare = path.partition("?")[0].rstrip("/")
    if method != "POST" or _OTHERS.search(bare):
        return None
    return next((surface for surface in SURFACES if bare.endswith(surface.route)), None)


def deployment_of(path: str) -> str | None:
    """The deployment that a path of Azure's names, which stands for the model where the body names none."""
    found = _DEPLOYMENT.search(path)
    return found[1] if found else None
