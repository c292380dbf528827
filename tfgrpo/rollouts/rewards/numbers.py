"""Numbers in text: the last one that it holds, whatever its format. Pure."""

import math
import re
import unicodedata

_PLAIN = str.maketrans(
    {
        "\N{MINUS SIGN}": "-",
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    }
)


def plain_signs(text: str) -> str:
    """Text in Unicode's composed form (NFC), with a hyphen for a minus sign and typewriter's quotes for curly ones."""
    return unicodedata.normalize("NFC", text).translate(_PLAIN)


_THOUSANDS = "[,'\N{NO-BREAK SPACE}\N{THIN SPACE}\N{NARROW NO-BREAK SPACE}]"
_NUMBER = re.compile(
    rf"""
    (?<![A-Za-z0-9_]) (?<!\d\.)           # not the 2 of H2O, nor the 3 of v1.2.3
    (?P<sign> -? ) [+$€£¥]?               # the minus of 5-3 is no sign: a digit stands before it
    (?P<digits> (?: \d{{1,3}} (?:{_THOUSANDS}\d{{3}})+ (?!\d) | \d+ ) (?:\.\d+)? | \.\d+ )
    (?P<exponent> [eE][-+]?\d+ )?
    (?: [ ]?/[ ]? (?P<divisor> \d+(?:\.\d+)? ) )?
    """,
    re.VERBOSE,
)


def last_number(text: str) -> float | None:
    """The last number in a text, None when there is none.

    Read are a sign (after it, a currency sign), thousands set apart by commas, apostrophes or unbreakable spaces,
    decimals after a point, exponents (1e-3), and fractions (3/4, but not 1 3/4). Digits after a Latin letter (H2O)
    are part of a word. A unit does not count, and a percent sign is one: 50% is 50. Division by zero and what no float
    holds give NaN, which equals nothing.
    """
    numbers = list(_NUMBER.finditer(plain_signs(text)))
    if not numbers:
        return None
    sign, digits, exponent, divisor = numbers[-1].group("sign", "digits", "exponent", "divisor")
    whole = float(re.sub(_THOUSANDS, "", digits) + (exponent or ""))
    parts = float(divisor or 1)
    size = whole / parts if parts else math.nan
    return math.nan if math.isinf(size) else -size if sign else size
