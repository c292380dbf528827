"""Conditions of experiences, `When [condition], [strategy]`: their words, and which strategies they set at odds.

All of it is pure, and compares words as symbols: equal or not.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..records import Experience, Origin, Task
from ..surfaces.triggers import awaited_words, is_triggered, said_text
from ..text import words
from .edits import Edit
from .overlap import NEGATIONS, opposed

COMMON = 0.5
"""A word that more than this share of the known tasks have tells none of them apart."""
_CONDITION = re.compile(r"^\s*(?:when(?:ever)?|if|where|for|on|in|after|before|while)\b(.+?)[,:;]", re.IGNORECASE)
_LONGEST = 190
"""Characters of the words that a text may wait for."""
_GRAMMAR = """
    a about after all an and any are as at be because been before but by can could did do does each for from given had
    has have how if in into is it its just may must no nor not of off on only onto or other over shall should so some
    such than that the their them then there these they this those to too under until up upon was were what when where
    whether which while who whose why will with within without would you your
"""
_FUNCTION_WORDS = frozenset(_GRAMMAR.split())


def condition(text: str) -> frozenset[str]:
    """The words that carry the condition of an experience, `When [condition], [strategy]`; none where it has none."""
    return frozenset(words(condition_said(text))) - _FUNCTION_WORDS


def condition_said(text: str) -> str:
    """The condition of an experience as it stands in the text; nothing where it has none."""
    found = _CONDITION.match(said_text(text))
    return found.group(1) if found else ""


def contradicting(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Which texts ask for opposite things under the same condition, shape (E, E)."""
    conditions = [condition(text) for text in texts]
    told = list(map(said_text, texts))
    strategies = [text[found.end() :] if (found := _CONDITION.match(text)) else text for text in told]
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


def named_of(experience: Experience, said: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The words that it applies by: those that it waits for, else those of its condition that all of its tasks have.

    `said`: the words of the tasks that are known, by id.
    """
    own = [said[task] for task in experience.origin.tasks if task in said]
    return awaited_words(experience.text) or condition(experience.text).intersection(*own)


def waiting_for_words(edits: Sequence[Edit], current: Sequence[Experience], tasks: Sequence[Task]) -> tuple[Edit, ...]:
    """The same edits, of which each text waits for the words that it applies by, `[on asks ...]`, where it names any.

    `current` are the experiences that an edit may replace; `tasks` tell which words tell tasks apart.
    """
    said, known = {task.id: frozenset(words(task.prompt)) for task in tasks}, {one.id: one for one in current}
    telling = frozenset(distinctive(tuple(said.values())))

    def waits(edit: Edit) -> Edit:
        experience = Experience(edit.text, edit.kind)
        if edit.operation not in ("ADD", "UPDATE") or edit.kind != "strategy" or is_triggered(experience):
            return edit
        before = known[edit.target].origin.tasks if edit.target in known else ()
        taught = replace(experience, origin=Origin(tasks=(*edit.tasks, *before)))
        named = " ".join(sorted(named_of(taught, said) & telling))
        return replace(edit, text=f"[on asks {named}] {edit.text}") if 0 < len(named) <= _LONGEST else edit

    return tuple(map(waits, edits))


def distinctive(texts: Sequence[frozenset[str]]) -> tuple[str, ...]:
    """The words that tell the known tasks apart."""
    counts = Counter(word for text in texts for word in text)
    return tuple(sorted(word for word, count in counts.items() if count <= COMMON * len(texts)))
