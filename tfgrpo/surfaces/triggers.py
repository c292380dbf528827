"""Experiences that wait for their moment: `[on tool error] Read the message before you call again.` Pure.

What stands in the brackets is the trigger. Such an experience is no part of the system message of a chat: it is said at
the end of the last message, at a turn's boundary and after all that a prompt cache keeps, when its trigger fires there,
and in that one request. A trigger looks at the conversation as the caller sent it: what was said so is not in there.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ..errors import InputError
from ..records import JSON, Experience, Message, Prior, message_text
from ..text import words
from .parts import appended, ended
from .patterns import Pattern

ALWAYS = 0.6
"""A trigger that fires at more than this share of turns tells no moment: that experience is always on."""
_KEPT = 256
_LONGEST = 20_000
"""Characters of a message that are looked at."""
_BEGINS = 600
"""Characters within which what a tool gives back says that it failed."""
_GRAM, _TIMES = 6, 3
"""A message goes round in a circle where it says a run of 6 words 3 times."""
_ERROR = re.compile(
    r"\b(?:errors?|exceptions?|traceback|fail(?:ed|ure)|denied|timed? ?out|not found|no such|invalid|refused|cannot)\b",
    re.IGNORECASE,
)
_TRIGGERED = re.compile(r"\[on ((?:\\.|\[\^?\]?(?:\\.|[^\[\]\\\n])*\]|[^\[\]\\\n]){1,200})\]\s*(.*)", re.DOTALL)
"""A pattern may have brackets of its own, for its classes."""
_NUMBER = re.compile(r"(?:0?\.\d{1,6}|1(?:\.0*)?)")
_SPEAKERS = ("user", "tool", "function")


@dataclass(frozen=True, slots=True)
class Trigger:
    """The moment that an experience waits for."""

    kind: str
    argument: str = ""

    def fires(self, messages: Sequence[JSON]) -> bool:
        """Whether it fires where the model is to answer these messages; only at the boundary of a turn."""
        last = messages[-1] if messages else None
        if not isinstance(last, Mapping) or last.get("role") not in _SPEAKERS:
            return False
        return _KINDS[self.kind](self.argument, [one for one in messages if isinstance(one, Mapping)])


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
    spoken = words(said[-1][0][:_LONGEST])
    runs = [tuple(spoken[start : start + _GRAM]) for start in range(len(spoken) - _GRAM + 1)]
    return bool(acts[-1] in acts[:-1] or len(runs) - len(set(runs)) >= _TIMES - 1)


def _without_ids(act: str) -> str:
    return re.sub(r"'id': '[^']*'", "", act)


def _is_turn(number: str, messages: Sequence[Message]) -> bool:
    return bool(sum(one.get("role") == "assistant" for one in messages) >= int(number))


def _says(phrase: str, messages: Sequence[Message]) -> bool:
    said, wanted = (" ".join(words(text)) for text in (message_text(messages[-1])[:_LONGEST], phrase))
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


_KINDS: Mapping[str, Callable[[str, Sequence[Message]], bool]] = {
    "tool error": _is_tool_error,
    "repetition": _is_repetition,
    "turn": _is_turn,
    "says": _says,
    "matches": _matches,
    "like": _is_like,
}
_FORMS = (
    "[on tool error], [on repetition], [on turn 8] (after 8 answers of the model), [on says some words],"
    " [on matches refund|chargeback] (a pattern) or [on like .4 some text] (as like it as .4 of 1)"
)


@lru_cache(maxsize=1_024)
def trigger_of(text: str) -> tuple[Trigger, str] | None:
    """The trigger of an experience, and what is said when it fires; None where it is always on.

    Raises InputError for brackets that name no trigger, or have nothing behind them.
    """
    found = _TRIGGERED.fullmatch(text)
    if not found:
        return None
    told = " ".join(found[1].split())
    kind, _, argument = told.partition(" ")
    kind = kind.casefold()
    if not found[2].strip():
        raise InputError(f"[on {told}] says nothing: write behind the brackets what is to be said then")
    if told.casefold() in ("tool error", "repetition"):
        return Trigger(told.casefold()), found[2]
    if kind == "matches":
        return Trigger(kind, _checked(argument)), found[2]
    if kind in _TAKES and _TAKES[kind](argument):
        return Trigger(kind, argument.casefold()), found[2]
    raise InputError(f"[on {told}] is no trigger: write {_FORMS}")


def _checked(pattern: str) -> str:
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


_TAKES: Mapping[str, Callable[[str], bool]] = {
    "turn": _is_number_of_turns,
    "says": lambda argument: bool(words(argument)),
    "like": _is_likeness,
}
"""Whether what stands behind a kind is what it takes."""


def is_triggered(experience: Experience) -> bool:
    """Whether an experience waits for a moment; brackets that name no trigger are words like others."""
    try:
        return experience.kind == "strategy" and trigger_of(experience.text) is not None
    except InputError:
        return False


@lru_cache(_KEPT)
def always_on(prior: Prior) -> Prior:
    """The prior without the experiences that wait; the same one where there are none."""
    kept = tuple(entry for entry in prior.experiences if not is_triggered(entry))
    return prior if len(kept) == len(prior.experiences) else replace(prior, experiences=kept)


@lru_cache(_KEPT)
def _waiting(prior: Prior) -> tuple[tuple[Trigger, str], ...]:
    found = (trigger_of(entry.text) for entry in prior.experiences if is_triggered(entry))
    return tuple(one for one in found if one)


def triggered_now(prior: Prior, messages: Sequence[JSON]) -> tuple[str, ...]:
    """What the experiences say whose trigger fires here, in their order."""
    return tuple(text for trigger, text in _waiting(prior) if trigger.fires(messages))


def said_at_the_end(messages: Sequence[JSON], texts: Sequence[str]) -> list[JSON]:
    """The messages of which the last one ends with these texts, if it has a place for them."""
    if not texts:
        return list(messages)
    own, said = messages[-1].get("content"), "\n".join(texts)
    content = ended(own, said) if isinstance(own, list) else appended(own, said)
    return list(messages) if content is None else [*messages[:-1], {**messages[-1], "content": content}]


def boundaries(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """What stood before each answer of the model in a conversation."""
    for place, message in enumerate(messages):
        if message.get("role") == "assistant" and place:
            yield messages[:place]


def fire_rate(trigger: Trigger, conversations: Iterable[Sequence[Message]]) -> tuple[int, int]:
    """At how many of all answers of the model the trigger would have fired, and how many these are."""
    fired = [trigger.fires(before) for messages in conversations for before in boundaries(messages)]
    return sum(fired), len(fired)


def rate_told(fired: int, turns: int) -> str:
    """What a rate says of a trigger."""
    if not turns:
        return "no turn was taken"
    if not fired:
        return "it never fires: nothing was said"
    share = fired / turns
    told = f"it fires at {fired:,} of {turns:,} turns ({100 * share:.0f}%)"
    return (
        f"{told}: that is no moment, but an always-on experience; leave the brackets away" if share > ALWAYS else told
    )
