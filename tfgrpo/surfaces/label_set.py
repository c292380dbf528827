"""A closed set of labels, and which of them an answer will be, as far as it is said. Pure.

An answer is told by what it begins with: marks before a label are no part of it, nor are words or marks behind it, and
its case is not minded, in any script. In JSON a label goes up to the quotes that end it, letter by letter.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ..model.tokenizer import ends_answer

SEVERAL, NOTHING_YET, OTHER = -1, -2, -3
"""In place of a label's: what was said may become several; nothing is said yet; it is none."""
_MOST_KNOWN, _MOST_BEFORE = 4_096, 16
_OPENERS = b" \t\r\n\"'`*_([{"


@dataclass(frozen=True, slots=True)
class LabelSet:
    """A closed set of labels, to be told by what an answer begins with."""

    labels: tuple[bytes, ...]
    is_quoted: bool = False
    """They stand in JSON, up to the quotes that end them; else an answer is one, in any case and with marks around."""
    begun: Mapping[bytes, int] = field(init=False, repr=False, compare=False)
    """By every beginning: the place of the label that it leads to, or that there are several."""
    whole: Mapping[bytes, int] = field(init=False, repr=False, compare=False)
    sizes: Sequence[int] = field(init=False, repr=False, compare=False)
    """Of the labels in bytes, the longest first."""
    openers: bytes = field(init=False, repr=False, compare=False)
    _known: dict[bytes, dict[bytes, int]] = field(init=False, repr=False, compare=False, default_factory=dict)
    """By what was said before, what tokens lead to: most answers begin with one of the same few hundred."""

    def __post_init__(self) -> None:
        begun: dict[bytes, int] = {}
        keys = [label if self.is_quoted else without_case(label) for label in self.labels]
        for place, key in enumerate(keys):
            for size in range(1, len(key) + 1):
                begun[key[:size]] = place if begun.get(key[:size], place) == place else SEVERAL
        object.__setattr__(self, "begun", begun)
        object.__setattr__(self, "whole", {key: place for place, key in enumerate(keys)})
        object.__setattr__(self, "sizes", sorted(set(map(len, keys)), reverse=True))
        firsts = {key[0] for key in keys}
        object.__setattr__(self, "openers", bytes(one for one in _OPENERS if one not in firsts))

    def seen(self, text: bytes) -> tuple[int, bytes]:
        """Which label an answer that begins so will be, or what else is known; and what of the text is the label's."""
        if self.is_quoted:
            said = text[: quotes_end(text) + 1] if quotes_end(text) >= 0 else text
            return (self.begun.get(said, OTHER), said) if text else (NOTHING_YET, b"")
        said = text.lstrip(self.openers)
        if not said:
            return NOTHING_YET, b""
        key = without_case(said)
        if (place := self.begun.get(key)) is not None:
            return place, said
        for size in self.sizes:
            if (place := self.whole.get(key[:size])) is not None and not goes_on(key, size):
                return place, said[:size]
        return OTHER, said

    def open_after(self, text: bytes) -> set[int]:
        """The places of the labels that a text may still become."""
        said = self.seen(text)[1]
        key = said if self.is_quoted else without_case(said)
        return {place for whole, place in self.whole.items() if whole.startswith(key)}

    def leads(self, before: bytes, piece: bytes) -> int:
        """As `seen` has it: which label a token leads to after what was said; one that ends an answer, to that."""
        if ends_answer(piece):
            said = self.seen(before)[1]
            return OTHER if self.is_quoted else self.whole.get(without_case(said), OTHER)
        return self.seen(before + piece)[0]

    def each_leads(self, before: bytes, pieces: Sequence[bytes]) -> list[int]:
        """Which label each of some tokens leads to."""
        known = self._known.get(before)
        if known is None:
            if len(self._known) >= _MOST_BEFORE:
                self._known.clear()
            known = self._known.setdefault(before, {})
        try:
            return [*map(known.__getitem__, pieces)]
        except KeyError:  # one of them is new, or another thread has begun the map anew
            places = [self.leads(before, piece) for piece in pieces]
        if len(known) > _MOST_KNOWN:
            known.clear()
        known.update(zip(pieces, places, strict=True))
        return places

    def is_whole(self, said: bytes) -> bool:
        """Whether a text is one of the labels."""
        return (said if self.is_quoted else without_case(said)) in self.whole


@lru_cache(4_096)
def without_case(text: bytes) -> bytes:
    """A text, or a part of one, without its case; as long as it was, so that places in it are the same."""
    if text.isascii():
        return text.lower()
    bare = [(char, char.lower()) for char in text.decode(errors="surrogateescape")]
    return "".join(low if _size(low) == _size(char) else char for char, low in bare).encode(errors="surrogateescape")


def _size(text: str) -> int:
    return len(text.encode(errors="surrogateescape"))


_HALF_A_MARK = "\udce2\udcf0"
"""The first bytes of characters whose others have not come yet: of dashes, quotes, arrows and emoji. Of letters, hardly
ever."""


def _is_mark(char: str) -> bool:
    if char.isascii():
        return not char.isalnum()
    return unicodedata.category(char)[0] in "PZS" or char in _HALF_A_MARK


_IN_NUMBERS = ".,:/'-\u2019\u2013\u066b\u066c\u00a0\u202f"
"""Marks that go on with a number where a digit stands on either side: 4.5, 1,000, 3/4, 2-3."""


def goes_on(text: bytes, size: int) -> bool:
    """Whether a word or number that ends so many bytes into a text is longer there; what ends with a mark (C++) is
    none."""
    if size >= len(text):
        return False
    if not begins_word(text[size : size + 4]):
        return number_may_go_on(text, size) and text[size : size + 8].decode(errors="replace")[1:2].isdigit()
    return not text[:size] or not _is_mark(text[:size].decode(errors="surrogateescape")[-1])


def number_may_go_on(text: bytes, size: int) -> bool:
    """Whether after so many bytes of a text a mark comes behind which the number that ends there may go on."""
    after = text[size : size + 8].decode(errors="replace")[:1]
    return after in _IN_NUMBERS and after != "" and text[:size].decode(errors="replace")[-1:].isdigit()


def begins_word(text: bytes) -> bool:
    """Whether a text goes on with a word, after one."""
    return bool(text) and not _is_mark(text[:4].decode(errors="surrogateescape")[0])


def has_words(text: bytes) -> bool:
    return not all(map(_is_mark, text.decode(errors="surrogateescape")))


def quotes_end(text: bytes) -> int:
    """The place of the first quotes in a JSON string's text that end it; -1: it goes on."""
    place = text.find(b'"')
    while place > 0 and (place - len(text[:place].rstrip(b"\\"))) % 2:
        place = text.find(b'"', place + 1)
    return place


@lru_cache(256)
def label_set(labels: tuple[str, ...], *, quoted: bool = False) -> LabelSet | None:
    """The labels, ready; None where they are too few to decide between, or no texts."""
    if quoted:
        found = [json.dumps(label, ensure_ascii=False)[1:].encode() for label in labels]
    else:
        found = [label.strip().encode() for label in labels]
    kept = {label if quoted else without_case(label): label for label in reversed(found) if label}
    return LabelSet(tuple(kept.values())[::-1], quoted) if len(kept) > 1 else None
