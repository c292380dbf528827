"""Decisions: how the offsets of a prior act on the answers. No I/O.

p(o | b) is proportional to p(o) exp(b_o); what the upstream answered stays beside it, under `tfgrpo_frozen`. Confidence
is the probability of what is chosen, and a score the mean of its levels' values. Refusals, and answers that are no
probabilities, are left as they came. An option that the prior has never seen has the offset 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import exp
from typing import Protocol, TypeAlias

from ..model.questions import instructions_text, is_share
from ..records import JSON, ChatBody, Option, Prior, QuestionOffsets
from ..text import shortened
from .surface import objects_in

OFFSETS_HEADER = "x-tfgrpo-offsets"
"""Of a response for decisions: to how many of its answers offsets were applied."""
FROZEN_FIELD = "tfgrpo_frozen"
"""Of an answer: what of it was another before the offsets."""

_KEPT = ("choice", "score", "confidence", "probabilities")
_FURTHEST = 100.0
"""Nats; a prior's file holds none beyond."""
_LARGEST_LEVEL = 2**53
"""A level's value beyond is none that a mean can be taken of."""
Factors: TypeAlias = Mapping[Option, float]
"""exp(b) of each option."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What becomes of one response."""

    payload: JSON
    moved: int = 0
    """Answers whose probabilities are others now."""
    unseen: tuple[str, ...] = ()
    """Options that the prior has never seen."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Headers that tell of it."""

    @property
    def notice(self) -> str | None:
        """What a person should be told, once."""
        return unseen_notice(self.unseen) if self.unseen else None


class Rewriting(Protocol):
    """What is to be done with the response to a request, once it is whole."""

    def decided(self, payload: JSON, /) -> Decided:
        """The response as the caller gets it; the one given is not altered."""
        ...


@dataclass(frozen=True, slots=True)
class Deciding:
    """What is to be done with the answers to one request: exp(b) for each of its questions, None for none."""

    factors: tuple[Factors | None, ...]

    def decided(self, payload: JSON) -> Decided:
        """A response with the offsets applied; the one given is not altered."""
        answers = payload.get("answers") if isinstance(payload, Mapping) else None
        if not isinstance(answers, list) or len(answers) != len(self.factors):
            return Decided(payload)
        changed, moved, unseen = list(answers), 0, dict[str, None]()
        for place, factors in enumerate(self.factors):
            if factors and (answer := _moved(answers[place], factors, unseen)) is not None:
                changed[place], moved = answer, moved + 1
        if not moved:
            return Decided(payload, unseen=tuple(unseen))
        return Decided({**payload, "answers": changed}, moved, tuple(unseen), {OFFSETS_HEADER: str(moved)})


def deciding(body: ChatBody, prior: Prior) -> Deciding | None:
    """What a prior has to do with the answers to a request, as its caller wrote it; None: nothing."""
    if not prior.questions:
        return None
    known = _factors(prior)
    found = tuple(map(known.get, _asked(body)))
    return Deciding(found) if any(found) else None


def unseen_notice(options: Sequence[str]) -> str:
    """What a person should be told of options that a prior has never seen."""
    named = shortened(", ".join(map(repr, options[:3])))
    return f"the prior has no offset for {named}: such options keep their probability"


def asks_another(body: ChatBody, prior: Prior) -> bool:
    """Whether a prior that has learned questions has not learned one of a request: other words are another question."""
    return bool(prior.questions) and not all(map(_factors(prior).__contains__, _asked(body)))


def _asked(body: ChatBody) -> list[tuple[str, str]]:
    """The type and the words of each question of a request."""
    asked = []
    for question in objects_in(body, "questions"):
        words = question.get("instructions")
        asked.append((str(question.get("type")), words if type(words) is str else instructions_text(words) or ""))
    return asked


@lru_cache(64)
def _factors(prior: Prior) -> Mapping[tuple[str, str], Factors | None]:
    """By type and words of the question; offsets of 0 alone stand beside what is said in it, and move nothing."""
    return {(entry.kind, entry.instructions): _moving(entry) for entry in prior.questions}


def _moving(entry: QuestionOffsets) -> Factors | None:
    moves = any(one.offset for one in entry.offsets)
    return {one.option: exp(_held(one.offset)) for one in entry.offsets} if moves else None


def _held(offset: float) -> float:
    """An offset that no sum of shares times exp(b) overflows by, whatever a store holds."""
    return max(-_FURTHEST, min(_FURTHEST, offset))


def _moved(answer: JSON, factors: Factors, unseen: dict[str, None]) -> JSON:
    """An answer under its offsets; None where it is none that they can act on."""
    kind = answer.get("type") if type(answer) is dict else None
    if kind == "predicate":
        return _predicate(answer, factors)
    listed = answer.get("probabilities") if kind in ("choice", "score") else None
    if not isinstance(listed, list):
        return None
    weights = _weights(listed, "value" if kind == "choice" else "label", factors, unseen)
    if weights is None:
        return None
    total, highest, probabilities = sum(weights), max(weights), []
    for place, entry in enumerate(listed):  # strict zip() would take a third of it all
        changed = entry.copy()
        changed["probability"] = weights[place] / total
        probabilities.append(changed)
    moved = answer.copy()
    moved["confidence"] = highest / total
    if kind == "choice":
        moved["choice"] = listed[weights.index(highest)]["value"]
    else:
        moved["score"] = _score(probabilities)
    moved["probabilities"] = probabilities
    moved[FROZEN_FIELD] = frozen = {}
    for name in _KEPT:
        if name in answer:
            frozen[name] = answer[name]
    return moved


def _weights(listed: Sequence[JSON], key: str, factors: Factors, unseen: dict[str, None]) -> list[float] | None:
    """p exp(b) of each option that is listed, not all of them 0; None where that cannot be told, or none is known."""
    weights, seen = [], False
    try:
        for entry in listed:
            option, share = entry[key], entry["probability"]
            if (type(share) is not float or not 0.0 <= share <= 1.0) and not is_share(share):
                return None
            if type(option) is not str and type(option) is not bool:  # 1 would be found as True
                return None
            if option in factors:
                seen = True
                weights.append(share * factors[option])
            else:
                unseen[str(option)] = None
                weights.append(share)
    except (LookupError, TypeError):
        return None
    return weights if seen and any(weights) else None


def _predicate(answer: Mapping[str, JSON], factors: Factors) -> JSON:
    share = answer.get("probability")
    if not (is_share(share) and share <= 1):
        return None
    odds = share * factors.get(True, 1.0) / factors.get(False, 1.0)
    return {**answer, "probability": odds / (odds + (1.0 - share)), FROZEN_FIELD: {"probability": share}}


def _score(levels: Sequence[Mapping[str, JSON]]) -> float:
    """The mean of the levels' values; levels without a usable value count from 0, as they do in the API."""
    values = [entry.get("value") for entry in levels]
    numbers = [float(value) for value in values if isinstance(value, int | float) and abs(value) <= _LARGEST_LEVEL]
    if len(numbers) < len(levels):
        numbers = [float(place) for place in range(len(levels))]
    return sum(entry["probability"] * number for entry, number in zip(levels, numbers, strict=True))
