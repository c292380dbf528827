"""Matchers: whether a text is the answer, holds it, or fits its pattern; and the reward that one makes. Pure.

A text is read without the model's thinking, in one form of each sign, and within bounds.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from ...errors import InputError, RewardError
from ...hashing import canonical
from ...records import JSON, Rollout, Task
from ...text import shortened
from .reward import BuiltInReward, task_in_words

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


_SOLUTION = re.compile(r"(?:^|\n)#### *\S[^\n]{0,60}\s*\Z")
"""How a worked solution of GSM8K and its like ends."""
_LONG_ANSWER = 300
"""Characters: nobody is expected to say so many just as they stand."""
REGEX_SECONDS = 1.0
"""How long a pattern may look at one text."""
Matcher: TypeAlias = Callable[[str], bool]
"""Whether a text is right."""


@dataclass(frozen=True, slots=True)
class AnswerReward(BuiltInReward):
    """A Reward of 1 for a text that matches the task's answer, or one of them; else 0."""

    name: str  # pyrefly: ignore[bad-override]  # read-only here, and nobody sets it
    matcher: Callable[[JSON], Matcher]
    """What an answer asks of a text; raises ValueError for an answer that asks nothing."""

    def __call__(self, rollout: Rollout, /) -> float:
        """Raises InputError, naming the task, when it has no answer that the reward can use."""
        return float(any(matches(rollout.text) for matches in self.matchers(rollout.task)))

    def check(self, task: Task) -> None:
        """Raises InputError as the call does."""
        self.matchers(task)

    @property
    def reads_text_alone(self) -> bool:
        """It does."""
        return True

    def doubt(self, tasks: Sequence[Task]) -> str | None:
        """That whole answers are compared which are worked solutions, or long texts."""
        if self.matcher not in (exact, exact_strict):
            return None
        first = [in_text(answers[0]) for task in tasks if (answers := right_answers(task.answer))]
        solved = sum(_SOLUTION.search(answer) is not None for answer in first)
        if 2 * solved > len(first):
            shown = next(found[0] for answer in first if (found := _SOLUTION.search(answer)))
            ends = f"{solved:,} of {len(first):,} answers end in the result ({shortened(shown)!r})"
            return f"{ends}, and reward {self.name} wants the whole text: --reward numeric compares the result"
        if first and (middle := int(median(map(len, first)))) > _LONG_ANSWER:
            long = f"answers are long ({middle:,} characters at the median)"
            return f"{long}, and reward {self.name} wants all of it word for word: --reward judge or contains does not"
        return None

    def matchers(self, task: Task) -> list[Matcher]:
        """One for each right answer; raises InputError as the call does."""
        answers = right_answers(task.answer)
        if not answers:
            raise InputError(f"{task_in_words(task)} has no answer, which reward {self.name} needs")
        try:
            return [self.matcher(answer) for answer in answers]
        except ValueError as error:
            raise InputError(f"{task_in_words(task)} cannot be scored by reward {self.name}: {error}") from error


def right_answers(answer: JSON) -> list[JSON]:
    """The right answers, one or a list of them; nothing and blank text are none."""
    listed = answer if isinstance(answer, list) else [answer]
    return [one for one in listed if one is not None and in_text(one).strip()]


def in_text(answer: JSON) -> str:
    """An answer as text: numbers, booleans and objects stand for their JSON."""
    return answer if isinstance(answer, str) else canonical(answer)


def normalised(text: str) -> str:
    """Text as it is compared: without thinking, case, outer white space and a final full stop; in plain quotes."""
    said = plain_quotes(composed(without_thinking(text)).casefold())
    folded = re.sub(r"[^\S\n\r]", " ", said).strip()
    return folded[:-1].rstrip() if folded.endswith((".", "。")) else folded


def exact(answer: JSON) -> Matcher:
    """Equal after `normalised`, or by value: a number (one given as text: where it is whole), an object, a list."""
    wanted, value = normalised(in_text(answer)), _value(answer)
    if isinstance(answer, str) and isinstance(value, int | float) and not float(value).is_integer():
        value = None  # as written: 1.10 is not 1.1 where it is a version

    def passes(text: str) -> bool:
        said = normalised(text)
        return said == wanted or (value is not None and same_json(_value(said), value))

    return passes


def _value(answer: JSON) -> JSON:
    """What is compared by value: a number, an object or a list; None for any other."""
    if isinstance(answer, bool):
        return None
    if not isinstance(answer, str):
        return _folded(answer)
    if not re.match(r"\s*(?:[\[{]|-?\d)", answer):
        return None
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return _folded(found)


def _folded(value: JSON) -> JSON:
    """JSON with its texts as they are compared."""
    if isinstance(value, dict):
        return {normalised(str(name)): _folded(held) for name, held in value.items()}
    if isinstance(value, list):
        return [_folded(held) for held in value]
    return normalised(value) if isinstance(value, str) else value


def same_json(one: JSON, other: JSON) -> bool:
    """Whether two JSON values are equal: 1 is 1.0, and true is no 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(held, other[name]) for name, held in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def exact_strict(answer: JSON) -> Matcher:
    """Equal, character by character."""
    wanted = in_text(answer)
    return lambda text: text == wanted


_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
"""Characters of scripts that put no space between words, or add endings to them."""
_LETTER = rf"[^\W_{_UNSPACED}]"


def contains(answer: JSON) -> Matcher:
    """The answer occurs in the text as words of its own, both after `normalised`; in a number, no part of one."""
    wanted = re.sub(r"\s+", " ", normalised(in_text(answer)))
    if not wanted:
        raise ValueError(f"every text contains the answer {shortened(in_text(answer))}")
    before = rf"(?<!{_LETTER})(?<!_)" if re.match(_LETTER, wanted) else ""
    after = rf"(?!{_LETTER}|_)(?!\+\+|#)" if re.match(_LETTER, wanted[-1]) else ""
    before += r"(?<!\d[.,])(?<![^\w\s)]-)(?<!^-)(?<!\s-)" if wanted[0].isdecimal() else ""
    after += r"(?![.,]\d)" if wanted[-1].isdecimal() else ""
    pattern = re.compile(before + re.escape(wanted) + after)
    return lambda text: pattern.search(re.sub(r"\s+", " ", normalised(text))) is not None


def regex(answer: JSON) -> Matcher:
    """`re.search` finds the answer, a pattern, in the text; raises RewardError where that takes too long."""
    written = in_text(answer)
    try:
        re.compile(written)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the answer {shortened(written)} is not a pattern ({shortened(error)})") from error
    return lambda text: _found(written, text)


def _found(pattern: str, text: str) -> bool:
    import regex as bounded  # as `re`, with a time limit

    try:
        return bounded.search(pattern, within_bounds(text), timeout=REGEX_SECONDS) is not None
    except TimeoutError:
        said = f"the pattern {shortened(pattern)} took more than {REGEX_SECONDS:g} s on one text; write it without"
        raise RewardError(f"{said} a repeat inside of a repeat") from None
    except bounded.error as error:
        raise RewardError(f"the pattern {shortened(pattern)} cannot be used ({shortened(error)})") from None
