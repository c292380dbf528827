"""The signs by which a trigger knows that its moment has come, kind by kind, and what each kind takes. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from ..errors import InputError
from ..hashing import coin
from ..records import Message, message_text
from ..text import words
from .patterns import Pattern
from .surface import Sureness

_KEPT = 256
READ_CHARS = 20_000
"""Characters of a message that are looked at."""
_BEGINS = 600
"""Characters within which what a tool gives back says that it failed."""
_GRAM, _TIMES = 6, 3
"""A message goes round in a circle where it says a run of 6 words 3 times."""
_ERROR = re.compile(
    r"\b(?:errors?|exceptions?|traceback|fail(?:ed|ure)|denied|timed? ?out|not found|no such|invalid|refused|cannot)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?:0?\.\d{1,6}|1(?:\.0*)?)")

ASKS_WORDS = "asks"
"""The kind of trigger that waits for words of the users' and not for a moment."""
HALF = "half of"
"""The kind of trigger that fires at half the moments of another one, by a coin as of `chance`."""
FORMS = (
    "[on tool error], [on repetition], [on turn 8] (after 8 answers of the model), [on says some words],"
    " [on matches refund|chargeback] (a pattern), [on like .4 some text] (as like it as .4 of 1), [on entropy above .9]"
    " or [on margin below .2] (of the model's last tokens), [on chance .2] (at a fifth of turns, whatever is said),"
    " [on half of tool error] (at half of these moments, by a coin) or [on asks some words] (in any order, in what"
    " users have said so far)"
)
"""All that a trigger may be, for people."""


def _is_above(limit: str, sureness: Sureness) -> bool:
    return sureness.entropy > float(limit.rsplit(maxsplit=1)[-1])


def _is_below(limit: str, sureness: Sureness) -> bool:
    return sureness.margin < float(limit.rsplit(maxsplit=1)[-1])


UNSURE: Mapping[str, Callable[[str, Sureness], bool]] = {"entropy": _is_above, "margin": _is_below}
"""By kind, whether it fires after an answer that the model was so sure of."""


def _is_tool_error(_: str, messages: Sequence[Message]) -> bool:
    last = messages[-1]
    from_tool: bool = last.get("role") != "user"
    return from_tool and _ERROR.search(message_text(last)[:_BEGINS]) is not None


def _is_repetition(_: str, messages: Sequence[Message]) -> bool:
    """Whether the model has just said or called what it said or called before, or goes round within one message."""
    said = [(message_text(one), str(one.get("tool_calls") or "")) for one in messages if one.get("role") == "assistant"]
    if not said:
        return False
    acts: list[str] = [_without_ids(text + calls) for text, calls in said]
    spoken = words(said[-1][0][:READ_CHARS])
    runs = [tuple(spoken[start : start + _GRAM]) for start in range(len(spoken) - _GRAM + 1)]
    return bool(acts[-1] in acts[:-1] or len(runs) - len(set(runs)) >= _TIMES - 1)


def _without_ids(act: str) -> str:
    return re.sub(r"'id': '[^']*'", "", act)


def _is_turn(number: str, messages: Sequence[Message]) -> bool:
    return bool(sum(one.get("role") == "assistant" for one in messages) >= int(number))


def _says(phrase: str, messages: Sequence[Message]) -> bool:
    said, wanted = (" ".join(words(text)) for text in (message_text(messages[-1])[:READ_CHARS], phrase))
    return f" {wanted} " in f" {said} "


def _matches(pattern: str, messages: Sequence[Message]) -> bool:
    return _pattern(pattern).found_in(message_text(messages[-1]))


@lru_cache(_KEPT)
def _pattern(written: str) -> Pattern:
    return Pattern(written)


def _is_like(argument: str, messages: Sequence[Message]) -> bool:
    from .nearest import alike  # a client whose prior has no such trigger gets on without numpy

    least, _, text = argument.partition(" ")
    return alike(message_text(messages[-1]), text) >= float(least)


def _by_chance(share: str, messages: Sequence[Message]) -> bool:
    """A coin that the hash of the whole conversation decides: the same one falls the same way, wherever it is.

    A caller's messages may hold what JSON has no words for: halves of characters, objects of an SDK.
    """
    return coin(float(share), "moment", ascii([sorted(one.items()) for one in messages]))


SIGNS: Mapping[str, Callable[[str, Sequence[Message]], bool]] = {
    "tool error": _is_tool_error,
    "repetition": _is_repetition,
    "turn": _is_turn,
    "says": _says,
    "matches": _matches,
    "like": _is_like,
    "chance": _by_chance,
}
"""By kind, whether its moment has come where the model is to answer these messages."""


def checked_pattern(pattern: str) -> str:
    """A pattern that can be used; raises InputError for any other."""
    try:
        _pattern(pattern)
    except InputError as error:
        raise InputError(f"[on matches {pattern}] has no pattern that can be used: {error}") from None
    return pattern


def _is_number_of_turns(argument: str) -> bool:
    return argument.isascii() and argument.isdecimal() and int(argument) > 0


def _is_likeness(argument: str) -> bool:
    least, _, text = argument.partition(" ")
    return _NUMBER.fullmatch(least) is not None and float(least) > 0 and bool(words(text))


TAKES: Mapping[str, Callable[[str], bool]] = {
    "turn": _is_number_of_turns,
    "says": lambda argument: bool(words(argument)),
    ASKS_WORDS: lambda argument: bool(words(argument)),
    "like": _is_likeness,
    "chance": lambda argument: _NUMBER.fullmatch(argument) is not None and float(argument) > 0,
    "entropy": lambda argument: re.fullmatch(r"above \d{0,2}\.?\d{1,6}", argument) is not None,
    "margin": lambda argument: re.fullmatch(r"below 0?\.\d{1,6}", argument) is not None,
}
"""Whether what stands behind a kind is what it takes."""
