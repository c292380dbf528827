"""Numbers in words: English ones ("forty-two", "two and a half million"), and those of Chinese and Japanese. Pure."""

import re
from collections.abc import Mapping
from fractions import Fraction

_SMALL: Mapping[str, int] = {
    name: value
    for value, name in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
}
_TENS: Mapping[str, int] = {
    name: 10 * value
    for value, name in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2
    )
} | {"fourty": 40}
SCALES: Mapping[str, int] = {
    "hundred": 100, "dozen": 12, "thousand": 1_000, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "lakh": 10**5, "crore": 10**7,
}  # fmt: skip
_PARTS: Mapping[str, int] = {
    "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "hundredth": 100, "thousandth": 1000,
}  # fmt: skip
_PART_NAMES = {f"{name}s": size for name, size in _PARTS.items()} | dict(_PARTS) | {"halves": 2}

_WORD = "|".join(sorted((*_SMALL, *_TENS, *SCALES, *(f"{name}s" for name in SCALES), *_PART_NAMES), key=len)[::-1])
SPELLED = (
    rf"\b(?:(?:minus|negative)\s+)?(?:(?:a|an)\s+(?=hundred|thousand|million|billion|trillion|dozen|half\b|third\b|"
    rf"quarter\b|tenth\b))?(?:{_WORD})\b(?:(?:[\s–-]+|\s+and\s+|\s+and\s+an?\s+|\s+point\s+)(?:{_WORD})\b)*"
)
"""A pattern, to be matched without regard to case."""
HAN = "[〇零一二三四五六七八九十百千万萬億亿兆两兩]+"
_HAN_DIGITS = {sign: value for value, sign in enumerate("〇一二三四五六七八九")} | {"零": 0, "两": 2, "兩": 2}
_HAN_TENS = {"十": 10, "百": 100, "千": 1000}
HAN_SCALES = {"万": 10**4, "萬": 10**4, "만": 10**4, "億": 10**8, "亿": 10**8, "억": 10**8, "兆": 10**12, "조": 10**12}


def spelled_number(text: str) -> Fraction | None:
    """The value of a number in English words; None for words that are no one number ("five six")."""
    words = re.findall(r"[a-z]+", text.lower())
    sign = -1 if words and words[0] in ("minus", "negative") else 1
    words = words[1:] if sign < 0 else words
    value = _with_point(words) if "point" in words else _with_parts(words)
    return None if value is None else sign * value


def _with_point(words: list[str]) -> Fraction | None:
    place = words.index("point")
    whole, digits = _whole(words[:place]), [_SMALL.get(word, 10) for word in words[place + 1 :]]
    if whole is None or not digits or max(digits) > 9:
        return None
    return whole + Fraction(int("".join(map(str, digits))), 10 ** len(digits))


def _with_parts(words: list[str]) -> Fraction | None:
    """Whole numbers, parts ("three quarters"), and both ("two and a half million")."""
    parts = [place for place, word in enumerate(words) if word in _PART_NAMES]
    if not parts:
        return _whole(words)
    place = parts[0]
    scale = 1
    for word in words[place + 1 :]:
        if _scale(word) is None:
            return None
        scale *= _scale(word) or 1
    size, before = _PART_NAMES[words[place]], words[:place]
    if "and" in before:
        cut = len(before) - before[::-1].index("and")
        whole, above = _whole(before[: cut - 1]), _count(before[cut:])
        return None if whole is None or above is None else (whole + Fraction(above, size)) * scale
    above = _count(before)
    return None if above is None else Fraction(above, size) * scale


def _count(words: list[str]) -> int | None:
    """How many parts: one where it is not said."""
    if words in ([], ["a"], ["an"]):
        return 1
    whole = _whole(words)
    return None if whole is None else int(whole)


def _scale(word: str) -> int | None:
    return SCALES.get(word) or SCALES.get(word.removesuffix("s"))


def _whole(words: list[str]) -> Fraction | None:
    """A whole number; None where words do not follow on each other, as in "five six"."""
    said = [word for word in words if word not in ("and", "a", "an")]
    if not said:
        return None
    total, current, room = 0, 0, 999
    for word in said:
        size, scale = _SMALL.get(word, _TENS.get(word)), _scale(word)
        if size is not None:
            if size > room or (size == 0 and len(said) > 1):
                return None
            current, room = current + size, 0 if size < 20 else 9
        elif scale in (12, 100):
            current, room = max(current, 1) * scale, 99 if scale == 100 else 0
        elif scale:
            total, current, room = total + max(current, 1) * scale, 0, 999
        else:
            return None
    return Fraction(total + current)


def han_number(text: str) -> int:
    """The value of a number in Chinese characters, 四十二 as well as 二〇二四."""
    if all(sign in _HAN_DIGITS for sign in text):
        return int("".join(str(_HAN_DIGITS[sign]) for sign in text))
    total = section = digit = 0
    for sign in text:
        if sign in _HAN_DIGITS:
            digit = _HAN_DIGITS[sign]
        elif sign in _HAN_TENS:
            section, digit = section + (digit or 1) * _HAN_TENS[sign], 0
        else:
            total, section, digit = total + (section + digit or 1) * HAN_SCALES[sign], 0, 0
    return total + section + digit
