"""The reward `numeric`: the number that a text gives as its answer, and whether it is the task's. Pure."""

import re
from collections.abc import Sequence
from fractions import Fraction

from ...hashing import canonical
from ...records import JSON
from ...text import shortened
from .final import Mark, marks
from .latex import unformatted
from .matchers import Matcher, readable
from .numbers import Number, numbers
from .sentences import NO_NUMBER, final_number, single_number
from .units import converted

NUMERIC_TOLERANCE = Fraction(1, 10**6)
"""How far, relative to the answer, a number may be from it that is no count."""
_CLOSING = re.compile(
    r"\s*(?:let me know|i hope|hope (?:this|that)|feel free|if you|would you|do you|is there|please|confidence|note\b|"
    r"p\.?s\b|check\b|verif|explanation|reference|source|to (?:check|verify))",
    re.IGNORECASE,
)
_CONFIDENCE = re.compile(
    r"\b(?:confidence|certainty)\b(?:\s+(?:level|score))?\s*(?:[:=]|is|of|at)\s*[^\n().]{0,40}(?:\.\d+)?[^\n().]{0,40}|"
    r"(?<![\d.])\d{1,3}(?:\.\d{1,6})?\s?%\s?(?:confident|sure|certain)\b\)?",
    re.IGNORECASE,
)
_SENTENCES = re.compile(
    r"(?<=[.!?])(?<!\d\.)(?<!i\.e\.)(?<!e\.g\.)(?<!approx\.)(?<!\bca\.)(?<!vs\.)(?<!Mio\.)(?<!Rs\.)(?<!no\.)\s+|"
    r"(?<=\d\.)\s+(?=[A-Z])|(?<=[。！？])|\n+"
)
_STEP = re.compile(r"^[\s*_#>-]*(?:step|schritt|étape|paso|шаг|步骤|ステップ)\s*\d{1,2}[*_]*\s*[:.)：-]", re.IGNORECASE)
"""What numbers a step, at the beginning of its line."""
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_SO = re.compile(r",?\s+(?:so|which|giving|therefore|thus|hence|where|making|leaving)\s", re.IGNORECASE)
_MOST_SAID = 1_000
"""Characters after "the answer is" among which the answer stands."""


def numeric(answer: JSON) -> Matcher:
    """The number that the text gives as its answer is the answer's.

    What is written whole must be equal, anything else equal within NUMERIC_TOLERANCE. Units that are known are
    converted. Raises ValueError for an answer that is no single number.
    """
    written = answer if isinstance(answer, str) else canonical(answer)
    wanted = number_of(written)
    if wanted is None:
        raise ValueError(f"the answer {shortened(written)} holds no number")
    if wanted.value is None:
        raise ValueError(
            f"the answer {shortened(written)} holds no number that could be compared, but something like it"
        )

    def passes(text: str) -> bool:
        found = number_of(text)
        return found is not None and _same(found, wanted)

    return passes


def _same(found: Number, wanted: Number) -> bool:
    if found.value is None or wanted.value is None:
        return False
    value = converted(found.value, found.units, wanted.units)
    if value is None:
        return False
    values = {value}
    if found.percent != wanted.percent:
        values.add(value / 100 if found.percent else value * 100)
    slack = NUMERIC_TOLERANCE * abs(wanted.value)
    return any(
        one == wanted.value if wanted.whole and one.denominator == 1 else abs(one - wanted.value) <= slack
        for one in values
    )


def number_of(text: str) -> Number | None:
    """The number that a text gives as its answer.

    None where there is none in it, and one without a value where the answer is no single number.
    """
    said = readable(text)
    for mark in marks(said):
        found = _marked(mark)
        if found is not None:
            return found
    return _unmarked(said)


def _marked(mark: Mark) -> Number | None:
    """What a mark says; None where it says nothing that could be an answer."""
    if mark.is_whole:
        inner = unformatted(mark.text)
        return (single_number(inner) or NO_NUMBER) if re.search(r"\w|[∞√π]", inner) else None
    for line in unformatted(mark.text[:_MOST_SAID].lstrip(" \t*_:")).split("\n"):
        if not re.search(r"\w|[∞√π½¼¾]", line):
            continue
        sentence = next((part for part in _SENTENCES.split(line) if re.search(r"\w|[∞√π]", part)), line)
        if sentence.rstrip(" *_").endswith("?"):
            return None  # it wonders
        first = single_number(_SO.split(sentence, maxsplit=1)[0])
        found = first if first and first.value is not None else single_number(sentence)
        if found or mark.is_firm:
            return found or _unmarked(mark.text) or NO_NUMBER
        return None
    return None


def _unmarked(text: str) -> Number | None:
    """The number of a text that marks none: a line of its own, in bold, or the last of the last sentence with one."""
    body = _CONFIDENCE.sub(" ", text)
    paragraphs = [part for part in re.split(r"\n\s*\n", body.strip()) if part.strip()]
    if not paragraphs:
        return None
    ends = _alone(paragraphs[-1].rpartition("\n")[2]) or (_alone(paragraphs[0]) if len(paragraphs) > 1 else None)
    if ends:
        return ends
    lines = [line for part in paragraphs for line in part.split("\n")]
    kept = [line for line in lines if not _CLOSING.match(line)]
    for group in (kept, lines):
        for line in reversed(_unlisted(group)):
            if found := _in_line(line):
                return found
    return None


def _unlisted(lines: Sequence[str]) -> list[str]:
    """Lines without the numbers of a list."""
    lines = [_STEP.sub("", line) for line in lines]
    numbered = [bool(re.match(r"\s*\d{1,2}[.)]\s+\S", line)) for line in lines]
    if sum(numbered) < 2:
        return list(lines)
    return [re.sub(r"^\s*\d{1,2}[.)]\s+", "", line) for line in lines]


def _alone(line: str) -> Number | None:
    """The number of a line that holds nothing else but a unit."""
    plain = re.sub(r"^(?:(?:[-•#*]|>>+)\s+|[\s#_=:]|\.(?!\d))+|[\s_.。!]+$", "", unformatted(line))
    found = numbers(plain)
    if len(found) != 1 or found[0].value is None:
        return None
    rest = f"{plain[: found[0].start]} {plain[found[0].end :]}"
    is_alone = len(re.findall(r"[^\W\d_]+", rest)) <= 1 and not re.search(
        r"[-+×*÷/^√π<>≤≥]\s*\Z", plain[: found[0].start]
    )
    return found[0] if is_alone else None


def _in_line(line: str) -> Number | None:
    """The number in bold, or the last number of the last sentence of a line that has one."""
    bold = [
        inner
        for inner in _BOLD.findall(line)
        if (held := single_number(unformatted(inner))) and _is_result(inner, held)
    ]
    if bold:
        return single_number(unformatted(bold[-1]))
    sentences = _SENTENCES.split(unformatted(line[-_MOST_SAID:]))[::-1]
    told = [sentence for sentence in sentences if not _CLOSING.match(sentence)]
    for sentence in (*told, *sentences):
        if found := final_number(sentence):
            return found
    return None


def _is_result(inner: str, held: Number) -> bool:
    """Whether what is in bold is a number with hardly anything beside it, and no heading."""
    words = re.findall(r"[^\W\d_]+", inner)
    heading = (inner.rstrip().endswith((":", ".")) and len(words) > 0) or re.match(
        r"\s*(?:step|part|case|day|option)\b", inner, re.IGNORECASE
    )
    return held.value is not None and len(words) <= 5 and not heading and not re.fullmatch(r"\s*\d+[.):]\s*", inner)
