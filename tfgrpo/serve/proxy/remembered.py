"""The latest calls of a worker, which feedback can be given on without asking the store. Their memory is fixed."""

from array import array
from typing import NamedTuple

REMEMBERED = 50_000
"""Latest calls that are known, twice as many at most."""
_PLACES = 2**16
"""Of one table, which is never more than three quarters full."""


class Known(NamedTuple):
    """What feedback has to know of a call."""

    namespace: str
    prior: str | None
    variant: str


class RememberedCalls:
    """Two tables of calls, the young and the old one, which takes turns: full, the young one becomes the old one."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._young, self._old = _Table(), _Table()

    def add(self, inference: str, known: Known) -> None:
        """One more call."""
        self._young.add(inference, known)
        if len(self._young) >= self._most:
            self._young, self._old = self._old, self._young
            self._young.clear()

    def get(self, inference: str) -> Known | None:
        """A call of the latest; None: it may be in the store."""
        return self._young.get(inference) or self._old.get(inference)


class _Table:
    """Ids of calls by their hashes of 64 bits, each in the first free place from where its hash points; what is known
    of them stands once for all that it is the same for. A dict of as many calls grows to 20 MB."""

    def __init__(self) -> None:
        self._hashes, self._which = array("q", bytes(8 * _PLACES)), array("I", bytes(4 * _PLACES))
        self.clear()

    def __len__(self) -> int:
        return self._size

    def clear(self) -> None:
        """Forget all."""
        self._hashes[:] = array("q", bytes(8 * _PLACES))
        self._all: list[Known] = []
        self._numbers: dict[Known, int] = {}
        self._size = 0

    def add(self, inference: str, known: Known) -> None:
        number = self._numbers.get(known)
        if number is None:
            number = self._numbers[known] = len(self._all)
            self._all.append(known)
        place, hashed = self._place(inference)
        self._size += not self._hashes[place]
        self._hashes[place], self._which[place] = hashed, number

    def get(self, inference: str) -> Known | None:
        place, hashed = self._place(inference)
        return self._all[self._which[place]] if self._hashes[place] == hashed else None

    def _place(self, inference: str) -> tuple[int, int]:
        """Where an id is, or would be, and its hash."""
        hashed = hash(inference) or 1  # 0: a place that is free
        place, hashes = hashed % _PLACES, self._hashes
        while hashes[place] not in (0, hashed):
            place = (place + 1) % _PLACES
        return place, hashed
