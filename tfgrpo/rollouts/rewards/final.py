r"""Where a text says its final answer: in \boxed{}, in tags, in JSON, or after "Answer:" in many languages. Pure."""

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from ...records import JSON
from .latex import boxed

_TAGS = "answer|final_answer|finalanswer|final|ans|choice|result|output|label|response|solution"
_TAGGED = re.compile(rf"<(?P<tag>{_TAGS})>(?P<inner>.*?)(?:</(?P=tag)>|\Z)", re.IGNORECASE | re.DOTALL)
_BOX = re.compile(r"<\|begin_of_box\|>(.*?)<\|end_of_box\|>", re.DOTALL)
"""How models of the GLM family mark their answer."""
_HASHES = re.compile(r"####[ \t]*([^\n]+)")
_FENCED = re.compile(r"```(?:json\w*)?[ \t]*\n(.*?)\n?```", re.DOTALL | re.IGNORECASE)
_KEYS = (
    "final_answer", "finalanswer", "answer", "correct_answer", "ans", "result", "value", "output", "solution", "choice",
    "label", "option", "prediction", "category", "class", "response", "text",
)  # fmt: skip
_ASIDE = re.compile(r"confidence|prob|score|certain|reason|explan|thought|step|rationale|analysis|id$", re.IGNORECASE)
_BETWEEN = re.compile(r"[\s$.]*(?:,|;|/|&|\b(?:or|and|oder|und|ou|et|o|y)\b|或|和)[\s$]*(?:or|and)?[\s$]*\Z")

_NOUNS = (
    r"answers?|ans|antwort(?:en)?|l[öo]sung|réponses?|reponses?|respuestas?|resposta|risposta|antwoord|svar(?:et)?|"
    r"odpowied[źz]|odpov[ěe]ď|odgovor|răspuns(?:ul)?|raspuns|vastaus|válasz|cevap|yanıt|đáp\s+án|jawaban(?:nya)?|"
    r"ответ|відповідь|отговор|απάντηση|الإجابة|الجواب|اجابة|إجابة|پاسخ|תשובה|उत्तर|উত্তর|பதில்|solution"
)
_UNSPACED_NOUNS = "答案|答え|答(?=[:：])|回答|解答|正解|正答|정답|답변|답|คำตอบ"
_WEAK = (
    r"results?|totals?|sum|value|choice|(?:(?<=\bmy )|(?<=\bfinal ))pick|option|selection|category|label|class|"
    r"classification|intent|sentiment|verdict|"
    r"opci[óo]n|alternativa|prediction|conclusion|ergebnis|summe|insgesamt|résultat|resultado|totale?|risultato|wynik|результат|итого|итог"
)
_UNSPACED_WEAK = "结果|結果|总计|合計|결과|합계"
_BEFORE_VERB = (
    r"to|for|of|in|here|therefore|then|thus|hence|so|choice|option|number|value|that|i|we|you|would|should|must|could|"
    r"will|may|might|can|be|the|this|these|question|problem|above|part|given|final|correct|right|best|chosen|choose|"
    r"select|selected|get|got|find|found|am|going|with|your|my|der|die|das|auf|frage|lautet|correcta|correct[oa]s?|"
    r"a|à|la|est|question|pregunta|final[ea]?|richtige|finale|letter|الصحيحة|الصحيح|corret[oa]|corrette|correcte|giusta|esatta|bonne"
)
_VERBS = r"is|are|was|be|equals|ist|lautet|wäre|est|es|sera|será|é|è|sono|are|är|jest|este|adalah|là|это|هي|هو"
_NOT_OURS = r"(?<!\bnot\smy\s)(?<!\bnot\sthe\s)(?<!\bwrong\s)(?<!\bincorrect\s)"
"""What stands behind is what the answer is not."""
_CUE = (
    rf"(?:(?<![^\W_]){_NOT_OURS}(?:NOUNS)|UNSPACED)(?:\s*\(s\))?(?![^\W\d_](?<![\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]))[\s*_\"'`]*"
    rf"(?:(?:{_BEFORE_VERB})\b[\s*_]*|\([^()\n]{{0,24}}\)\s*|\d{{1,2}}\b\s*){{0,8}}?"
    rf"(?:(?:\b(?:{_VERBS})\b\s*(?P<colon>[:：])?)|(?P<mark>[:：=]|-(?=\s)|[–—])|是|为|為|は|은|는|이|が|→)"
)
_STRONG_CUE = re.compile(_CUE.replace("NOUNS", _NOUNS).replace("UNSPACED", _UNSPACED_NOUNS), re.IGNORECASE)
_WEAK_CUE = re.compile(_CUE.replace("NOUNS", _WEAK).replace("UNSPACED", _UNSPACED_WEAK), re.IGNORECASE)

_CORRECTED = re.compile(
    r"\b(?:actually|wait|no|sorry|correction|hmm)\b[^\n\w]{1,5}(?:actually,?\s+|no,?\s+|wait,?\s+)?"
    r"(?:it's|it is|it should be|should be|that's|make that|"
    r"the answer is)\s+(?P<mark>(?=[-$\d(*\"]|[A-Z]\b))(?P<colon>)",
    re.IGNORECASE,
)
"""As in "Answer: 41. Wait, it's 42."."""
_PICKED = re.compile(r"[选選](?:[项择項]|択肢)?(?P<mark>\s*)(?P<colon>)(?=[(（]?[A-Z](?![A-Za-z]))")
"""Chinese for "choose B"."""
_MOST_MARKS = 8
"""Places where an answer is marked that are looked at, the last ones."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place where a text says what its answer is."""

    start: int
    text: str
    """What is said there; where a cue marks it, all that follows the cue."""
    is_whole: bool
    """Between two marks, so that it is the answer and nothing else."""
    is_firm: bool = True
    """Said with a colon or the like, so that what follows is meant as the answer whatever it is."""


def marks(text: str) -> list[Mark]:
    """What is marked as the final answer, the last first; what is marked more weakly comes after that."""
    if (told := json_mark(text)) is not None:
        return [told]
    strong = [*_enclosed(text), *_cued(text, _STRONG_CUE), *_cued(text, _PICKED), *_cued(text, _CORRECTED)]
    return [*_last_first(strong), *_last_first(list(_cued(text, _WEAK_CUE)))]


def _last_first(found: list[Mark]) -> list[Mark]:
    return sorted(found, key=lambda mark: mark.start, reverse=True)[:_MOST_MARKS]


def _enclosed(text: str) -> Iterator[Mark]:
    yield from _joined(text)
    for found in _TAGGED.finditer(text):
        yield Mark(found.start(), found["inner"], True)
    for found in _BOX.finditer(text):
        yield Mark(found.start(), found[1], True)
    for found in _HASHES.finditer(text):
        if re.match(r"\W*\d|\W*.{1,40}\Z", found[1]):
            yield Mark(found.start(), found[1], is_whole=bool(re.match(r"\W*\d", found[1])))


def _joined(text: str) -> Iterator[Mark]:
    """Boxes; of two that are joined ("or", a comma), one mark with both."""
    last: Mark | None = None
    end = 0
    for start, stop, inner in boxed(text):
        if last and _BETWEEN.match(text[end:start]):
            last = Mark(start, f"{last.text}, {inner}", True)
        else:
            if last:
                yield last
            last = Mark(start, inner, True)
        end = stop
    if last:
        yield last


def _cued(text: str, pattern: "re.Pattern[str]") -> Iterator[Mark]:
    for found in deque(pattern.finditer(text), _MOST_MARKS):
        rest = text[found.end() :]
        yield Mark(found.start(), rest, False, is_firm=bool(found["mark"] or found["colon"]))


def json_mark(text: str) -> Mark | None:
    """The answer in a text that is JSON, or ends in some; None where there is none."""
    for start, value in _json_values(text):
        answer = _answer_in(value)
        if answer is not None:
            return Mark(start, answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False), True)
    return None


def _json_values(text: str) -> Iterator[tuple[int, JSON]]:
    fences = list(_FENCED.finditer(text))
    parts = [(0, text), *((found.start(), found[1]) for found in fences[-1:])]
    tail = text.rstrip()
    if (tail.endswith("}") and (start := tail.rfind("\n{")) >= 0) or (
        tail.endswith("}") and (start := tail.rfind("{")) > 0
    ):
        parts.append((start, tail[start:]))
    for start, part in parts:
        if part.strip()[:1] in ("{", "["):
            try:
                yield start, json.loads(part)
            except (ValueError, RecursionError):
                continue


def _answer_in(value: JSON) -> JSON:
    """What an object calls its answer, or the one thing that it can be; None where that is not told."""
    if isinstance(value, list):
        return value[0] if len(value) == 1 else value
    if not isinstance(value, dict):
        return None
    names = {str(name).lower().replace(" ", "_").replace("-", "_"): held for name, held in value.items()}
    for key in _KEYS:
        if names.get(key) is not None:
            held = names[key]
            return _answer_in(held) if isinstance(held, (dict, list)) else held
    left = [held for name, held in names.items() if not _ASIDE.search(name) and held is not None]
    return left[0] if len(left) == 1 and not isinstance(left[0], (dict, list)) else None
