"""JSON from strangers, read field by field: what is missing, of another kind or out of range is named. Pure."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from ..errors import InputError
from ..records import JSON
from ..text import is_unicode, shortened

LARGEST = 1_000_000_000
"""Of a whole number."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JSONField:
    """A JSON value and where it stands in its file; each method raises InputError for what it does not give."""

    value: JSON
    source: str
    path: str = ""

    def wrong(self, expected: str) -> NoReturn:
        """The error for a value that is not what is expected."""
        found = "an object" if isinstance(self.value, dict) else "a list" if isinstance(self.value, list) else ""
        found = found or shortened(json.dumps(self.value, ensure_ascii=False), 40)
        raise InputError(f"{self.source}: {self.path or 'the file'} must be {expected}, and is {found}")

    def at(self, name: str) -> "JSONField":
        """A field of an object, which must be there."""
        path = f"{self.path}.{name}" if self.path else name
        if name not in self.object():
            raise InputError(f"{self.source}: {path} is missing")
        return JSONField(self.value[name], self.source, path)

    def object(self) -> Mapping[str, JSON]:
        """An object."""
        if not isinstance(self.value, dict):
            self.wrong("an object")
        return self.value

    def finite_object(self) -> Mapping[str, JSON]:
        """An object in which no number is too large to be written again, and every text is one that a file can hold."""
        try:
            written = json.dumps(self.object(), allow_nan=False, ensure_ascii=False)
        except ValueError:
            raise InputError(f"{self.source}: {self.path} holds a number that is too large") from None
        if not is_unicode(written):
            raise InputError(f"{self.source}: {self.path} holds half a surrogate pair, which is no character")
        return dict(self.object())

    def items(self, most: int) -> "Iterator[JSONField]":
        """The entries of a list with at most so many."""
        if not isinstance(self.value, list):
            self.wrong("a list")
        if len(self.value) > most:
            raise InputError(f"{self.source}: {self.path} has {len(self.value):,} entries; at most {most:,} are read")
        yield from (JSONField(one, self.source, f"{self.path}[{place}]") for place, one in enumerate(self.value))

    def text(self, longest: int | None = None) -> str:
        """A text that a file can hold, of at most so many characters."""
        if not isinstance(self.value, str):
            self.wrong("a text")
        if longest and len(self.value) > longest:
            raise InputError(f"{self.source}: {self.path} has {len(self.value):,} characters; at most {longest:,}")
        if not is_unicode(self.value):
            raise InputError(f"{self.source}: {self.path} holds half a surrogate pair, which is no character")
        return self.value

    def text_or_none(self, longest: int | None = None) -> str | None:
        """A text as above, or null."""
        return None if self.value is None else self.text(longest)

    def one_of(self, allowed: Sequence[T]) -> T:
        """One of these values."""
        for one in allowed:
            if one == self.value:
                return one
        self.wrong(f"one of {', '.join(map(str, allowed))}")

    def number(self, low: float, high: float) -> float:
        """A number in a range."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.wrong("a number")
        if not low <= self.value <= high or math.isnan(self.value):
            self.wrong(f"a number from {low:,g} to {high:,g}")
        return float(self.value)

    def whole(self) -> int:
        """A whole number from 0."""
        number = self.number(0, LARGEST)
        if not number.is_integer():
            self.wrong("a whole number")
        return int(number)

    def hashes_to(self, computed: str) -> None:
        """Check an id against that of the content."""
        if self.text() != computed:
            given = shortened(self.value, 40)
            raise InputError(
                f"{self.source}: {self.path} is {given}, but the content hashes to {computed}: it was changed after the"
                " export; export it again"
            )
