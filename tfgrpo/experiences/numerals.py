"""The numbers that a text names, whatever their format: digits of any script, scales, fractions, numerals, words. Pure.

Every format is read in each way that it may be meant (1.234 is also 1234), since what matters here is whether a text
could give a number away. Signs are not read. Number words are English; up to SMALL they are left out, being words of
every day.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain

SMALL = 12
"""Whole numbers up to this one turn up by chance."""
UNIT_WORDS = 2
"""A number with at most this many words beside it ("42 km") is a quantity: the number alone gives it away."""

_NUMBER = re.compile(r"\d(?:[\d.,'\u2019 ]*\d)?(?:e[-+]?\d+)?", re.IGNORECASE)
_DECIMAL = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)
_SCALED = re.compile(
    r"(\d[\d.,]*)\s*(?:(k|thousand)|(m|mn|million)|(bn|billion)|(%|percent|per cent)|[x\u00d7*]\s*10\s*\^?\s*(\d{1,2}))"
    r"(?!\w)",
    re.IGNORECASE,
)
_SCALES = (1e3, 1e6, 1e9, 1e-2)
_FRACTION = re.compile(r"(\d{1,9})\s*[/\u2044]\s*(\d{1,9})")
_RADIX = re.compile(r"\b0(?:x[0-9a-f]{1,15}|b[01]{1,60}|o[0-7]{1,20})\b", re.IGNORECASE)
_ROMAN = re.compile(r"\b(?=[MDCLXVI]{3,}\b)M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})\b")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}

_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_UNITS = {
    word: number for number, word in enumerate(f"zero one two three four five six seven eight nine {_TEENS}".split())
}
_DECADES = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TENS = {word: 10 * number for number, word in enumerate(_DECADES, 2)}
_LARGE = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_PARTS = {"third": 3, "quarter": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10}
_PART_WORDS = {f"{word}{ending}": number for word, number in _PARTS.items() for ending in ("", "s")}
_WORDS = {**_UNITS, **_TENS, **_LARGE}
_ONE_WORD = "|".join(sorted([*_WORDS, *_PART_WORDS, "point"], key=len, reverse=True))
_SPOKEN = re.compile(rf"\b(?:{_ONE_WORD})(?:[\s-]*(?:and\s+)?(?:{_ONE_WORD})){{0,24}}\b", re.IGNORECASE)

_MONTH = re.compile(
    r"\b(?:(jan)(?:uary)?|(feb)(?:ruary)?|(mar)(?:ch)?|(apr)(?:il)?|(may)|(jun)e?|(jul)y?|(aug)(?:ust)?|(sep)t?(?:ember)?"
    r"|(oct)(?:ober)?|(nov)(?:ember)?|(dec)(?:ember)?)\b",
    re.IGNORECASE,
)
_BARE_SEQUENCE = re.compile(r"\W*(?:\d+(?:st|nd|rd|th)?(?:\W+|$))+", re.IGNORECASE)
_AFTERNOON = re.compile(r"\b(\d{1,2})([:.h]\d\d)\s*p\.?m\b", re.IGNORECASE)


@lru_cache(maxsize=4096)
def value(text: str) -> frozenset[float]:
    """What a text may stand for when it is one number and nothing else; empty when it is not."""
    bare = re.sub(r"^[\s$€£¥+-]+|[\s$€£¥%]+$", "", unicodedata.normalize("NFKC", text))
    return frozenset(_readings(re.sub(r"['\u2019 ]", "", bare))) if _NUMBER.fullmatch(bare) else frozenset()


@lru_cache(maxsize=4096)
def quantity(text: str) -> frozenset[float]:
    """What the one number in a text stands for, when at most UNIT_WORDS words are all else; empty when it is not so."""
    text = unicodedata.normalize("NFKC", text)
    numbers, rest = _NUMBER.findall(text), re.findall(r"\w+", _NUMBER.sub(" ", text))
    return value(numbers[0]) if len(numbers) == 1 and len(rest) <= UNIT_WORDS else frozenset()


@lru_cache
def values(text: str) -> frozenset[float]:
    """Every number in a text."""
    text = unicodedata.normalize("NFKC", text)
    return frozenset(chain(_written(text), _scaled(text), _other_numerals(text), _spoken(text)))


@lru_cache(maxsize=4096)
def dated(text: str) -> tuple[int, ...]:
    """The numbers of a text that holds nothing else, as a date, a time or a ratio does; empty when it says more."""
    return sequence(text) if _BARE_SEQUENCE.fullmatch(_in_numbers(text)) else ()


@lru_cache
def sequence(text: str) -> tuple[int, ...]:
    """The whole numbers of a text in their order; months and afternoons in numbers."""
    return tuple(int(digits) for digits in re.findall(r"\d{1,18}", _in_numbers(text)))


def _in_numbers(text: str) -> str:
    text = unicodedata.normalize("NFKC", text)
    text = _AFTERNOON.sub(lambda match: f"{int(match[1]) % 12 + 12}{match[2]}", text)
    return _MONTH.sub(lambda match: f" {match.lastindex} ", text)


def _written(text: str) -> Iterator[float]:
    for match in _NUMBER.finditer(text):
        pieces = re.split(r"['\u2019 ]+", match.group())
        grouped = all(len(piece) == 1 for piece in pieces) or all(len(piece) == 3 for piece in pieces[1:])
        listed = [item for piece in pieces for item in piece.split(",")]
        for piece in [*pieces, *listed, *(["".join(pieces)] if grouped else [])]:
            yield from _readings(piece)
    for match in re.finditer(r"(?<![\d.,])\.(\d+)", text):
        yield float(f"0.{match[1]}")


def _scaled(text: str) -> Iterator[float]:
    """4.2k, 1.25 million, 37.5%, 4.2 x 10^3 and 3/8."""
    for match in _SCALED.finditer(text):
        told = [scale for scale, group in zip(_SCALES, match.groups()[1:5], strict=True) if group]
        scale = told[0] if told else 10.0 ** int(match[6])
        yield from (_rounded(number * scale) for number in _readings(match[1].rstrip(".,")))
    for match in _FRACTION.finditer(text):
        if int(match[2]):
            yield _rounded(int(match[1]) / int(match[2]))


def _other_numerals(text: str) -> Iterator[float]:
    """Hexadecimal, octal, binary and Roman ones."""
    yield from (float(int(match.group(), 0)) for match in _RADIX.finditer(text))
    for match in _ROMAN.finditer(text):
        numbers = [_ROMAN_VALUES[letter] for letter in match.group()]
        pairs = zip(numbers, [*numbers[1:], 0], strict=True)
        yield float(sum(-one if one < after else one for one, after in pairs))


def _readings(number: str) -> set[float]:
    """A number's values: 1,234 is 1234 or 1.234, and so is 1.234."""
    forms = {number, number.replace(",", ""), number.replace(".", "").replace(",", ".")}
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+", number):
        forms.add(number.replace(".", ""))
    return {float(form) for form in forms if _DECIMAL.fullmatch(form)}


def _rounded(number: float) -> float:
    """Without the noise of a division, so that 3/8 % of a number equals what was written."""
    return float(f"{number:.12g}")


def _spoken(text: str) -> Iterator[float]:
    """Numbers in words: cardinals, years in pairs, digits one by one, decimals and fractions."""
    for match in _SPOKEN.finditer(text):
        said = re.findall(_ONE_WORD, match.group().casefold())
        if said[-1] in _PART_WORDS:
            yield from (_rounded(number / _PART_WORDS[said[-1]]) for number in _cardinals(said[:-1]))
        elif "point" in said:
            yield from _decimals(said)
        else:
            yield from (number for number in _cardinals(said) if number > SMALL)


def _decimals(said: list[str]) -> Iterator[float]:
    """`one point two five million`: whole part, digits, and a scale at the end."""
    place = said.index("point")
    scale = _LARGE.get(said[-1], 1)
    digits = [_UNITS[word] for word in said[place + 1 :] if word in _UNITS]
    for whole in _cardinals(said[:place]) or (0.0,):
        yield _rounded(float(f"{whole:.0f}.{''.join(map(str, digits)) or 0}") * scale)


def _cardinals(said: Iterable[str]) -> tuple[float, ...]:
    """The values of number words one after another: their sum where a scale says so, else their digits in a row."""
    numbers = [_WORDS[word] for word in said if word in _WORDS]
    if not numbers:
        return ()
    if not any(number in _LARGE.values() for number in numbers):
        return (float("".join(map(str, _grouped(numbers)))),)
    total, current = 0, 0
    for number in numbers:
        if number == 100:
            current = max(1, current) * 100
        elif number in _LARGE.values():
            total, current = total + max(1, current) * number, 0
        else:
            current += number
    return (float(total + current),)


def _grouped(numbers: Iterable[int]) -> list[int]:
    """Tens joined with the unit that follows: 20, 1 becomes 21."""
    groups: list[int] = []
    for number in numbers:
        if groups and groups[-1] in _TENS.values() and 0 < number < 10:
            groups[-1] += number
        else:
            groups.append(number)
    return groups
