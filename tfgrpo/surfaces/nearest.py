"""Which texts of a pool are nearest to a text, by the character trigrams that they share. Pure; exact on any machine.

A text is the set of its trigrams, case and spaces aside, each hashed into one of BUCKETS. How near a text q is to a
text d of the pool is the cosine of their sets weighted by rarity, w = ln((1 + n) / df), less what all d have in common:

    (sum of w^2 over the buckets of both) / sqrt(sum of w^2 over the buckets of d)

Its terms are made once for a pool, as whole numbers: no processor adds them up to another figure than the next one.
"""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BUCKETS = 2_048
LONGEST = 1_000
"""Characters of a text that are looked at: half of them where it begins, half where it ends."""
_SCALE = 2**20
_FIRST, _SECOND, _THIRD, _MIX = (np.uint32(factor) for factor in (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x2C1B3C6D))
"""Odd numbers, whose products modulo 2^32 are the same everywhere (Python's own hash is not)."""
_HALF, _TOP = np.uint32(15), np.uint32(32 - 11)
"""Bits to shift by: to mix, and to keep as many bits as there are buckets."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Texts made ready to be searched."""

    terms: NDArray[np.int32]
    """What each bucket adds to how near each of n texts is, shape (BUCKETS, n)."""


def shingles(text: str) -> NDArray[np.uint32]:
    """The buckets of a text's trigrams, each once, ascending; an empty text has none, one of one character has one."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} {text[-LONGEST // 2 :]}"
    plain = f" {' '.join(unicodedata.normalize('NFC', text).casefold().split())} "
    codes: NDArray[np.uint32] = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    hashed: NDArray[np.uint32] = codes[:-2] * _FIRST + codes[1:-1] * _SECOND + codes[2:] * _THIRD
    mixed: NDArray[np.uint32] = (hashed ^ (hashed >> _HALF)) * _MIX
    return np.unique(mixed >> _TOP)


def alike(one: str, other: str) -> float:
    """The cosine of two texts' sets of trigrams, in [0, 1]; 0 where one of them is empty."""
    mine, theirs = shingles(one), shingles(other)
    both = len(np.intersect1d(mine, theirs, assume_unique=True))
    return both / math.sqrt(len(mine) * len(theirs)) if both else 0.0


def pool_of(texts: Sequence[str]) -> Pool:
    """The texts made ready, in their order."""
    present = np.zeros((BUCKETS, len(texts)), dtype=bool)
    for place, text in enumerate(texts):
        present[shingles(text), place] = True
    rarity = np.log((1 + len(texts)) / np.maximum(present.sum(axis=1), 1)) ** 2
    lengths = np.sqrt(np.array([rarity[present[:, place]].sum() for place in range(len(texts))]))
    terms = present * rarity[:, None] / np.where(lengths > 0, lengths, 1.0)
    return Pool(np.rint(terms * _SCALE).astype(np.int32))


def nearest(pool: Pool, text: str, k: int) -> tuple[int, ...]:
    """The places of the k texts nearest to a text, the nearest first; of those equally near the earlier one first."""
    near = pool.terms[shingles(text)].sum(axis=0, dtype=np.int32)
    count = min(k, len(near))
    if count <= 0:
        return ()
    least = np.partition(near, len(near) - count)[len(near) - count]
    places = np.flatnonzero(near >= least)
    return tuple(places[np.argsort(-near[places], kind="stable")][:count].tolist())
