"""Copies of a recorded call's request and answer, made as they pass through, off the call's path."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from ..store import Inference
from .passing import look_at
from .recording import BODY_BYTES


def take(call: Inference, request: Any, response: Any, keep: Callable[[Callable[[], Inference]], None]) -> None:
    """Have a call kept, with the request and the answer, once that is whole.

    An answer that nobody reads to its end is kept as far as it was read.
    """
    made = partial(_whole, call, request, response)
    if response.is_closed:
        keep(partial(made, None))
    else:
        read = bytearray()

        def see(chunk: bytes) -> None:
            if len(read) <= BODY_BYTES:
                read.extend(chunk)

        look_at(response, see, lambda: keep(partial(made, bytes(read))))


def _whole(call: Inference, request: Any, response: Any, raw: bytes | None) -> Inference:
    if raw is not None:  # as it came; the library knows how to unpack it
        response = type(response)(response.status_code, headers=response.headers, content=raw)
    answer = response.text if len(response.content) <= BODY_BYTES else ""
    return replace(call, request=_text(request.content), response=answer)


def _text(content: bytes) -> str:
    return content.decode(errors="replace") if len(content) <= BODY_BYTES else ""
