"""Paths of requests: which may go on to an upstream, however they are written, and which route each is of. Pure."""

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

_SUSPICIOUS = re.compile(rb"\.\.|%|\\|;|[\x00-\x20\x7f]")
_BAD_BYTES = re.compile(rb"[\x00-\x1f\x7f\xc0\xc1]")
"""Control characters, and two bytes that UTF-8 never has, with which some decoders write `.` and `/` at length."""
_MOST_DECODINGS = 4
"""Times that a path may be percent-encoded: no honest one needs more than two."""
_KEPT = 4_096
"""Paths of which it is remembered what they are."""
_ROUTES = re.compile(
    r"/(?:v\d+\w*/)?(?:openai/)?(?:deployments/[^/]+/)?"
    r"(chat/completions|responses|messages|completions|decisions|embeddings|models|files|batches|images|audio"
    r"|moderations|tokenize)(?:/|$)"
)


@lru_cache(_KEPT)
def may_go_on(path: bytes) -> bool:
    """Whether a path begins with `/` and stays below it, also for an upstream that decodes it twice, that takes `\\`
    for `/`, or that cuts segments at `;`."""
    if not path.startswith(b"/"):
        return False
    if not _SUSPICIOUS.search(path):
        return True
    for _ in range(_MOST_DECODINGS):
        if _BAD_BYTES.search(path) or _climbs(path):
            return False
        path, before = unquote_to_bytes(path), path
        if path == before:
            return True
    return False


def _climbs(path: bytes) -> bool:
    segments = path.replace(b"\\", b"/").split(b"/")
    return any(segment.partition(b";")[0].strip() == b".." for segment in segments)


@lru_cache(_KEPT)
def route_name(path: str) -> str:
    """What a path is called in figures and logs: the route without its prefix and ids, `other` where it is unknown."""
    found = _ROUTES.search(path)
    return f"/{found[1]}" if found else "other"
