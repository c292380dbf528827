"""Matchers: whether a text is the answer, holds it, or fits its pattern; and the reward that one makes. Pure."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ...errors import InputError, RewardError
from ...hashing import canonical
from ...records import JSON, Rollout, Task
from ...text import shortened
from .plain import composed, plain_quotes, within_bounds, without_thinking
from .reward import BuiltInReward, task_in_words

REGEX_SECONDS = 1.0
"""How long a pattern may look at one text."""
Matcher: TypeAlias = Callable[[str], bool]
"""Whether a text is right."""


@dataclass(frozen=True, slots=True)
class AnswerReward(BuiltInReward):
    """A Reward of 1 for a text that matches the task's answer, or one of them; else 0."""

    name: str
    matcher: Callable[[JSON], Matcher]
    """What an answer asks of a text; raises ValueError for an answer that asks nothing."""

    def __call__(self, rollout: Rollout, /) -> float:
        """Raises InputError, naming the task, when it has no answer that the reward can use."""
        return float(any(matches(rollout.text) for matches in self.matchers(rollout.task)))

    def check(self, task: Task) -> None:
        """Raises InputError as the call does."""
        self.matchers(task)

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
    after = rf"(?!{_LETTER}|_)" if re.match(_LETTER, wanted[-1]) else ""
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
