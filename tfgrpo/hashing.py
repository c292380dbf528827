"""Content ids, seeds and coin flips: everything that must come out the same on every machine and every resume."""

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def canonical(value: Any) -> str:
    """The one JSON text of a value: keys sorted, no spaces, NaN refused."""
    return _CANONICAL.encode(value)


def content_id(prefix: str, *parts: Any) -> str:
    """`prefix_` and 16 hex digits of the SHA-256 over the parts' canonical JSON; no clock and no row id goes in."""
    return f"{prefix}_{hashlib.sha256(canonical(parts).encode()).hexdigest()[:16]}"


def _uniform_bits(written: bytes) -> int:
    """64 bits of the hash of parts, as their canonical JSON has them."""
    return int.from_bytes(hashlib.sha256(written).digest()[:8], "big")


def derive_seed(*parts: Any) -> int:
    """A seed in [0, 2**31) from hashed parts: adjacent seeds of one generator can correlate, hashes do not."""
    return _uniform_bits(canonical(parts).encode()) >> 33


def coin(probability: float, *parts: Any) -> bool:
    """True with the given probability, decided by the hash of the parts alone."""
    return _uniform_bits(canonical(parts).encode()) < probability * 2.0**64


class PartsBefore:
    """The parts of a coin or a seed that stand before its last one, hashed once for all that come after them."""

    def __init__(self, *parts: Any) -> None:
        self._hashed = hashlib.sha256(f"{canonical(parts)[:-1]},".encode())

    def coin(self, probability: float) -> Callable[[bytes], bool]:
        """What says of a last part whether it falls, as the function `coin` of all parts does."""
        begun, below = self._hashed, math.ceil(probability * 2.0**64).to_bytes(9, "big")

        def falls(last: bytes) -> bool:
            hashed = begun.copy()  # to begin one takes longer
            hashed.update(last)
            return b"\0" + hashed.digest() < below  # as numbers they compare alike, in twice the time

        return falls

    def derive_seed(self, last: bytes) -> int:
        """As the function `derive_seed` of all parts."""
        hashed = self._hashed.copy()
        hashed.update(last)
        return int.from_bytes(hashed.digest()[:8], "big") >> 33


def last_part(value: Any) -> bytes:
    """What comes after PartsBefore, written once for several of them."""
    plain = isinstance(value, str) and value.isidentifier()  # as ids are: in JSON they stand as they are
    return f'"{value}"]'.encode() if plain else f"{canonical(value)}]".encode()
