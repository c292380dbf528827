"""What an answer cost in tokens, read from its end as it passes: of whole answers and of streams. Pure."""

import re

_TAIL = 16_384
"""Bytes of an answer that are looked at: the usage stands at its end, or its beginning is all there is."""
_ASKED = re.compile(rb'"(?:prompt_tokens|input_tokens)"\s*:\s*(\d{1,12})')
_ANSWERED = re.compile(rb'"(?:completion_tokens|output_tokens)"\s*:\s*(\d{1,12})')


class Meter:
    """Reads one answer as it passes."""

    def __init__(self, request_bytes: int) -> None:
        self._request = request_bytes
        self._tail = b""
        self._events = 0

    def see(self, chunk: bytes) -> None:
        """The next part of the answer."""
        self._events += chunk.count(b"data:")
        self._tail = (self._tail + chunk)[-_TAIL:]

    @property
    def usage(self) -> tuple[int, int] | None:
        """Tokens of the request and of the answer, as the answer told; None where it did not."""
        asked, answered = _ASKED.findall(self._tail), _ANSWERED.findall(self._tail)
        return (int(asked[-1]), int(answered[-1]) if answered else 0) if asked else None

    @property
    def tokens(self) -> int:
        """All of them; where the answer does not tell, a token for every four bytes asked and for every event."""
        return sum(self.usage) if self.usage else self._request // 4 + self._events
