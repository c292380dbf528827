"""Which texts of a pool are nearest to a text, by the character trigrams that they share, or by the vectors that an
embedding model gives them. Pure; exact on any machine.

A text is the set of its trigrams, case and spaces aside, each hashed into one of BUCKETS. How near a text q is to a
text d of the pool is the cosine of their sets weighted by w = ln((1 + n) / f), less what all d have in common, where f
of the n different answers of the pool have a text with the trigram: what is said whatever the answer tells none of
them (inverse category frequency, arXiv 1012.2609). Where no answer comes twice that is the rarity among texts:

    (sum of w^2 over the buckets of both) / sqrt(sum of w^2 over the buckets of d)

Its terms are made once for a pool, as whole numbers: no processor adds them up to another figure than the next one.

A vector is kept in a compact form: whole numbers of one byte each, in base64, of a length of at most LENGTH. So every
sum on the way to the product of two is below 2^24, and floats of 32 bits hold it exactly, in whatever order it is made.
How near two vectors are is the cosine of their compact forms.
"""

import base64
import binascii
import math
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BUCKETS = 2_048
LONGEST = 1_000
"""Characters of a text that are looked at: half of them where it begins, half where it ends."""
LENGTH = 4_000
"""Of a vector in the compact form, at most, before it is rounded; 4,096 would be the most."""
_BLOCK = 2**18
"""Numbers of a pool that are multiplied at once: for more, libraries start threads, which wait for a processor."""
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


@dataclass(frozen=True, slots=True, eq=False)
class VectorPool:
    """Vectors made ready to be searched."""

    blocks: Sequence[NDArray[np.float32]]
    """Of n texts, whole numbers, one after the other, shape (some, d); d is 0 where they are not all of one length."""
    lengths: NDArray[np.float64]
    """Of each, shape (n,)."""


def looked_at(text: str) -> str:
    """What of a text is looked at, by trigrams and by embedding models: its two ends, where it is long."""
    return f"{text[: LONGEST // 2]} {text[-LONGEST // 2 :]}" if len(text) > LONGEST else text


def shingles(text: str) -> NDArray[np.uint32]:
    """The buckets of a text's trigrams, each once, ascending; an empty text has none, one of one character has one."""
    plain = f" {' '.join(unicodedata.normalize('NFC', looked_at(text)).casefold().split())} "
    codes: NDArray[np.uint32] = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    hashed: NDArray[np.uint32] = codes[:-2] * _FIRST + codes[1:-1] * _SECOND + codes[2:] * _THIRD
    mixed: NDArray[np.uint32] = (hashed ^ (hashed >> _HALF)) * _MIX
    return np.unique(mixed >> _TOP)


def alike(one: str, other: str) -> float:
    """The cosine of two texts' sets of trigrams, in [0, 1]; 0 where one of them is empty."""
    mine, theirs = shingles(one), shingles(other)
    both = len(np.intersect1d(mine, theirs, assume_unique=True))
    return both / math.sqrt(len(mine) * len(theirs)) if both else 0.0


def pool_of(texts: Sequence[str], answers: Sequence[str] | None = None) -> Pool:
    """The texts made ready, in their order; `answers` are theirs, one each, or all are different."""
    present = np.zeros((BUCKETS, len(texts)), dtype=bool)
    for place, text in enumerate(texts):
        present[shingles(text), place] = True
    by_answer = defaultdict[object, list[int]](list)
    for place, answer in enumerate(range(len(texts)) if answers is None else answers):
        by_answer[answer].append(place)
    frequency = sum((present[:, places].any(axis=1) for places in by_answer.values()), start=np.zeros(BUCKETS))
    rarity = np.log((1 + len(by_answer)) / np.maximum(frequency, 1)) ** 2
    lengths = np.sqrt(np.array([rarity[present[:, place]].sum() for place in range(len(texts))]))
    terms = present * rarity[:, None] / np.where(lengths > 0, lengths, 1.0)
    return Pool(np.rint(terms * _SCALE).astype(np.int32))


def nearest(pool: Pool, text: str, k: int) -> tuple[int, ...]:
    """The places of the k texts nearest to a text, the nearest first; of those equally near the earlier one first."""
    return _nearest_first(pool.terms[shingles(text)].sum(axis=0, dtype=np.int32), k)


def compact(vector: Sequence[float]) -> str:
    """A vector in the compact form; empty for one without a direction."""
    given = np.array(vector, dtype=np.float64)
    most = float(np.abs(given).max(initial=0.0))
    if not (0 < most < math.inf):
        return ""
    given /= most  # else the squares of very large numbers would be infinite
    scale = min(127.0, LENGTH / math.sqrt(float(given @ given)))
    return base64.b64encode(np.rint(given * scale).astype(np.int8).tobytes()).decode()


def vector_in(text: str) -> NDArray[np.float32]:
    """The whole numbers of a compact form; none for what is no such form."""
    try:
        found = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.int8).astype(np.float32)
    except (binascii.Error, ValueError):
        return np.zeros(0, dtype=np.float32)
    return found if 0 < float(found @ found) < 2**24 else found[:0]


def vector_pool_of(texts: Sequence[str]) -> VectorPool:
    """The vectors, in the compact form, made ready, in their order."""
    found = [vector_in(text) for text in texts]
    size = len(found[0]) if len({len(one) for one in found}) == 1 else 0
    vectors = np.array([one[:size] for one in found], dtype=np.float32).reshape(len(found), size)
    rows = max(1, _BLOCK // max(1, size))
    blocks = [vectors[start : start + rows] for start in range(0, len(found), rows)]
    return VectorPool(blocks, np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1)))


def nearest_by_vector(pool: VectorPool, vector: str, k: int) -> tuple[int, ...]:
    """As `nearest`, to a vector in the compact form; none where it is of another length than those of the pool."""
    asked = vector_in(vector)
    if not (pool.blocks and 0 < len(asked) == pool.blocks[0].shape[1]):
        return ()
    return _nearest_first(np.concatenate([block @ asked for block in pool.blocks]) / pool.lengths, k)


def _nearest_first(near: NDArray[np.int32] | NDArray[np.float64], k: int) -> tuple[int, ...]:
    count = min(k, len(near))
    if count <= 0:
        return ()
    least = np.partition(near, len(near) - count)[len(near) - count]
    places = np.flatnonzero(near >= least)
    return tuple(places[np.argsort(-near[places], kind="stable")][:count].tolist())
