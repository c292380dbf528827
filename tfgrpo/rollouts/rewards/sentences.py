"""The number that one sentence gives: none that is denied, compared with or counts steps, and none of several. Pure."""

import itertools
import re
from collections.abc import Sequence

from .numbers import Number, numbers

NO_NUMBER = Number(0, 0, None)
"""What is said instead of one number: two, a range, a date, or that it is unknown."""

_JOINED = re.compile(
    r"\s*(?:,|;|\b(?:and|or|to|und|oder|bis|et|ou|à|y|o|e|и|или|nor|through|plus|minus|"
    r"times)\b|[-–—/:+×*÷|&^~∪±<>≤≥]|\bx\b|"
    r"或|和|と|か|또는|,\s*(?:and|or))"
    r"\s*(?:(?:maybe|perhaps|possibly|even|is|[A-Za-z]\s*=)\s*)*[([$€£]?\s*",
    re.IGNORECASE,
)
_JOINED_UNITS = re.compile(r"\s*[^\W\d]+\s+(?:and|or|to|und|oder|et|ou|y|o)\s+", re.IGNORECASE)
_SPLIT = re.compile(r"=|≈|≅|⇒|→|\bequals?(?:\s+to)?\b|\bis\s+equal\s+to\b")
_ASSIGNED = re.compile(r"(?<![\w^])[A-Za-z]\w?\s*=\s*(?=[-+\d√±$.(\[])")
_DENIED = re.compile(
    r"(?:\bnot|n't|\bnever|\bneither|\bnor|≠|!=|\bcannot|\brather than|\binstead of|\bnicht|\bkein\w*|\bno es|"
    r"\bn'est pas)"
    r"\s*(?:(?:be|the|is|equal|to|exactly|even|=|\$)\s*)*\Z",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"\s*(?:is|was|would be)\s+(?:not|wrong|incorrect|false)\b|\s*(?:isn|wasn)'t\b|"
    r"\s*(?:is|seems)\s+(?:far\s+|way\s+)?too\s|"
    r"\s*(?:[^\W\d]+\s+)?(?:more|less|fewer|higher|lower|greater|larger|smaller|older|younger)\s+"
    r"(?:[^\W\d]+\s+)?than\b|"
    r"가 아니|이 아니|ではな"
)
_DENIED_TOO = re.compile(r"\s*(?:[^\W\d]+\s+)?(?:and|or|nor|to|[-–—])\s*[$€£]?", re.IGNORECASE)
_COMPARED = re.compile(
    r"(?:\b(?:more|less|fewer|greater|larger|smaller|bigger|higher|lower|older|younger|longer|shorter)\s+than|"
    r"(?<![\d)%])(?<![\d)%]\s)[<>≤≥±]|"
    r"\bat\s+(?:least|most)|\bbetween|\bup\s+to|\b(?:above|below|over|under|exceeds?))\s*[$€£]?\s*\Z",
    re.IGNORECASE,
)
_BESIDE = re.compile(
    r"(?:\b(?:step|question|problem|exercise|case|equation|eq\.|figure|fig\.|table|chapter|section|part|option|example|"
    r"method|approach|version|per|each|every|page|(?:for|of|from|with)\s+(?:the|these|those|all)|out\s+of|after)\s*\(?|"
    r"[\w.,]\s*\[)\s*\Z",
    re.IGNORECASE,
)
_THAT_IS = re.compile(r",?\s+(?:i\.e\.|that is,|namely|because|since|denn|car|porque)\s", re.IGNORECASE)
_ASIDE = re.compile(
    r"(?<![\w^√/)])\s*\([^()√π]*(?:[^\W\d_]{2}|=)[^()]*\)(?!\s*[/^])|(?<=[\w.%])\s+\([^()]*\)(?!\s*[/^])"
)
_UNTOLD = re.compile(
    r"\b(?:cannot|can't|could not|couldn't|impossible to|not possible to|unable to|hard to)\s+(?:be\s+)?"
    r"(?:determine|tell|say|know|answer|compute|calculate)|\bnot enough (?:information|data)|\binsufficient|"
    r"\bi (?:do not|don't) know",
    re.IGNORECASE,
)
_MOST_WORDS = 4
_HOW = ("by", "because", "if", "when", "since", "from", "as")


def single_number(text: str) -> Number | None:
    """The one number that a short text is, or begins with; None where it holds none."""
    if len({number.value for number in _assigned(text)}) > 1:
        return NO_NUMBER
    text = _without_asides(text)
    for side in _SPLIT.split(text)[::-1]:
        found = _usable(side, numbers(side))
        if not found:
            if numbers(side):
                return NO_NUMBER
            continue
        first = found[0]
        if _tells_how(side[: first.start]):
            return _last(side, found)
        if _is_part_of_more(side, found):
            continue_at_left = len(_SPLIT.split(text)) > 1 and side is not _SPLIT.split(text)[0]
            if continue_at_left and re.search(r"\d\s*[-+×*÷/x]\s*\d", side):
                continue
            return NO_NUMBER
        return first if not first.is_symbol else NO_NUMBER
    return None


def _tells_how(before: str) -> bool:
    """Whether the words before a first number tell how the answer is found, so that it comes last."""
    words = re.findall(r"[^\W\d_]+", before.lower())
    return len(words) > _MOST_WORDS or any(word in _HOW or word.endswith(("ing", "ed")) for word in words)


def _assigned(text: str) -> list[Number]:
    """What letters are said to be: x = 2, y = 3."""
    places = [found.end() for found in _ASSIGNED.finditer(text)]
    if len(places) < 2:
        return []
    ends = [*places[1:], len(text)]
    parts = [text[place:end] for place, end in zip(places, ends, strict=True)]
    return [found for part in parts for found in numbers(part)[:1]]


def _without_asides(text: str) -> str:
    """Without what stands in brackets, where numbers are left."""
    early = _THAT_IS.split(text, maxsplit=1)[0]
    text = early if len(numbers(early)) == 1 else text
    bare = _ASIDE.sub(" ", text)
    return bare if numbers(bare) else text


def _is_part_of_more(text: str, found: Sequence[Number]) -> bool:
    """Whether the first number is followed by others that belong to it: a list, a range, a sum."""
    first = found[0]
    before = text[: first.start].rstrip()
    for last, number in itertools.pairwise(found):
        between = text[last.end : number.start]
        joined = _JOINED.fullmatch(between) or _JOINED_UNITS.fullmatch(between)
        if not joined:
            return False
        if number.value is None or number.value != first.value:
            return True
    return before.endswith("√")


def _usable(text: str, found: Sequence[Number]) -> list[Number]:
    """The numbers that may be an answer: none that is denied or compared with; no label where there is another."""
    left = _undenied(text, found)
    counted = [number for number in left if not (number.is_ordinal or _BESIDE.search(_before(text, number)))] or left
    plain = [number for number in counted if not number.is_word]
    words = [number for number in counted if not _is_article(text, number)]
    return plain or words


def _undenied(text: str, found: Sequence[Number]) -> list[Number]:
    """Without what is denied, or compared with, and what is joined to that: between 5 and 7, not 5 or 6."""
    kept, last = list[Number](), None
    for number in found:
        joined = last is not None and _DENIED_TOO.fullmatch(text[last.end : number.start])
        if joined or _is_denied(text, number):
            last = number
        else:
            kept.append(number)
    return kept


def _before(text: str, number: Number) -> str:
    """The words before a number; only so many, since a long text may hold many numbers."""
    return text[max(0, number.start - 60) : number.start]


def _is_denied(text: str, number: Number) -> bool:
    before = _before(text, number)
    return bool(_DENIED.search(before) or _COMPARED.search(before) or _DENIED_AFTER.match(text, number.end))


def _is_article(text: str, number: Number) -> bool:
    """Whether "one" is no count, as in "this one"."""
    before = _before(text, number)
    counts = re.search(
        r"\b(?:only|just|exactly|is|are|was|has|have|had|leaves|left|makes|gives|there)\s*\Z", before, re.IGNORECASE
    )
    return text[number.start : number.end].lower() == "one" and bool(re.search(r"\w\s*\Z", before)) and not counts


def _last(text: str, found: Sequence[Number]) -> Number:
    """The last number of a sentence, where it is not one of several."""
    kept = [number for number in found if number.value is not None or number.is_symbol] or list(found)
    last = kept[-1]
    if len(kept) > 1:
        other = kept[-2]
        if _JOINED.fullmatch(text[other.end : last.start]) and other.value != last.value:
            return NO_NUMBER
    return last


def final_number(sentence: str) -> Number | None:
    """The last number of a sentence; None where it has none, and one without a value where it is no single one."""
    text = _without_asides(sentence)
    usable = _usable(text, numbers(text))
    if usable and not _UNTOLD.search(sentence):
        return _last_or_left(text, usable)
    return NO_NUMBER if numbers(text) else None


def _last_or_left(text: str, found: Sequence[Number]) -> Number:
    """The last number; where a sum stands to the right of the last =, the number to the left of it."""
    last = _last(text, found)
    left, equals, _ = text.rpartition("=")
    if len({number.value for number in _assigned(text)}) > 1:
        return NO_NUMBER
    if last.value is None and equals and (earlier := _usable(left, numbers(left))):
        return _last(left, earlier)
    return last
