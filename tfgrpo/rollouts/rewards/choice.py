"""The reward `choice`: the label that a text picks, a letter such as B or a word such as billing. Pure."""

import re
from functools import lru_cache

from ...records import JSON
from ...text import shortened
from .final import Mark, marks
from .latex import unformatted
from .matchers import Matcher, in_text, plain_signs, readable

_AROUND = r"[\s()\[\]{}<>*_#`$\\:\"'「」『』【】«»]*"
_KIND = (
    r"(?:option|choice|answer|letter|label|category|opción|opcion|alternativa|antwort|variante?|вариант|选项|選択肢)"
)
_GOOD = (
    r"(?:correct|right|true|accurate|appropriate|best|answer|choice|option|richtig|korrekt|correct[oae]|exacte|верно|"
    r"verdadera)"
)
_IS = r"(?:is|are|ist|est|es|è|é)"
_FILLERS = r"(?:therefore\s+|thus\s+|clearly\s+|definitely\s+|indeed\s+|the\s+|la\s+|die\s+|only\s+|best\s+|most\s+)*"
_NOT_A_WORD = r"(?<![\w'-])"
_CJK_AFTER = "选项|正确|正解|입니다|이다|이에요|예요|번|です|だ|が|で|を|是|가|이|를|을"
_ENDS = (
    r"(?![+#])(?!['-]\w)(?![.,]\d)"
    rf"(?:(?=[^\S\n]*(?:[^\w\s]|_|\n|$))|(?={_CJK_AFTER})|(?=\s+(?:because|since|as\s+the|as\s+[A-Z]\b|is\s+{_FILLERS}{_GOOD}\b)))"
)
_JOINS = r"(?:,|/|&|\+|;|\band\b|\bor\b|\bund\b|\boder\b|\bet\b|\bou\b|\by\b|\bo\b|、|和|或|と|か|및|또는|와|과)"
_OTHER = re.compile(
    rf"[\s)\].:*_`\"'}}]*{_JOINS}\s*(?:both\s+|maybe\s+|possibly\s+|perhaps\s+|{_KIND}\s+)?[(\[*_`\"']*"
    r"(?-i:[B-HJ-Z]|A(?!\s+\w)|\d{1,2})(?![\w'-])(?!\s*(?:is|was|are|would|has|does|did|can|cannot|being|because)\b)",
    re.IGNORECASE,
)
_BESIDE = re.compile(rf"(?<![\w'])(?:[A-Z]|\d{{1,2}})\W*{_JOINS}\W*\Z")
_SLASH = re.compile(r"\s*/\s*\w")
_DENIES = re.compile(
    r"(?:\b(?:not|neither|nor|never|cannot|rule out|eliminate|exclude|nicht|kein\w*)\b|n't\b)[^.\n]{0,16}\Z",
    re.IGNORECASE,
)
_SETTLED = re.compile(
    r"(?:\b(?:i|we|let's)(?:'d|'ll|\s+would|\s+will)?\s+(?:therefore\s+)?(?:choose|chose|pick|picked|select|selected|go\s+with|"
    r"go\s+for|vote\s+for|say|think|believe)(?:\s+(?:that|the\s+answer\s+is|it\s+is|it's))*|"
    r"^(?:choose|pick|select|go\s+with|vote\s+for)|"
    r"\bit(?:\s+is|'s|\s+must\s+be|\s+should\s+be|\s+has\s+to\s+be)|^(?:definitely|clearly|probably)|"
    r"(?:^|[.!,;]\s*)(?:so|thus|therefore|hence|finally)\s*,?(?:\s+(?:it\s+is|it's))?)\s+",
    re.IGNORECASE,
)
_SUBJECT_IS = re.compile(
    r"(?:(?:^|[.!,;]\s+)(?:(?:so|thus|therefore|hence),?\s+)?(?:the|this|that)(?:\s+[\w'-]+){1,3}?|"
    r"(?:(?:^|[.!;]\s+)(?:(?:so|thus|therefore|hence),?\s+)?|,\s+(?:so|thus|therefore|hence),?\s+)(?:this|that))\s+is\s+",
    re.IGNORECASE,
)
_CLAUSE_ENDS = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\bcf)[.;][\"”]?\s", re.IGNORECASE)
_DOUBTED = re.compile(r"\b(?:not|no\s?one|nobody|never|neither|nor|hardly|few)\b|n't\b", re.IGNORECASE)
_MOST_SAID = 1_000
"""Characters after "the answer is" among which the label stands."""
_LETTER = re.compile(r"[A-Za-z]|\d{1,2}")
_LISTED = re.compile(rf"\W*(?:{_KIND}\s+)?([A-Za-z]|\d{{1,2}})\s*[).:\]-]", re.IGNORECASE)
_ANY_GOOD = re.compile(
    rf"{_NOT_A_WORD}(?:(?i:{_KIND})\s+)?[(\[*_`\"']*([A-Z]|\d{{1,2}})[)\]*_`\"'.]*\s*(?:\([^()\n]{{0,60}}\)\s*)?"
    rf"{_IS}\s+{_FILLERS}{_GOOD}\b"
)


def choice(answer: JSON) -> Matcher:
    r"""The text picks the answer, a label such as B or billing.

    The pick is read where the text marks its answer: in \boxed{}, in <answer> tags, in JSON, after "Answer:" or "the
    answer is" in many languages. Without a mark it is read from "B is correct" and "I choose B", from the last line
    where that is "B" or "B) Paris", and else from the start of the text. There the label must come first, in either
    case, whatever brackets, quotes and Markdown are around it, and must end; another one beside it makes it none.
    """
    label = unformatted(plain_signs(in_text(answer))).strip("()[]{}*_`\"'. \t\r\n")
    if not label:
        raise ValueError(f"the answer {shortened(in_text(answer))} holds no label")
    with_text = re.match(r"([A-Za-z]|\d{1,2})\s*[).:]\s+\S", label)
    wanted = with_text[1] if with_text else label
    return lambda text: _picks(wanted, readable(text))


def _picks(label: str, said: str) -> bool:
    for mark in marks(said):
        picked = _marked(label, mark)
        if picked is not None:
            return picked
    return _unmarked(label, unformatted(said))


def _is_letter(label: str) -> bool:
    return _LETTER.fullmatch(label) is not None


@lru_cache
def _at_start(label: str) -> "re.Pattern[str]":
    """The label at the start of a text, whatever is around it."""
    kind = rf"(?:(?:the|la|die)?\s*(?:correct|right|best)?\s*{_KIND}\b(?:\s+{_IS}\b)?{_AROUND})?"
    article = "" if _is_letter(label) else r"(?:(?:the|an?)\s+)?"
    return re.compile(rf"{_AROUND}{kind}(?:(?:la|el|die)\s+)?{article}{re.escape(label)}{_ENDS}", re.IGNORECASE)


def _begins(label: str, text: str) -> bool:
    """Whether a text begins with the label, and with no other beside it."""
    found = _at_start(label).match(text)
    if not found:
        return False
    another = _is_letter(label) and _OTHER.match(text, found.end())
    return not another and not _SLASH.match(text, found.end())


def _marked(label: str, mark: Mark) -> bool | None:
    """Whether a mark says the label; None where it says nothing."""
    inner = unformatted(mark.text[:_MOST_SAID])
    if not re.search(r"\w|[^\s\x00-\x7f]", inner):
        return None
    tells = mark.is_whole or mark.is_firm or not _is_letter(label)
    names_one = re.match(
        rf"\W*(?:(?:the|la|le|el|die)\s+)?(?:not\b|{_KIND}\b|[A-Za-z](?![A-Za-z0-9'])|\d)", inner, re.IGNORECASE
    )
    return _begins(label, inner) if tells or names_one else None


def _unmarked(label: str, text: str) -> bool:
    lines = [re.sub(r"^\s*[-•]\s+", "", line) for line in text.strip().split("\n") if line.strip()]
    if not lines:
        return False
    last = lines[-1]
    if len(re.findall(r"\w+", last)) == 1:
        return _begins(label, last)
    if _is_letter(label):
        if named := _called_good(text):
            return named == {label.lower()}
        if (settled := _settled(label, last)) is not None:
            return settled
        if len(lines) > 1 and _LISTED.match(last):
            return not _is_list(lines) and _begins(label, last)
    return _begins(label, text) or (not _is_letter(label) and _ends_settled(label, last))


def _ends_settled(label: str, line: str) -> bool:
    """Whether a line ends with "I'd say billing", "so it's billing", "the claim is true"; maybe with what it is not."""
    last = [found[-1] for ways in (_SETTLED, _SUBJECT_IS) if (found := [*ways.finditer(line)])]
    settled = [one for one in last if not _DOUBTED.search(line, _clause(line, one.end()), one.end())]
    said = rf"{_AROUND}(?:(?:the|an?|a\s+clear)\s+)?{re.escape(label)}{_AROUND}(?:,\s*not\s+[\w'-]+)?[\W_]*"
    return any(re.fullmatch(said, line[one.end() :], re.IGNORECASE) for one in settled)


def _clause(line: str, place: int) -> int:
    """Where the clause begins that a place is in: with the line, where it is quoted."""
    start = max((found.end() for found in _CLAUSE_ENDS.finditer(line, 0, place)), default=0)
    is_quoted = line.count('"', 0, start) % 2 == 1 or line.count("“", 0, start) > line.count("”", 0, start)
    return 0 if is_quoted else start


def _called_good(text: str) -> set[str]:
    """The letters that a text calls correct, one or several."""
    found = [one for one in _ANY_GOOD.finditer(text) if not _DENIES.search(text, max(0, one.start() - 60), one.start())]
    beside = any(_BESIDE.search(text, max(0, one.start() - 60), one.start()) for one in found)
    return {one[1].lower() for one in found} | ({""} if beside else set())


def _settled(label: str, line: str) -> bool | None:
    """Whether a line says "I choose B", "it is B", "so B"; None where it says nothing of the kind."""
    found = list(_SETTLED.finditer(line))
    for one in reversed(found):
        rest = line[one.end() :]
        if re.match(rf"{_AROUND}(?:{_KIND}\s+)?{_AROUND}[A-Za-z0-9](?![\w'])", rest, re.IGNORECASE):
            return _begins(label, rest) and not _DENIES.search(line, max(0, one.end() - 60), one.end())
    return None


def _is_list(lines: list[str]) -> bool:
    """Whether the last line is one of a list of options."""
    found = [_LISTED.match(line) for line in lines[-2:]]
    return all(found) and len({one[1].lower() for one in found if one}) > 1
