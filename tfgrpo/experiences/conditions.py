"""Conditions of experiences, `When [condition], [strategy]`: their words, and which strategies they set at odds.

All of it is pure, and compares words as symbols: equal or not.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..text import words
from .overlap import NEGATIONS, opposed

COMMON = 0.5
"""A word that more than this share of the known tasks have tells none of them apart."""
_CONDITION = re.compile(r"^\s*(?:when(?:ever)?|if|where|for|on|in|after|before|while)\b(.+?)[,:;]", re.IGNORECASE)
_GRAMMAR = """
    a about after all an and any are as at be because been before but by can could did do does each for from given had
    has have how if in into is it its just may must no nor not of off on only onto or other over shall should so some
    such than that the their them then there these they this those to too under until up upon was were what when where
    whether which while who whose why will with within without would you your
"""
_FUNCTION_WORDS = frozenset(_GRAMMAR.split())


def condition(text: str) -> frozenset[str]:
    """The words that carry the condition of an experience, `When [condition], [strategy]`; none where it has none."""
    found = _CONDITION.match(text)
    return frozenset(words(found.group(1))) - _FUNCTION_WORDS if found else frozenset()


def contradicting(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Which texts ask for opposite things under the same condition, shape (E, E)."""
    conditions = [condition(text) for text in texts]
    strategies = [text[found.end() :] if (found := _CONDITION.match(text)) else text for text in texts]
    holds = np.zeros((len(texts), len(texts)), np.bool_)
    pairs = ((a, b) for a in range(len(texts)) for b in range(a) if conditions[a] and conditions[a] == conditions[b])
    for a, b in pairs:
        holds[a, b] = holds[b, a] = opposed(strategies[a], strategies[b]) or _negates(strategies[a], strategies[b])
    return holds


def _negates(one: str, other: str) -> bool:
    """Whether two strategies say the same, but for a negation that one of them has."""
    mine, theirs = frozenset(words(one)), frozenset(words(other))
    bare = [said - NEGATIONS - _FUNCTION_WORDS - {"t"} for said in (mine, theirs)]
    return bare[0] == bare[1] and bool(mine & NEGATIONS) != bool(theirs & NEGATIONS)


def distinctive(texts: Sequence[frozenset[str]]) -> tuple[str, ...]:
    """The words that tell the known tasks apart."""
    counts = Counter(word for text in texts for word in text)
    return tuple(sorted(word for word, count in counts.items() if count <= COMMON * len(texts)))
