"""Whether a text gives away a task's answer, or says what another text says: comparisons in any language. Pure.

Texts are compared as words (lower case, NFKC, no accents or punctuation), numbers as values whatever their format, and
by the vectors of an embedding model where there are any. An answer that several tasks share, or that most other tasks'
prompts list, is a label; naming one is no leak. Small numbers, and answers of one or two characters, turn up by chance:
they leak only from a source task of the experience.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ..records import JSON, Experience, Task, Vector
from ..text import words
from .numerals import SMALL, dated, quantity, sequence, value, values

NEAR = 0.65
"""Jaccard similarity of two texts' shingles from which they count as one."""
APART = 0.45
"""Similarity below which vectors may say that two texts are one. Texts that share more of their wording differ in a
word or two, and vectors hardly see which: opposites in the same words lie nearer than the same advice in others."""
SHINGLE = 4
"""Characters in a shingle."""
PHRASE = 5
"""Of an answer with more words than this, any run of this many that no other answer holds is a leak."""
COMPACT = 8
"""An answer with at least this many letters and digits is found however they are spaced."""
DIGITS = 5
"""A number of at least this many digits is found however they are spread over a text."""

_ACCENTS = re.compile("[\u0300-\u036f]")
_CAPITALS = re.compile(r"\b[A-Z]{2,}\b")
NEGATIONS = frozenset(
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


@dataclass(frozen=True, slots=True)
class Meanings:
    """What an embedding model makes of texts; without vectors none are alike."""

    near: float = 1.0
    """Cosine of two texts' vectors from which they count as one."""
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    """By text."""

    def alike(self, one: str, other: str) -> bool:
        """Whether two texts say the same in other words, as far as their vectors tell."""
        mine, theirs = self.vectors.get(one), self.vectors.get(other)
        if mine is None or theirs is None or similarity(one, other) >= APART:
            return False
        return cosine(mine, theirs) >= self.near


NO_MEANINGS = Meanings()


def cosine(one: Vector, other: Vector) -> float:
    """Of the angle between two vectors, in [-1, 1]; 0 where there is none: they are of two models, or one is zero."""
    size = math.hypot(*one) * math.hypot(*other)
    if len(one) != len(other) or not size:
        return 0.0
    return max(-1.0, min(1.0, sum(a * b for a, b in zip(one, other, strict=True)) / size))


_OPPOSITES = """
    up/down first/last upper/lower above/below left/right top/bottom front/back inside/outside before/after
    first/second earlier/later early/late earliest/latest begin/end start/end start/stop beginning/end
    open/close more/less more/fewer most/least most/fewest higher/lower highest/lowest greater/smaller
    larger/smaller largest/smallest longer/shorter longest/shortest long/short maximum/minimum increase/decrease
    ascending/descending add/subtract multiply/divide include/exclude keep/drop keep/remove keep/change
    add/remove add/omit include/omit accept/reject show/hide true/false yes/no right/wrong correct/incorrect
    positive/negative good/bad happy/unhappy even/odd same/different formal/informal formally/informally
    brief/detailed broad/narrow general/specific capital/lower uppercase/lowercase singular/plural old/new
    oldest/newest today/tomorrow single/several one/all any/all
    always/never approve/reject approve/refuse accept/refuse allow/forbid allow/refuse grant/deny grant/refuse
"""
_ENDS = tuple((one, other) for one, _, other in (pair.partition("/") for pair in _OPPOSITES.split()))
"""English words that are opposites, in pairs."""


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


def repeated(
    text: str, existing: Sequence[Experience], tasks: Sequence[Task], meanings: Meanings = NO_MEANINGS
) -> str | None:
    """The id of the first experience that says the same, in like words or by `meanings` in others, or None.

    Texts that name different labels or numbers, or opposites, or of which one negates, or goes on where the other ends,
    are not the same however alike they look.
    """
    labels = {key for key, count in _counts(tasks).items() if count > 1}
    for other in existing:
        in_words = similarity(text, other.text) >= NEAR and not _goes_on(text, other.text)
        alike = in_words or meanings.alike(text, other.text)
        if alike and _marks(text, labels) == _marks(other.text, labels) and not opposed(text, other.text):
            return other.id
    return None


def _goes_on(one: str, other: str) -> bool:
    """Whether what one text asks for is what the other leads to: `When red, press for green`, `When green, press for
    blue`. Word for word they are the same but for these."""
    (asked, led), (asked_too, led_too) = (
        [_plain(part).split() for part in text.partition(",")[::2]] for text in (one, other)
    )
    if (len(asked), len(led)) != (len(asked_too), len(led_too)):
        return False
    asks, leads = (
        [pair for pair in zip(mine, theirs, strict=True) if pair[0] != pair[1]]
        for mine, theirs in ((asked, asked_too), (led, led_too))
    )
    return any(mine == then or theirs == now for mine, theirs in asks for now, then in leads)


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of the two texts' character shingles, in [0, 1]."""
    mine, theirs = _shingles(one), _shingles(other)
    return len(mine & theirs) / max(1, len(mine | theirs))


@lru_cache(maxsize=4096)
def _shingles(text: str) -> frozenset[str]:
    flat = f" {_plain(text)} "
    return frozenset(flat[start : start + SHINGLE] for start in range(max(1, len(flat) - SHINGLE + 1)))


def _marks(text: str, labels: set[str]) -> set[str]:
    """What tells two similar texts apart: labels, numbers and negations."""
    flat = _plain(text)
    named = {label for label in labels if _holds(flat, label)}
    return named | NEGATIONS.intersection(flat.split()) | {str(number) for number in values(text)}


def opposed(one: str, other: str) -> bool:
    """Whether each text has a word that the other lacks, and these are opposites, or both a name in capitals."""
    mine, theirs = set(_plain(one).split()), set(_plain(other).split())
    only_mine, only_theirs = mine - theirs, theirs - mine
    if only_mine & _capitals(one) and only_theirs & _capitals(other):
        return True
    return any(
        (low in only_mine and high in only_theirs) or (high in only_mine and low in only_theirs) for low, high in _ENDS
    )


def _capitals(text: str) -> set[str]:
    """The words that stand in capitals, in lower case: labels, mostly."""
    return {word.casefold() for word in _CAPITALS.findall(text)}


@lru_cache(maxsize=4096)
def _plain(text: str) -> str:
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return " ".join(words(unicodedata.normalize("NFKC", bare)))


def _holds(flat: str, phrase: str) -> bool:
    """Whether a plain text holds a plain phrase, as whole words."""
    return bool(phrase) and f" {phrase} " in f" {flat} "


def _leaves(answer: JSON) -> Iterator[str]:
    """Every text and number of an answer, as text."""
    if isinstance(answer, (dict, list)):
        for value in answer.values() if isinstance(answer, dict) else answer:
            yield from _leaves(value)
    elif answer is not None and not isinstance(answer, bool):
        yield str(answer)


def _key(leaf: str) -> str:
    """Equal for answers that are the same in another format."""
    return " ".join(map(str, sorted(value(leaf)))) or _plain(leaf)


def _counts(tasks: Sequence[Task]) -> Counter[str]:
    """How many tasks have each answer."""
    return Counter(key for task in tasks for key in {_key(leaf) for leaf in _leaves(task.answer)})


def _listed(leaf: str, tasks: Sequence[Task]) -> bool:
    """Whether most tasks' prompts name this answer, as they do where they list the labels to choose from."""
    naming = sum(_holds(_plain(task.prompt), _plain(leaf)) for task in tasks)
    return naming > max(1, len(tasks) / 2)


def _given_away(leaf: str, text: str, shared: Counter[str], *, source: bool) -> bool:
    if number := value(leaf):
        return _numbered(number, text, source=source) or _digits_spread(leaf, text)
    spoken, flat = _plain(leaf).split(), _plain(text)
    phrase, compact = " ".join(spoken), "".join(spoken)
    if not spoken or (len(compact) <= 2 and not source):
        return False
    if _holds(flat, phrase) or _pieced_together(flat.split(), compact) or _in_any_order(flat.split(), spoken):
        return True
    if _same_numbers(leaf, text, source=source) or _numbered(quantity(leaf), text, source=source):
        return True
    if len(compact) >= COMPACT and compact in flat.replace(" ", ""):
        return True
    runs = [" ".join(spoken[start : start + PHRASE]) for start in range(len(spoken) - PHRASE + 1)]
    return any(_holds(flat, run) and sum(_holds(key, run) for key in shared) <= 1 for run in runs)


def _numbered(numbers: frozenset[float], text: str, *, source: bool) -> bool:
    """Whether a text names one of these readings of a number."""
    small = all(number <= SMALL and number == int(number) for number in numbers)
    return (source or not small) and not numbers.isdisjoint(values(text))


def _digits_spread(leaf: str, text: str) -> bool:
    digits, spread = ("".join(re.findall(r"\d", said)) for said in (leaf, text))
    return len(digits) >= DIGITS and digits in spread


def _same_numbers(leaf: str, text: str, *, source: bool) -> bool:
    """Whether a text holds the numbers of a date, a time or a ratio: of three and more in any order."""
    wanted, there = dated(leaf), sequence(text)
    if len(wanted) < 2 or (max(wanted) <= SMALL and not source):
        return False
    windows = [there[start : start + len(wanted)] for start in range(len(there) - len(wanted) + 1)]
    return wanted in windows or (len(wanted) > 2 and sorted(wanted) in map(sorted, windows))


def _pieced_together(said: Sequence[str], compact: str) -> bool:
    """Whether words one after another make up the answer: `Pa ris`, `p a r i s`."""
    for start in range(len(said)):
        joined = ""
        for word in said[start:]:
            joined += word
            if joined == compact:
                return True
            if not compact.startswith(joined):
                break
    return False


def _in_any_order(said: Sequence[str], spoken: Sequence[str]) -> bool:
    """Whether the answer's words stand together in another order."""
    windows = (said[start : start + len(spoken)] for start in range(len(said) - len(spoken) + 1))
    return any(sorted(window) == sorted(spoken) for window in windows)
