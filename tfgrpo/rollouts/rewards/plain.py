"""Text as a reward reads it: without the model's thinking, in one form of each sign, and within bounds. Pure."""

import re
import unicodedata

MOST_SEARCHED = 12_000
"""Characters of a long text in which a final answer is looked for: a third of them at its beginning."""
_MOST_MARKS = 30
"""Combining marks in a row that are kept: NFC takes the square of their number (Unicode's stream-safe format, too)."""

_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\N{MINUS SIGN}\N{SMALL HYPHEN-MINUS}\N{NON-BREAKING HYPHEN}", "-"),
        **dict.fromkeys("\N{HYPHEN}", "-"),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f", None),
    }
)
_WIDE = str.maketrans({code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {0x3000: " "})
_MOST_ALIKE = 400
"""Of one character in a row; as many digits are no number that could be compared."""
_LONG_RUN = re.compile(rf"\d{{{_MOST_ALIKE},}}|(.)\1{{{_MOST_ALIKE},}}", re.DOTALL)
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")
_THOUGHT = re.compile(r"^.*</(?:think|thinking|thought|reasoning)>", re.IGNORECASE | re.DOTALL)
_UNFINISHED = re.compile(r"^\s*<(?:think|thinking|thought|reasoning)>", re.IGNORECASE)


def without_thinking(text: str) -> str:
    """What stands after the last closing `</think>`; nothing where a text is still thinking when it ends."""
    if "<" not in text:
        return text
    said = _THOUGHT.sub("", text, count=1)
    return "" if _UNFINISHED.match(said) else said


def composed(text: str) -> str:
    """Text in Unicode's composed form (NFC); of many combining marks in a row only the first are kept."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _few_marks(text))


def _few_marks(text: str) -> str:
    kept, row = list[str](), 0
    for character in text:
        row = row + 1 if unicodedata.combining(character) else 0
        if row <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def plain_quotes(text: str) -> str:
    """Composed text with typewriter's quotes for curly ones, a hyphen for a minus sign, and no invisible characters."""
    return composed(text).translate(_SIGNS)


def plain_signs(text: str) -> str:
    """As `plain_quotes`, with ASCII for full-width characters too."""
    return plain_quotes(text).translate(_WIDE)


def within_bounds(text: str) -> str:
    """The text, or the beginning and the end of one that is long."""
    if len(text) <= MOST_SEARCHED:
        return text
    return f"{text[: MOST_SEARCHED // 3]}\n\n{text[-2 * MOST_SEARCHED // 3 :]}"


def readable(text: str) -> str:
    """What a final answer is looked for in: bounded, without thinking, in plain signs."""
    said = _ADDRESS.sub(" ", within_bounds(without_thinking(text)))
    return plain_signs(_LONG_RUN.sub(lambda found: found[0][:_MOST_ALIKE], said))
