"""Bodies of requests as they are read to add a prior: unpacked, without what is long, in JSON that loses nothing.

A body of many megabytes is mostly a few texts and images. Parsing them would hold up all other calls, so the middle of
each long string is taken out before, and put back after: it passes to the byte.
"""

import secrets
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import orjson

from ...records import JSON
from ...surfaces.chat import fast_json
from ...surfaces.http import STANDARD, Codec

_LONG = 65_536
"""Bytes of a string whose middle is taken out: below it parsing costs less than looking."""
_KEPT = 8_192
"""Bytes that stay at either end of one: what demonstrations are chosen by."""
_MOST_QUOTES = 100_000
"""Quotes that are looked at in one body: about 30 ms."""
_BACKSLASH = 0x5C
_SURROGATE = b"\\ud"
"""How each half of a pair of escapes begins, which belong together."""
_ESCAPE = 12
"""Bytes of the longest escape, a surrogate pair."""
_DIGITS = bytes(ord("0") if chr(byte).isdecimal() else ord(" ") for byte in range(128)) + b" " * 128
_TOO_LONG_A_NUMBER = b"0" * 19
"""Once each digit is a 0: what may be an integer of more than 64 bits, of which orjson makes a float."""


def _exact(content: bytes) -> JSON:
    if _TOO_LONG_A_NUMBER in content.translate(_DIGITS):  # a regular expression takes ten times as long
        raise ValueError("an integer that orjson could not keep")
    return orjson.loads(content)


EXACT_CODECS = (Codec(_exact, fast_json), STANDARD)
"""The fast one first; it refuses what it could not write again (NaN, half surrogate pairs, long integers)."""


class Hollow(NamedTuple):
    """A body without the middles of its long strings, each of which a word stands for."""

    content: bytes
    middles: Mapping[bytes, bytes] = MappingProxyType({})
    """By the word that stands for it."""

    def filled(self, content: bytes) -> bytes | None:
        """Another body with the same strings, whole again; None where one is not there exactly once."""
        for word, middle in self.middles.items():
            if content.count(word) != 1:
                return None
            content = content.replace(word, middle)
        return content


def hollowed(content: bytes) -> Hollow:
    """The body without the middles of its long strings; as it is, where it has none."""
    if len(content) <= _LONG:
        return Hollow(content)
    parts: list[bytes] = []
    middles: dict[bytes, bytes] = {}
    done = at = 0
    patience = iter(range(_MOST_QUOTES))
    while (start := content.find(b'"', at)) >= 0 and (end := _closing(content, start + 1, patience)) > 0:
        at = end + 1
        if end - start > _LONG:
            first, last = _between(content, start + _KEPT), _between(content, end - _KEPT)
            if first and last:
                word = b"~" + secrets.token_hex(12).encode() + b"~"
                parts += (content[done:first], word)
                middles[word], done = content[first:last], last
    return Hollow(b"".join((*parts, content[done:])), middles) if middles else Hollow(content)


def _closing(content: bytes, at: int, patience: Iterator[int]) -> int:
    """Where the string ends that has begun before `at`; -1: nowhere, or beyond patience."""
    while (end := content.find(b'"', at)) >= 0 and next(patience, None) is not None:
        said = content[at:end] if content[end - 1] == _BACKSLASH else b""
        if (len(said) - len(said.rstrip(b"\\"))) % 2 == 0:  # backslashes escape each other, the last one the quote
            return end
        at = end + 1
    return -1


def _between(content: bytes, at: int) -> int:
    """The next place from `at` on that is in the middle of no character and of no escape; 0: none is near."""
    for place in range(at, at + _KEPT // 2):
        if content[place] == _BACKSLASH:
            if content[place - 1] != _BACKSLASH and content[place : place + 3].lower() != _SURROGATE:
                return place  # where an escape begins
        elif content[place] & 0xC0 != 0x80 and b"\\" not in content[place - _ESCAPE : place]:
            return place
    return 0
