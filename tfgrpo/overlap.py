"""Whether a text gives away a task's answer, or says what another text says: comparisons in any language. Pure.

Texts are compared as words (lower case, NFKC, no punctuation), numbers as values whatever their format. An answer that
several tasks share, or that most other tasks' prompts list, is a label; naming one is no leak.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from .edits import words
from .records import JSON, Experience, Task

NEAR = 0.7
"""Jaccard similarity of two texts' shingles from which they count as one."""
SHINGLE = 4
"""Characters in a shingle."""
PHRASE = 5
"""Of an answer with more words than this, any run of this many that no other answer holds is a leak."""
COMPACT = 8
"""An answer with at least this many letters and digits is found however they are spaced."""
SMALL = 12
"""Whole numbers up to this one, and answers of one or two characters, turn up by chance: they leak only from a source
task of the experience."""

_NUMBER = re.compile(r"\d(?:[\d.,'\u2019 ]*\d)?(?:e[-+]?\d+)?", re.IGNORECASE)
_DECIMAL = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)
_NEGATIONS = frozenset(
    (
        "no",
        "not",
        "never",
        "without",
        "don",
        "nicht",
        "kein",
        "nie",
        "pas",
        "jamais",
        "sin",
        "nunca",
        "\u4e0d",
        "\u522b",
    )
)


def leaked_task(experience: Experience, tasks: Sequence[Task]) -> str | None:
    """The id of the first task whose answer the experience gives away, or None."""
    own = experience.origin.tasks
    shared = _counts(tasks)
    for task in tasks:
        if experience.kind == "demonstration" and task.id in own:
            continue
        for leaf in _leaves(task.answer):
            alone = shared[_key(leaf)] == 1
            if alone and _given_away(leaf, experience.text, shared, source=task.id in own) and not _listed(leaf, tasks):
                return task.id
    return None


def repeated(text: str, existing: Sequence[Experience], tasks: Sequence[Task]) -> str | None:
    """The id of the first experience that says the same, or None.

    Texts that name different labels or numbers, or of which one negates, are not the same however alike they look.
    """
    labels = {key for key, count in _counts(tasks).items() if count > 1}
    for other in existing:
        if similarity(text, other.text) >= NEAR and _marks(text, labels) == _marks(other.text, labels):
            return other.id
    return None


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of the two texts' character shingles, in [0, 1]."""
    mine, theirs = _shingles(one), _shingles(other)
    return len(mine & theirs) / max(1, len(mine | theirs))


def _shingles(text: str) -> set[str]:
    flat = f" {_plain(text)} "
    return {flat[start : start + SHINGLE] for start in range(max(1, len(flat) - SHINGLE + 1))}


def _marks(text: str, labels: set[str]) -> set[str]:
    """What tells two similar texts apart: labels, numbers and negations."""
    flat = _plain(text)
    named = {label for label in labels if _holds(flat, label)}
    return named | _NEGATIONS.intersection(flat.split()) | {str(value) for value in _values(text)}


def _plain(text: str) -> str:
    return " ".join(words(unicodedata.normalize("NFKC", text)))


def _holds(flat: str, phrase: str) -> bool:
    """Whether a plain text holds a plain phrase, as whole words."""
    return bool(phrase) and f" {phrase} " in f" {flat} "


def _leaves(answer: JSON) -> Iterator[str]:
    """Every text and number of an answer, as text."""
    if isinstance(answer, dict | list):
        for value in answer.values() if isinstance(answer, dict) else answer:
            yield from _leaves(value)
    elif answer is not None and not isinstance(answer, bool):
        yield str(answer)


def _key(leaf: str) -> str:
    """Equal for answers that are the same in another format."""
    return " ".join(map(str, sorted(_value(leaf)))) or _plain(leaf)


def _counts(tasks: Sequence[Task]) -> Counter[str]:
    """How many tasks have each answer."""
    return Counter(key for task in tasks for key in {_key(leaf) for leaf in _leaves(task.answer)})


def _listed(leaf: str, tasks: Sequence[Task]) -> bool:
    """Whether most tasks' prompts name this answer, as they do where they list the labels to choose from."""
    naming = sum(_holds(_plain(task.prompt), _plain(leaf)) for task in tasks)
    return naming > max(1, len(tasks) / 2)


def _given_away(leaf: str, text: str, shared: Counter[str], *, source: bool) -> bool:
    if value := _value(leaf):
        small = all(number <= SMALL and number == int(number) for number in value)
        return (source or not small) and not value.isdisjoint(_values(text))
    spoken, flat = words(unicodedata.normalize("NFKC", leaf)), _plain(text)
    phrase, compact = " ".join(spoken), "".join(spoken)
    if not spoken or (len(compact) <= 2 and not source):
        return False
    if _holds(flat, phrase) or _holds(_respelled(flat), phrase):
        return True
    if len(compact) >= COMPACT and compact in flat.replace(" ", ""):
        return True
    runs = [" ".join(spoken[start : start + PHRASE]) for start in range(len(spoken) - PHRASE)]
    return any(_holds(flat, run) and sum(_holds(key, run) for key in shared) <= 1 for run in runs)


def _respelled(flat: str) -> str:
    """The words with runs of single letters joined: `p a r i s` becomes `paris`."""
    pieces = [(single, list(run)) for single, run in groupby(flat.split(), key=lambda word: len(word) == 1)]
    return " ".join("".join(run) if single else " ".join(run) for single, run in pieces)


def _value(leaf: str) -> frozenset[float]:
    """The values that an answer may stand for when it is a number and nothing else, empty when it is not."""
    bare = re.sub(r"[\s$€£¥%+-]", "", unicodedata.normalize("NFKC", leaf))
    return frozenset(_readings(bare)) if _NUMBER.fullmatch(bare) else frozenset()


def _values(text: str) -> set[float]:
    """Every number in a text, without its sign, in every way that its format can be read."""
    values: set[float] = set()
    for match in _NUMBER.finditer(unicodedata.normalize("NFKC", text)):
        pieces = re.split(r"['\u2019 ]+", match.group())
        grouped = all(len(piece) == 1 for piece in pieces) or all(len(piece) == 3 for piece in pieces[1:])
        listed = [item for piece in pieces for item in piece.split(",")]
        for piece in [*pieces, *listed, *(["".join(pieces)] if grouped else [])]:
            values |= _readings(piece)
    return values


def _readings(number: str) -> set[float]:
    """A number's values: 1,234 is 1234 or 1.234, and so is 1.234."""
    forms = {number, number.replace(",", ""), number.replace(".", "").replace(",", ".")}
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+", number):
        forms.add(number.replace(".", ""))
    return {float(form) for form in forms if _DECIMAL.fullmatch(form)}
