"""Matchers: whether a text is the answer, or holds it, fits its pattern, ends on its number, picks its label. Pure."""

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ...errors import InputError
from ...hashing import canonical
from ...records import JSON, Rollout, Task
from ...text import shortened
from .numbers import last_number, plain_signs
from .reward import BuiltInReward, task_in_words

NUMERIC_TOLERANCE = 1e-6
"""How far, relative to the answer, a number may be from it."""
Matcher: TypeAlias = Callable[[str], bool]
"""Whether a text is right."""


@dataclass(frozen=True, slots=True)
class AnswerReward(BuiltInReward):
    """A Reward of 1 for a text that matches the task's answer, or one of them; else 0."""

    name: str
    matcher: Callable[[str], Matcher]
    """What an answer asks of a text; raises ValueError for an answer that asks nothing."""

    def __call__(self, rollout: Rollout, /) -> float:
        """Raises InputError, naming the task, when it has no answer that the reward can use."""
        return float(any(matches(rollout.text) for matches in self.matchers(rollout.task)))

    def check(self, task: Task) -> None:
        """Raises InputError as the call does."""
        self.matchers(task)

    def matchers(self, task: Task) -> list[Matcher]:
        """One for each right answer; raises InputError as the call does."""
        answers = _answers(task.answer)
        if not answers:
            raise InputError(f"{task_in_words(task)} has no answer, which reward {self.name} needs")
        try:
            return [self.matcher(answer) for answer in answers]
        except ValueError as error:
            raise InputError(f"{task_in_words(task)} cannot be scored by reward {self.name}: {error}") from error


def _answers(answer: JSON) -> list[str]:
    """The right answers as texts; nothing and blank text are none."""
    listed = answer if isinstance(answer, list) else [answer]
    texts = [one if isinstance(one, str) else canonical(one) for one in listed if one is not None]
    return [text for text in texts if text.strip()]


def normalised(text: str) -> str:
    """Text without its case, outer white space and a final full stop, in Unicode's composed form (NFC)."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).strip()
    return folded[:-1].rstrip() if folded.endswith((".", "。")) else folded


def exact(answer: str) -> Matcher:
    """Equal after `normalised`."""
    wanted = normalised(answer)
    return lambda text: normalised(text) == wanted


def exact_strict(answer: str) -> Matcher:
    """Equal, character by character."""
    return lambda text: text == answer


def contains(answer: str) -> Matcher:
    """The answer occurs somewhere in the text, both after `normalised`."""
    wanted = normalised(answer)
    if not wanted:
        raise ValueError(f"every text contains the answer {shortened(answer)}")
    return lambda text: wanted in normalised(text)


def regex(answer: str) -> Matcher:
    """`re.search` finds the answer, a pattern, in the text."""
    try:
        pattern = re.compile(answer)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the answer {shortened(answer)} is not a pattern ({shortened(error)})") from error
    return lambda text: pattern.search(text) is not None


_WRAPPING = "()[]{}<>*_#`$\\:\"'"
_CUE = re.compile(r"\banswer[\s*_]*(?:is\b|:|=)", re.IGNORECASE)
_LABEL_ENDS = r"(?! [+\#] | ['-]\w | [.,]\d ) (?= [^\S\n]* (?: [^\w\s] | _ | \n | $ ) | \s+ (?:because|since)\b )"


def numeric(answer: str) -> Matcher:
    """The text's last number is the answer's, within NUMERIC_TOLERANCE."""
    wanted = last_number(answer)
    if wanted is None or math.isnan(wanted):
        raise ValueError(f"the answer {shortened(answer)} holds no number")

    def passes(text: str) -> bool:
        number = last_number(text)
        return number is not None and abs(number - wanted) <= NUMERIC_TOLERANCE * abs(wanted)

    return passes


def choice(answer: str) -> Matcher:
    """The text picks the answer, a label such as B or billing.

    The pick is read after the last "answer is", "answer:" or "answer =". Without one, it is read from the last line
    where that holds a single word, else from the start of the text. There the label must come first, in either case,
    whatever brackets, quotes, Markdown, "option" or "choice" are around it, and must end: by the end of the line,
    punctuation, or "because". So "(B)", "b. Paris", "**Answer:** B", "the answer is option B because ..." pick B, and
    "A cat" picks nothing.
    """
    label = plain_signs(answer).strip("()[]{}*_`\"'. \t\r\n")
    if not label:
        raise ValueError(f"the answer {shortened(answer)} holds no label")
    wrapped = rf"[\s{re.escape(_WRAPPING)}]*"
    wanted = rf"{wrapped} (?:(?:option|choice)\b{wrapped})? {re.escape(label)} {_LABEL_ENDS}"
    pattern = re.compile(wanted, re.IGNORECASE | re.VERBOSE)
    return lambda text: pattern.match(_pick(plain_signs(text))) is not None


def _pick(text: str) -> str:
    """The part of a text that begins with what it picks."""
    if cues := list(_CUE.finditer(text)):
        return text[cues[-1].end() :]
    last = text.strip().rpartition("\n")[2]
    return last if len(re.findall(r"\w+", last)) == 1 else text
