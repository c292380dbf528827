"""Experiences that wait for their moment: `[on tool error] Read the message before you call again.` Pure.

What stands in the brackets is the trigger. Such an experience is no part of the system message of a chat: it is said at
the end of the last message, at a turn's boundary and after all that a prompt cache keeps, when its trigger fires there,
and in that one request. A trigger looks at the conversation as the caller sent it: what was said so is not in there.

`[on asks refund invoice] When a refund is meant, ...` waits for words and for no moment: it is said to a conversation
whose users have said all of them, in any order, at the end of the message by which they have. There it stands in every
later request of the conversation too, so that what a prompt cache has kept stays the beginning of what comes.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ..errors import InputError
from ..records import JSON, Experience, Prior, message_text
from ..text import words
from .signs import ASKS_WORDS, FORMS, HALF, READ_CHARS, SIGNS, TAKES, UNSURE, checked_pattern
from .surface import Sureness

_KEPT = 256
_ASKED = 100_000
"""Of all that users have said, from the first word on: what was found stays found, however long it goes on."""
_LONGEST_TRIGGER = 200
_TRIGGERED = re.compile(r"\[on ((?:\\.|\[\^?\]?(?:\\.|[^\[\]\\\n])*\]|[^\[\]\\\n]){1,208})\]\s*(.*)", re.DOTALL)
"""A pattern may have brackets of its own, for its classes."""
_MATCHES = ("[on matches ", f"[on {HALF} matches ")
_SPEAKERS = ("user", "tool", "function")


@dataclass(frozen=True, slots=True)
class Trigger:
    """The moment that an experience waits for."""

    kind: str
    argument: str = ""

    @property
    def is_of_sureness(self) -> bool:
        """Whether it looks at log-probabilities, which no message tells."""
        return (_moment(self.argument).kind if self.kind == HALF else self.kind) in UNSURE

    def fires(self, messages: Sequence[JSON], sureness: Sureness | None = None) -> bool:
        """Whether it fires where the model is to answer these messages; a moment is only at the boundary of a turn.

        `sureness` is that of its answer before, where that is known: where not, what waits for it waits on.
        """
        if self.kind == ASKS_WORDS:
            return bool(_asked_at([(self, "")], messages))
        last = messages[-1] if messages else None
        if not isinstance(last, Mapping) or last.get("role") not in _SPEAKERS:
            return False
        known = [one for one in messages if isinstance(one, Mapping)]
        if self.kind == HALF:
            return _moment(self.argument).fires(known, sureness) and SIGNS["chance"](".5", known)
        if self.is_of_sureness:
            return sureness is not None and UNSURE[self.kind](self.argument, sureness)
        return SIGNS[self.kind](self.argument, known)


@lru_cache(maxsize=1_024)
def trigger_of(text: str) -> tuple[Trigger, str] | None:
    """The trigger of an experience, and what is said when it fires; None where it is always on.

    Raises InputError for brackets that name no trigger, or have nothing behind them.
    """
    found = _TRIGGERED.fullmatch(text)
    if not found:
        begins = next((one for one in _MATCHES if text.casefold().startswith(one)), None)
        if begins and "]" in text:  # a class that is not closed takes the bracket behind
            checked_pattern(text[len(begins) : text.rindex("]")])
        return None
    if len(found[1]) > _LONGEST_TRIGGER:
        raise InputError(f"[on {found[1][:20]}...] has more than {_LONGEST_TRIGGER} characters in its brackets")
    told = " ".join(found[1].split())
    if not found[2].strip():
        raise InputError(f"[on {told}] says nothing: write behind the brackets what is to be said then")
    return _moment(told), found[2]


@lru_cache(maxsize=1_024)
def _moment(told: str) -> Trigger:
    """The trigger that stands in brackets; raises InputError for none."""
    if told.casefold() in ("tool error", "repetition"):
        return Trigger(told.casefold())
    if told.casefold().startswith(f"{HALF} ") and _moment(told[len(HALF) + 1 :]).kind not in (HALF, ASKS_WORDS):
        return Trigger(HALF, told[len(HALF) + 1 :])
    kind, _, argument = told.partition(" ")
    kind = kind.casefold()
    if kind == "matches":
        return Trigger(kind, checked_pattern(argument))
    if kind in TAKES and TAKES[kind](argument):
        return Trigger(kind, argument.casefold())
    raise InputError(f"[on {told}] is no trigger: write {FORMS}")


def is_triggered(experience: Experience) -> bool:
    """Whether an experience waits for a moment; brackets that name no trigger are words like others."""
    return experience.kind == "strategy" and said_text(experience.text) != experience.text


def said_text(text: str) -> str:
    """What an experience says, without its trigger."""
    try:
        found = trigger_of(text)
    except InputError:
        return text
    return found[1] if found else text


def awaited_words(text: str) -> frozenset[str]:
    """The words that an experience waits for, of those that wait for words of the users'; none of any other."""
    trigger = trigger_of(text) if said_text(text) != text else None
    return frozenset(words(trigger[0].argument)) if trigger and trigger[0].kind == ASKS_WORDS else frozenset()


def moment_of(text: str) -> str:
    """The trigger of an experience that waits for a moment; nothing of one that does not, or that waits for words."""
    trigger = trigger_of(text) if said_text(text) != text else None
    return f"{trigger[0].kind} {trigger[0].argument}".strip() if trigger and trigger[0].kind != ASKS_WORDS else ""


@lru_cache(_KEPT)
def always_on(prior: Prior) -> Prior:
    """The prior without the experiences that wait; the same one where there are none."""
    kept = tuple(entry for entry in prior.experiences if not is_triggered(entry))
    return prior if len(kept) == len(prior.experiences) else replace(prior, experiences=kept)


@lru_cache(_KEPT)
def _waiting(prior: Prior) -> tuple[tuple[Trigger, str], ...]:
    found = (trigger_of(entry.text) for entry in prior.experiences if is_triggered(entry))
    return tuple(one for one in found if one)


@lru_cache(_KEPT)
def waits_for_sureness(prior: Prior) -> bool:
    """Whether an experience of the prior looks at log-probabilities of the answer before."""
    return any(trigger.is_of_sureness for trigger, _ in _waiting(prior))


def applies(text: str, messages: Sequence[JSON]) -> bool:
    """Whether an experience is said to a conversation, or may be when its moment comes."""
    return awaited_words(text) <= {word for _, said in _said_by_users(messages) for word in said}


def said_where(
    prior: Prior,
    messages: Sequence[JSON],
    transcript: Callable[[], Sequence[JSON]] | None = None,
    sureness: Sureness | None = None,
) -> Mapping[int, str]:
    """What messages are to end with, by their place: what was asked for, and in the last one what its moment has come.

    `transcript` makes the same as chat messages, where they are of another form.
    """
    if not (waiting := _waiting(prior)):
        return {}
    said = defaultdict[int, list[str]](list)
    for place, text in _asked_at(waiting, messages):
        said[place].append(text)
    if moments := [one for one in waiting if one[0].kind != ASKS_WORDS]:
        seen = transcript() if transcript else messages
        said[len(messages) - 1] += [text for trigger, text in moments if trigger.fires(seen, sureness)]
    return {place: "\n".join(texts) for place, texts in said.items() if texts}


def _asked_at(waiting: Iterable[tuple[Trigger, str]], messages: Sequence[JSON]) -> list[tuple[int, str]]:
    """By which message of a user all words were said that a text waits for, and the text; only of those that were."""
    left = [(_awaited(trigger.argument), text) for trigger, text in waiting if trigger.kind == ASKS_WORDS]
    found, seen = list[tuple[int, str]](), set[str]()
    for place, said in _said_by_users(messages if left else ()):
        seen |= said
        found += [(place, text) for wanted, text in left if wanted <= seen]
        left = [(wanted, text) for wanted, text in left if not wanted <= seen]
        if not left:
            break
    return found


def _said_by_users(messages: Sequence[JSON]) -> Iterator[tuple[int, frozenset[str]]]:
    """The words of each message of a user, with its place, as far as they are looked at."""
    left = _ASKED
    for place, one in enumerate(messages):
        if isinstance(one, Mapping) and one.get("role") == "user":
            said = message_text(one)[: min(left, READ_CHARS)]
            left -= len(said)
            yield place, _words_in(said)
            if not left:
                return


@lru_cache(maxsize=1_024)
def _awaited(argument: str) -> frozenset[str]:
    return frozenset(words(argument))


@lru_cache(_KEPT)
def _words_in(text: str) -> frozenset[str]:
    return frozenset(words(text))


def as_said(prior: Prior, messages: Sequence[JSON]) -> Prior:
    """The prior as a text beside no turns says it: nothing waits for words there any more, and no moment comes."""
    if always_on(prior) is prior:
        return prior
    asked = {text for _, text in _asked_at(_waiting(prior), messages)}
    told = ((entry, said_text(entry.text)) for entry in prior.experiences)
    said = tuple(replace(entry, text=text) for entry, text in told if text == entry.text or text in asked)
    return replace(prior, experiences=said)
