"""Rewards: from an attempt to a number in [0, 1], higher is better.

The built-in ones compare the attempt's text with the task's answer. An answer that is a list is right when any of its
members is; numbers, booleans and objects stand for their JSON text (7 is "7", true is "true").
"""

import difflib
import inspect
import math
import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, SupportsFloat, TypeAlias

from ..errors import InputError, RewardError
from ..hashing import canonical
from ..plugins import is_named, load_function
from ..records import JSON, Rollout, Task
from ..tasks import gym
from ..text import shortened

NUMERIC_TOLERANCE = 1e-6
"""How far, relative to the answer, a number may be from it."""
ROUNDING = 1e-9
"""A reward this far outside [0, 1] is the rounding of a sum, and is taken for its bound."""


class Reward(Protocol):
    """Any function, sync or async, from an attempt to a number in [0, 1]. A slow one should be async."""

    def __call__(self, rollout: Rollout, /) -> float | Awaitable[float]:
        """The reward of a rollout that has no error; an exception makes it a rollout with an error."""
        ...


Matcher: TypeAlias = Callable[[str], bool]
"""Whether a text is right."""


@dataclass(frozen=True, slots=True)
class AnswerReward:
    """A Reward of 1 for a text that matches the task's answer, or one of them; else 0."""

    name: str
    matcher: Callable[[str], Matcher]
    """What an answer asks of a text; raises ValueError for an answer that asks nothing."""

    def __call__(self, rollout: Rollout, /) -> float:
        """Raises InputError, naming the task, when it has no answer that the reward can use."""
        return float(any(matches(rollout.text) for matches in self.matchers(rollout.task)))

    def matchers(self, task: Task) -> list[Matcher]:
        """One for each right answer; raises InputError as the call does."""
        answers = _answers(task.answer)
        if not answers:
            raise InputError(f"{_named(task)} has no answer, which reward {self.name} needs")
        try:
            return [self.matcher(answer) for answer in answers]
        except ValueError as error:
            raise InputError(f"{_named(task)} cannot be scored by reward {self.name}: {error}") from error


def check(reward: Reward, tasks: Iterable[Task]) -> None:
    """Raise InputError for the first task that a built-in reward cannot score; to be asked before anything is spent."""
    for task in tasks:
        if isinstance(reward, AnswerReward):
            reward.matchers(task)
        elif isinstance(reward, gym.GymReward):
            reward.check(task)


async def score(reward: Reward, rollout: Rollout, *, clip: bool = False) -> Rollout:
    """The rollout with its reward; one with an error stays without.

    A reward that raises is one bad attempt: the rollout comes back with an error. A reward that gives anything but a
    number in [0, 1] would spoil every comparison: RewardError, naming the task and the value. With `clip` a number
    outside is taken for the nearer bound; NaN, or no number, stays an error. InputError passes.
    """
    if rollout.error is not None:
        return rollout
    try:
        value = reward(rollout)
        given: object = await value if inspect.isawaitable(value) else value
    except InputError:
        raise
    except Exception as error:  # the user's code may raise anything
        return replace(rollout, error=f"the reward failed: {type(error).__name__}: {shortened(error, 300)}")
    return replace(rollout, reward=_in_range(given, rollout.task, clip))


def _in_range(value: object, task: Task, clip: bool) -> float:
    try:
        number = float(value) if isinstance(value, SupportsFloat) else math.nan
    except (TypeError, ValueError, OverflowError):  # an array of many numbers, an integer of 400 digits
        number = math.nan
    if not (-ROUNDING <= number <= 1 + ROUNDING or (clip and not math.isnan(number))):
        clipping = "" if math.isnan(number) else ", or be clipped to it (--clip-rewards)"
        wrong = f"the reward of {_named(task)} is {shortened(value)}; it must be a number from 0 to 1"
        raise RewardError(wrong + clipping)
    return min(1.0, max(0.0, number))


def _named(task: Task) -> str:
    own = f", id {shortened(task.metadata['id'])!r}" if task.metadata.get("id") is not None else ""
    return f"task {task.id}{own} ({shortened(task.prompt)})"


def _answers(answer: JSON) -> list[str]:
    """The right answers as texts; nothing and blank text are none."""
    listed = answer if isinstance(answer, list) else [answer]
    texts = [one if isinstance(one, str) else canonical(one) for one in listed if one is not None]
    return [text for text in texts if text.strip()]


def normalised(text: str) -> str:
    """Text without its case, outer white space and a final full stop, in Unicode's composed form (NFC)."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).strip()
    return folded[:-1].rstrip() if folded.endswith((".", "。")) else folded


def _exact(answer: str) -> Matcher:
    """Equal after `normalised`."""
    wanted = normalised(answer)
    return lambda text: normalised(text) == wanted


def _exact_strict(answer: str) -> Matcher:
    """Equal, character by character."""
    return lambda text: text == answer


def _contains(answer: str) -> Matcher:
    """The answer occurs somewhere in the text, both after `normalised`."""
    wanted = normalised(answer)
    if not wanted:
        raise ValueError(f"every text contains the answer {shortened(answer)}")
    return lambda text: wanted in normalised(text)


def _regex(answer: str) -> Matcher:
    """`re.search` finds the answer, a pattern, in the text."""
    try:
        pattern = re.compile(answer)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the answer {shortened(answer)} is not a pattern ({shortened(error)})") from error
    return lambda text: pattern.search(text) is not None


_PLAIN = str.maketrans(
    {
        "\N{MINUS SIGN}": "-",
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    }
)


def _plain(text: str) -> str:
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
    numbers = list(_NUMBER.finditer(_plain(text)))
    if not numbers:
        return None
    sign, digits, exponent, divisor = numbers[-1].group("sign", "digits", "exponent", "divisor")
    whole = float(re.sub(_THOUSANDS, "", digits) + (exponent or ""))
    parts = float(divisor or 1)
    size = whole / parts if parts else math.nan
    return math.nan if math.isinf(size) else -size if sign else size


def _numeric(answer: str) -> Matcher:
    """The text's last number is the answer's, within NUMERIC_TOLERANCE."""
    wanted = last_number(answer)
    if wanted is None or math.isnan(wanted):
        raise ValueError(f"the answer {shortened(answer)} holds no number")

    def passes(text: str) -> bool:
        number = last_number(text)
        return number is not None and abs(number - wanted) <= NUMERIC_TOLERANCE * abs(wanted)

    return passes


_WRAPPING = "()[]{}<>*_#`$\\:\"'"
_CUE = re.compile(r"\banswer[\s*_]*(?:is\b|:|=)", re.IGNORECASE)
_LABEL_ENDS = r"(?! [+\#] | ['-]\w | [.,]\d ) (?= [^\S\n]* (?: [^\w\s] | _ | \n | $ ) | \s+ (?:because|since)\b )"


def _choice(answer: str) -> Matcher:
    """The text picks the answer, a label such as B or billing.

    The pick is read after the last "answer is", "answer:" or "answer =". Without one, it is read from the last line
    where that holds a single word, else from the start of the text. There the label must come first, in either case,
    whatever brackets, quotes, Markdown, "option" or "choice" are around it, and must end: by the end of the line,
    punctuation, or "because". So "(B)", "b. Paris", "**Answer:** B", "the answer is option B because ..." pick B, and
    "A cat" picks nothing.
    """
    label = _plain(answer).strip("()[]{}*_`\"'. \t\r\n")
    if not label:
        raise ValueError(f"the answer {shortened(answer)} holds no label")
    wrapped = rf"[\s{re.escape(_WRAPPING)}]*"
    wanted = rf"{wrapped} (?:(?:option|choice)\b{wrapped})? {re.escape(label)} {_LABEL_ENDS}"
    pattern = re.compile(wanted, re.IGNORECASE | re.VERBOSE)
    return lambda text: pattern.match(_pick(_plain(text))) is not None


def _pick(text: str) -> str:
    """The part of a text that begins with what it picks."""
    if cues := list(_CUE.finditer(text)):
        return text[cues[-1].end() :]
    last = text.strip().rpartition("\n")[2]
    return last if len(re.findall(r"\w+", last)) == 1 else text


BUILT_IN: Mapping[str, AnswerReward] = {
    reward.name: reward
    for reward in (
        AnswerReward("exact", _exact),
        AnswerReward("exact-strict", _exact_strict),
        AnswerReward("contains", _contains),
        AnswerReward("regex", _regex),
        AnswerReward("numeric", _numeric),
        AnswerReward("choice", _choice),
    )
}


def default_reward(source: str) -> str:
    """The name of the reward for a source of tasks that comes with none."""
    return gym.GYM_REWARD if source.startswith(gym.SCHEME) else "exact"


def load_reward(name: str) -> Reward:
    """A built-in reward, or a function of the user's as `module:function`; raises InputError when there is none.

    The module is looked for in the current folder first, which stays on the import path.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name == gym.GYM_REWARD:
        return gym.GymReward()
    if is_named(name):
        return load_function(name, "reward", "the rollout")
    near = difflib.get_close_matches(name.lower(), BUILT_IN, n=1)
    guess = f"; did you mean {near[0]}?" if near else ";"
    known = f"{', '.join(BUILT_IN)}, {gym.GYM_REWARD}, or a function of your own as module:function"
    raise InputError(f"there is no reward {shortened(name)!r}{guess} built in are {known}")
