"""Numbers in text: where each stands, what it is worth, and what looks like one and is none. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache

from .spelled import HAN, HAN_SCALES, SCALES, SPELLED, han_number, spelled_number
from .units import Units, units_of

_MOST_DIGITS = 300
_MOST_EXPONENT = 400

_SPACES = " \N{NO-BREAK SPACE}\N{THIN SPACE}\N{NARROW NO-BREAK SPACE}"
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    r"Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_NO_NUMBERS = rf"""
    \d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}} (?!\d)            # a date
  | \d{{1,2}}([-/.])\d{{1,2}}\1\d{{2,4}} (?![\d.]\d)
  | {_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?\b (?:,?\s+\d{{4}}\b)?
  | \d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH} (?=[\s,.)]|$) (?:,?\s*\d{{4}}\b)?
  | \d{{1,4}}[年년]\s*\d{{1,2}}[月월] (?:\s*\d{{1,2}}[日일])?
  | \d{{1,2}}:\d{{2}} (?::\d{{2}})? (?:\s*[aApP]\.?[mM]\b\.?)? (?!\d)       # a time
  | \d{{1,2}}\s*[aApP]\.?[mM]\b\.?
  | \d+ (?:\.\d+)? (?: (?: : | \s+:\s+ ) \d+ (?:\.\d+)? )+                 # a ratio
  | (?! \d{{1,3}} (?:\.\d{{3}}){{2,}} (?![.\d]) ) v?\d+\.\d+\.\d+ (?:\.\d+)*   # a version, an address
  | -?\d{{1,2}} (?:\.\d+)? \s*['′] \s*\d{{1,2}} (?!\d) (?:\s*["″])?   # feet and inches
  | 0[xX][0-9a-fA-F]+ | \d{{3}}0s\b
  | \d+ (?:\.\d+)? \s* (?:hours?|hrs?|h|feet|ft|pounds?|lbs?|years?|days?|weeks?|minutes?|min|m) ,? \s* (?:and\s+)?
    \d+ (?:\.\d+)? \s* (?:minutes?|mins?|min|m|seconds?|secs?|s|inch(?:es)?|in|ounces?|oz|months?|days?|hours?)\b
"""
_GROUPED = rf"""
    \d{{1,3}} (?: ,\d{{3}} )+ (?: \.\d+ )? (?![\d,]\d|\d)            # 1,234.5
  | \d{{1,2}} (?: ,\d{{2}} )+ ,\d{{3}} (?: \.\d+ )? (?![\d,]\d|\d)   # 12,34,567
  | \d{{1,3}} (?: \.\d{{3}} )+ ,\d+ (?!\d)                           # 1.234,5
  | \d{{1,3}} (?: \.\d{{3}} ){{2,}} (?![\d.,]\d|\d)                  # 1.234.567
  | \d{{1,3}} (?: '\d{{3}} )+ (?: [.,]\d+ )? (?!\d)                  # 1'234.5
  | \d{{1,3}} (?: [{_SPACES}]\d{{3}} )+ (?: [.,]\d+ )? (?![\d/]|[{_SPACES}]?\d)  # 1 234,5
  | \d{{1,3}} (?: _\d{{3}} )+ (?: \.\d+ )? (?![\d_])
  | \d{{1,3}} (?: ٬\d{{3}} )+ (?: ٫\d+ )? (?!\d)
"""
_DIGITS = r" \d+ [.٫] \d+ (?![.,]?\d) | \d+ , (?:\d{1,2}|\d{4,}) (?![\d,]*\d) | \d+ \.? (?=[eE][-+]?\d) | \d+ | \.\d+ "
_CURRENCY = r"(?:(?:US|CA|AU|NZ|HK|R)?\$|€|£|¥|₩|₹|Rs\.?|CHF|USD|EUR|GBP|RM)"
_SHORT_SCALES = (
    r"(?-i:k)\b", r"(?<=\d)(?-i:K)\b", r"(?-i:M)\b", r"(?-i:B)\b", r"bn\b", r"mn\b", r"mio\b", r"mrd\b",
    r"millionen\b", r"milliarden\b", r"millions?\b", r"milliards?\b", r"millones\b",
)  # fmt: skip
_SCALE = "|".join((*(rf"{name}s?\b" for name in SCALES), *_SHORT_SCALES, *HAN_SCALES, "千", "천"))
_NUMBER = rf"""
    (?P<sign> (?: (?<![\w)%]\s) (?<![)%]) [-+±–—]\s | (?<![\d)%]\s) (?<![)%]) [-+±–—] |
        (?:minus|negative) \s+ )? )
    (?P<currency> {_CURRENCY} \s? [-–]? )?
    (?P<digits> {_GROUPED} | {_DIGITS} )
    (?P<mixed> \s+ \d+ / \d+ (?![\d/]) )?
    (?P<exponent> [eE][-+]?\d+ (?!\w|\.\d) | \s* [×x*·✕] \s* 10 \s* \^ \s* \(?\s*[-+–]?\d+\s*\)? )?
    (?P<power> \s* \^ \s* \(?\s* [-+–]?\d+ (?:/\d+)? \s*\)? )?
    (?: \s?/\s? (?P<divisor> \d+ (?:\.\d+)? ) (?![\d/]) )?
    (?P<scales> (?: \s?-? (?:{_SCALE}) ){{0,2}} )
    (?P<percent> \s? (?: % | percent\b | per\s?cent\b | prozent\b | pour\s?cent\b | por\s?ciento\b | 퍼센트 |
        パーセント ) )?
"""
_TOKEN = re.compile(
    rf"""
    (?<![A-Za-z0-9_^√π]) (?<!\^\() (?: (?<!\d[.,]) | (?=[-+±–—]) ) (?<![A-Za-z]-) (?<!\)/) (?<!\)/\()
    (?: (?P<none> {_NO_NUMBERS.replace(chr(92) + "1", "(?P=mark)").replace("([-/.])", "(?P<mark>[-/.])")} )
      | {_NUMBER} )
  | (?P<words> {SPELLED} )
  | (?P<han> {HAN} )
  | (?P<symbol> √\s*\(?[^\s()]*\)? | \d*[π∞] | \b(?:nan|infinity|infinite|undefined)\b )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SYMBOLIC = re.compile(
    r"\s?√\s*\(?[^\s()]*\)?|\s?π|\(|[xyzinabcepqrtuvwXYZN](?![A-Za-z0-9'])|\s[xyz](?![\w'])(?!\s*\d)|\^|_"
)
_LISTED = re.compile(r"(?:[.,]\d+)+")
_ORDINAL_WORDS = ("second", "third", "fourth", "fifth", "tenth", "quarter", "a", "an")
_AND_A = re.compile(r"\s+and\s+(?:an?|one)\s", re.IGNORECASE)
_PAIR = re.compile(r"[(\[]-?\d+,(?!\d{3}(?!\d))-?\d+[)\]]")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b", re.IGNORECASE)
_UNIT_AFTER = re.compile(
    r"\s?-?(°\s?[CFcf]\b|[A-Za-z]+(?:/[A-Za-z]+)?(?:\^\(?[23]\)?)?|[€$¢£¥₩₹円원])(?![A-Za-z0-9_^/·])"
)


@dataclass(frozen=True, slots=True)
class Number:
    """What stands in a text as a number does."""

    start: int
    end: int
    value: Fraction | None
    """None: it looks like a number and is none, or none that can be compared (a date, a root, 1/0)."""
    percent: bool = False
    whole: bool = False
    """Written without a point, an exponent or a fraction: what is counted, not measured."""
    units: Units = field(default=(), compare=False)
    is_word: bool = False
    is_ordinal: bool = False
    is_symbol: bool = False
    """Of the numbers that cannot be compared: part of a formula or of a list, not a date or a time."""


@lru_cache(maxsize=64)
def numbers(text: str) -> tuple[Number, ...]:
    """The numbers of a text in plain signs (`latex.unformatted`), in order."""
    return tuple(_read(text))


def _read(text: str) -> Iterator[Number]:
    place, held = 0, None
    while found := _TOKEN.search(text, place):
        if number := _number(text, found):
            if held and (sum_ := _sum_of(text, held, number)):
                held = sum_
            else:
                if held:
                    yield held
                held = number
        place = max(found.end(), number.end if number else 0, found.start() + 1)
    if held:
        yield held


def _sum_of(text: str, one: "Number", other: "Number") -> "Number | None":
    """One number of two that stand together as 1億2000万 does, or 17 and a half."""
    if one.value and one.value > 0 and other.value and other.is_word and other.value < 1:
        return replace(other, start=one.start, value=one.value + other.value) if _AND_A.match(text[one.end :]) else None
    near = text[one.end : other.start] in ("", " ") and text[one.end - 1] in HAN_SCALES
    if near and one.value and other.value and one.value > other.value > 0:
        return replace(other, start=one.start, value=one.value + other.value)
    return None


def _number(text: str, found: "re.Match[str]") -> Number | None:
    start, end = found.span()
    if found["none"] or found["symbol"]:
        return Number(start, end, None, is_symbol=bool(found["symbol"]))
    if words := found["words"]:
        if words.lower() in _ORDINAL_WORDS:
            return None
        return Number(start, end, spelled_number(words), whole=True, is_word=True, units=_units(text, found))
    if han := found["han"]:
        return Number(start, end, Fraction(han_number(han)), whole=True, is_word=True)
    return _in_digits(text, found)


def _in_digits(text: str, found: "re.Match[str]") -> Number:
    start, end = found.span()
    if start and "," in found["digits"] and _PAIR.match(text, start - 1):
        return Number(start, end, None, is_symbol=True)
    if after := _LISTED.match(text, end) or _SYMBOLIC.match(text, end):
        return Number(start, after.end(), None, is_symbol=True)
    ordinal = _ORDINAL.match(text, end)
    parts = (found[part] for part in ("mixed", "divisor", "exponent", "power", "percent"))
    return Number(
        start,
        ordinal.end() if ordinal else end,
        _value(found),
        percent=bool(found["percent"]),
        whole=_plain(found["digits"]).isdecimal() and not any(parts),
        units=_units(text, found),
        is_ordinal=bool(ordinal),
    )


def _units(text: str, found: "re.Match[str]") -> Units:
    names = [re.sub(r"[ ()]", "", match[1])] if (match := _UNIT_AFTER.match(text, found.end())) else []
    if currency := found["currency"]:
        names.append(re.sub(r"^US|[\s–-]", "", currency))
    return units_of(names)


def _plain(digits: str) -> str:
    """Digits with a point for the decimals, and nothing between thousands."""
    plain = re.sub(rf"['_٬{_SPACES}]", "", digits).replace("٫", ".")
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?|\d{1,2}(,\d{2})+,\d{3}(\.\d+)?", plain):
        return plain.replace(",", "")
    if "," in plain or re.fullmatch(r"\d{1,3}(\.\d{3}){2,}", plain):
        return plain.replace(".", "").replace(",", ".")
    return plain


def _value(found: "re.Match[str]") -> Fraction | None:
    """None where nothing can be compared: without bounds, divided by zero, a root, ±5."""
    digits = _plain(found["digits"])
    sign = found["sign"].strip().lower()
    if len(digits) > _MOST_DIGITS or sign == "±":
        return None
    try:
        value = Fraction(digits.rstrip("."))
        value = value * _ten_to(found["exponent"]) if found["exponent"] else value
        value = _raised(value, found["power"]) if found["power"] else value
        value = value / Fraction(found["divisor"]) if found["divisor"] else value
        if mixed := found["mixed"]:
            value += Fraction(mixed.strip().lstrip("-"))
    except (ValueError, ZeroDivisionError):
        return None
    for name in re.findall(_SCALE.replace(r"(?<=\d)", ""), found["scales"] or "", re.IGNORECASE):
        value *= _scale_of(name)
    negative = sign in ("-", "–", "—", "minus", "negative") or (found["currency"] or "").endswith(("-", "–"))
    return -value if negative else value


def _exponent(text: str) -> Fraction:
    """The number after a ^ or an e; raises ValueError beyond what is compared."""
    found = re.search(r"([-+–]?)(\d+(?:/\d+)?)[\s)]*$", text)
    size = Fraction(found[2]) if found and len(found[2]) < 12 else Fraction(10**9)
    if abs(size) > _MOST_EXPONENT:
        raise ValueError("too large")
    return -size if found and found[1] in ("-", "–") else size


def _ten_to(text: str) -> Fraction:
    return Fraction(10) ** int(_exponent(text))


def _raised(base: Fraction, text: str) -> Fraction:
    exponent = _exponent(text)
    if exponent.denominator != 1 or (abs(base) > 10**6 and exponent > 50):
        raise ValueError("a root, or too large")
    return base ** int(exponent)


def _scale_of(name: str) -> int:
    short = {
        "k": 10**3,
        "m": 10**6,
        "b": 10**9,
        "bn": 10**9,
        "mn": 10**6,
        "mio": 10**6,
        "mrd": 10**9,
        "千": 1000,
        "천": 1000,
    }
    long = {"millionen": 10**6, "milliarden": 10**9, "milliard": 10**9, "milliards": 10**9, "millones": 10**6}
    key = name.lower()
    return {**short, **long, **HAN_SCALES, **SCALES}.get(key) or SCALES[key.removesuffix("s")]
