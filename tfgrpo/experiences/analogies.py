"""Analogies of words: how far a word of a task may stand for one that it lacks. Pure."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..surfaces.nearest import shingles
from ..text import words
from .tensor_logic import Tensor, as_tensor

OFFSET = 0.5
"""The likeness above which a word may stand for another one."""


def analogies(
    asked: Sequence[str],
    known: Sequence[frozenset[str]],
    symbols: Sequence[str],
    named: Tensor,
    temperature: float,
) -> tuple[NDArray[np.float64], tuple[dict[str, str], ...]]:
    """How far each task has each symbol that is named, shape (asked, symbols), and by which word, where by another one.

    The likeness of two words is the cosine of the sets of their character trigrams.
    """
    said = [sorted(set(words(text))) for text in asked]
    vocabulary = sorted({word for text in (*known, *said) for word in text})
    place, held = {word: at for at, word in enumerate(vocabulary)}, as_tensor(known, vocabulary, lambda text: text)
    trigrams = [frozenset(shingles(word).tolist()) for word in vocabulary]
    degrees = np.zeros((len(asked), len(symbols)))
    stands = tuple[dict[str, str], ...]({} for _ in asked)
    for at, symbol in enumerate(symbols):
        if not named[at]:
            continue
        likeness = _likeness(trigrams, symbol)
        lacking = held[~held[:, place[symbol]]] if symbol in place else held
        theta = max(OFFSET, float(likeness[lacking.any(axis=0)].max(initial=0.0)))
        for task, own in enumerate(said):
            if symbol in own:
                degrees[task, at] = 1.0
            elif own:
                best = max(own, key=lambda word: likeness[place[word]])
                apart = (float(likeness[place[best]]) - theta) / temperature
                degrees[task, at] = 1 / (1 + np.exp(np.clip(-apart, -500, 500)))
                stands[task][symbol] = best
    return degrees, stands


def _likeness(trigrams: Sequence[frozenset[int]], symbol: str) -> NDArray[np.float64]:
    """Of each word of a vocabulary, how like a symbol it is."""
    own = frozenset(shingles(symbol).tolist())
    return np.array([len(own & of) / math.sqrt(len(own) * len(of)) if own & of else 0.0 for of in trigrams])
