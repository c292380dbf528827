"""A label decided again, as biases would have decided it, where log-probabilities come and biases are refused. Pure.

At each position of an answer the upstream samples a token s from p, and lists p of it and of its likeliest
alternatives. Under biases b, at temperature T, the policy there is

    p_b(v) = p(v)^(1/T) e^(b_v / T) / Z,

with what is not listed in Z (`token_prior.gradient` has the tail). As long as what was said may still become several
labels, s is kept with probability min(1, p_b(s) / p(s)), and else replaced by one of the listed tokens after which only
one label is left, drawn in proportion to p_b(v) - p(v) where that is above 0. Where each token that gains begins one
label alone, what comes out is distributed as p_b is, and no answer is changed more often than it must be (a maximal
coupling). At temperature 0 the likeliest token under the biases stands. Labels that begin with the same token are
decided at the first token that differs.

A label that is not listed counts as one that is never said: the others are decided without it, which is no farther
from p_b than p is, but for what p gives to it. A bias of ours could make of it no more than the least that is listed
times e^b; where that is more than SLACK, `unlisted` is said. What tokens that begin several labels and were not sampled
would have gained stays with what was sampled, since nobody knows which of the labels would have come; where that is
more than SLACK, `alike` is said. What is no label is only ever replaced as a whole, and by a label; tokens that begin
no label are never put in. After a label that others begin with, the token that ends an answer is one that leads to it.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from operator import attrgetter
from typing import Literal, NamedTuple, TypeAlias

from ..model.tokenizer import ends_answer
from .label_set import (
    NOTHING_YET,
    OTHER,
    SEVERAL,
    LabelSet,
    goes_on,
    has_words,
    number_may_go_on,
    quotes_end,
    without_case,
)

SLACK = 0.02
"""Probability that may be left undecided: as with exact groups, the rest is as good as all (`token_prior.exact`)."""
_NOTHING = 1e-6
"""Of probability: as good as none."""
COLDEST = 1e-3
"""A temperature up to here is 0, as good as."""
_RULED_OUT = -1_000.0
"""A log-probability up to here is that of a token that a grammar or a mask has ruled out: vLLM lists these at -9999."""
_ALIKE = (SEVERAL, NOTHING_YET)
"""Tokens that any of several labels may follow."""

Undecided: TypeAlias = Literal["unlisted", "alike", "no-log-probabilities"]
"""Why a label was not decided again, or not among all: a label is not listed that could have gained; labels that begin
alike, of which none was sampled, would have gained, or a mark before them; there are no log-probabilities."""


class ListedToken(NamedTuple):
    """A token at a position: sampled there, or one of its alternatives."""

    piece: bytes
    logprob: float
    bias: float = 0.0


class Alternatives(NamedTuple):
    """What is listed beside a token, in columns: of a hundred alternatives few matter one by one."""

    pieces: Sequence[bytes] = ()
    logprobs: Sequence[float] = ()
    biases: Sequence[float] = ()

    @classmethod
    def of(cls, tokens: Iterable[ListedToken]) -> "Alternatives":
        return cls(*zip(*tokens, strict=True))

    def at(self, place: int) -> ListedToken:
        return ListedToken(self.pieces[place], self.logprobs[place], self.biases[place])

    def but(self, piece: bytes, there: Collection[bytes]) -> "Alternatives":
        """All but the token with these bytes; of several with the same bytes the last. `there` are all that come."""
        if len(there) < len(self.pieces):
            return Alternatives.of({one.piece: one for one in map(ListedToken, *self) if one.piece != piece}.values())
        if piece not in there:
            return self
        at = self.pieces.index(piece)
        return Alternatives._make([*column[:at], *column[at + 1 :]] for column in self)


_LOGPROB_OF = attrgetter("logprob")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are sampled, and the biases that they are to be decided under."""

    biases: Mapping[bytes, float]
    """By the bytes of the token."""
    temperature: float = 1.0
    top_p: float = 1.0
    is_scaled: bool = False
    """Log-probabilities are reported at the temperature of sampling, not at 1."""


class Redecision:
    """One label of one answer, as its tokens come."""

    def __init__(self, labels: LabelSet, sampling: Sampling, draw: Callable[[], float]) -> None:
        """`draw` gives numbers from 0 to 1, each as likely as the other."""
        self._labels, self._sampling, self._draw = labels, sampling, draw
        self._state: Literal["looking", "skipping", "dropping", "over"] = "looking"
        self._text, self._out = b"", 0
        """What was sampled, and how much of it is told already."""
        self.is_changed = False
        self.is_followed = False
        """Words follow the label that was changed: the model said them of the label that it had said itself."""
        self.chosen: ListedToken | None = None
        """The token that was put in place of another."""
        self.undecided: Undecided | None = None

    @property
    def is_over(self) -> bool:
        """Whether what comes is left alone."""
        return self._state == "over"

    @property
    def is_looking(self) -> bool:
        """Whether the label is not decided yet, so that the alternatives of the next token matter."""
        return self._state == "looking"

    @property
    def is_dropping(self) -> bool:
        """Whether what comes is part of an answer that was replaced as a whole."""
        return self._state == "dropping"

    def see(self, sampled: ListedToken, others: Alternatives) -> bytes | None:
        """What is said in place of a token; None: the token itself, which has no text where it ends an answer."""
        if ends_answer(sampled.piece):
            return self._ended(sampled, others) if self._state == "looking" else None
        if self._state == "looking":
            return self._looked(sampled, others)
        if self._state == "skipping":
            return self._skipped(sampled.piece)
        if self._state == "over":
            self._followed(sampled.piece)
            return None
        return b""

    def end(self) -> bytes:
        """What was held back until the answer ended, or until its log-probabilities did."""
        held = self._text[self._out :] if self._state == "looking" else b""
        if self._state == "skipping" and not self._labels.is_quoted:
            held = self._followed(self._behind(self._text))
        self._state = "over" if self._state != "dropping" else "dropping"
        return held

    def _behind(self, text: bytes) -> bytes:
        """What stands behind the label that a text begins with."""
        said = self._labels.seen(text)[1]
        return text[text.find(said) + len(said) :]

    def _ended(self, sampled: ListedToken, others: Alternatives) -> bytes | None:
        """The same of a token that ends the answer, where what was said is a label that others begin with."""
        place = self._labels.leads(self._text, sampled.piece)
        if place < 0:
            return None
        moved = self._moved(sampled, others, self._text)
        if moved is not None:
            return self._replaced(moved, self._text, place, self._text)
        held, self._out, self._state = self._text[self._out :], len(self._text), "over"
        return held or None

    def _looked(self, sampled: ListedToken, others: Alternatives) -> bytes | None:
        before, self._text = self._text, self._text + sampled.piece
        place, said = self._labels.seen(self._text)
        moved = self._moved(sampled, others, before)
        if moved is not None:
            return self._replaced(moved, before, place, said)
        if place == SEVERAL:
            return b""
        held, self._out = before[self._out :], len(self._text)
        if place != NOTHING_YET:
            self._state = "over"
        return held + sampled.piece if held else None

    def _replaced(self, moved: ListedToken, before: bytes, place: int, said: bytes) -> bytes:
        """The label that a token leads to, in place of what was sampled."""
        self.chosen, chosen = moved, self._labels.leads(before, moved.piece)
        text = before if ends_answer(moved.piece) else before + moved.piece
        begun = self._labels.seen(text)[1]
        ends = text.find(begun) + len(begun)
        told = text[self._out : ends] + self._labels.labels[chosen][len(begun) :]
        self.is_changed = True
        if self._labels.is_quoted:
            self._state = "skipping"
            return told + self._skipped(b"")
        self._state = "skipping" if place >= SEVERAL else "dropping"
        if place >= 0 and self._labels.is_whole(said) and not self._text.endswith(said) and not self._is_open(said):
            self._state = "over"
            told += self._followed(self._behind(self._text))
        return told

    def _is_open(self, said: bytes) -> bool:
        """Whether a label that is a number may go on behind the one mark that follows it: "4." with "4.5"."""
        return len(self._behind(self._text).decode(errors="replace")) == 1 and number_may_go_on(
            self._text, self._text.find(said) + len(said)
        )

    def _followed(self, rest: bytes) -> bytes:
        """What comes after the label and is told as it is."""
        if self.is_changed and not self._labels.is_quoted and has_words(rest):
            self.is_followed = True
        return rest

    def _skipped(self, piece: bytes) -> bytes:
        """What of a token does not belong to the label that was replaced."""
        before, self._text = self._text, self._text + piece
        if self._labels.is_quoted:
            ends = quotes_end(self._text)
            self._state = "over" if ends >= 0 else "skipping"
            return self._text[ends + 1 :] if ends >= 0 else b""
        place, said = self._labels.seen(self._text)
        if place != OTHER and self._text.endswith(said):
            return b""
        was = self._labels.seen(before)[1]
        rest = self._behind(before) + piece
        if self._labels.is_whole(was) and self._is_open(was):
            return b""
        if self._labels.is_whole(was) and not goes_on(was + rest, len(was)):
            self._state = "over"
            return self._followed(rest)
        if self._labels.is_whole(said):
            self._state = "over"
            return self._followed(self._behind(self._text))
        self._state = "dropping"
        return b""

    def _moved(self, sampled: ListedToken, others: Alternatives, before: bytes) -> ListedToken | None:
        """The token that is said in place of the sampled one; None: the sampled one stands."""
        others = others.but(sampled.piece, there := {*others.pieces})
        there.add(sampled.piece)
        missing = self._missing(there, before)
        if not (missing or sampled.bias or any(others.biases)):
            return None
        led, *leads = self._labels.each_leads(before, [sampled.piece, *others.pieces])
        told, plain = self._told_apart(others, leads)
        listed, places = [sampled, *map(others.at, told)], [led, *(leads[at] for at in told)]
        missing += [0.0] * self._unlisted(listed, places, before)
        moves, undecided = chances(listed, places, self._sampling, missing, plain)
        self.undecided = self.undecided or undecided
        if moves[0] >= 1.0:
            return None
        left = self._draw() - moves[0]
        if left < 0:
            return None
        for one, chance in zip(listed[1:], moves[1:], strict=True):
            if chance and (left := left - chance) <= 0:
                return one
        return None

    def _told_apart(self, others: Alternatives, leads: Sequence[int]) -> tuple[Sequence[int], Sequence[float]]:
        """The places of the alternatives that matter one by one, and the log-probabilities of the others: what begins
        no label and has no bias only matters together, but to `top_p`."""
        if self._sampling.top_p < 1.0:
            return range(len(leads)), ()
        told = [at for at, place in enumerate(leads) if place != OTHER]
        if biased := [*compress(range(len(leads)), others.biases)]:
            told = sorted({*told, *biased})
        plain = [*others.logprobs]
        for at in reversed(told):
            del plain[at]
        return told, plain

    def _missing(self, there: Collection[bytes], before: bytes) -> list[float]:
        """The biases above 0 of tokens that would go on with a label here, and are not among these."""
        return [
            bias
            for piece, bias in _helpful(self._labels, _Same(self._sampling.biases))
            if piece not in there and self._labels.seen(before + piece)[0] >= SEVERAL
        ]

    def _unlisted(self, listed: Sequence[ListedToken], places: Sequence[int], before: bytes) -> int:
        """How many labels what was said may still become that no listed token leads to."""
        open_ = self._labels.open_after(before)
        open_.difference_update(places)
        if SEVERAL in places and open_:
            several = (one.piece for one, place in zip(listed, places, strict=True) if place == SEVERAL)
            for piece in several:
                open_ -= self._labels.open_after(before + piece)
        return len(open_)


class _Same:
    """Biases as the key of a cache, known by being the same map."""

    __slots__ = ("biases",)

    def __init__(self, biases: Mapping[bytes, float]) -> None:
        self.biases = biases

    def __hash__(self) -> int:
        return id(self.biases)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.biases is other.biases


@lru_cache(64)
def _helpful(labels: LabelSet, given: _Same) -> tuple[tuple[bytes, float], ...]:
    """The tokens with a bias above 0 that are a part of a label, and more than the marks around it."""
    found = []
    for piece, bias in given.biases.items():
        key = piece if labels.is_quoted else without_case(piece.strip(labels.openers))
        if bias > 0 and key and any(key in label for label in labels.whole):
            found.append((piece, bias))
    return tuple(found)


def chances(
    listed: Sequence[ListedToken],
    places: Sequence[int],
    sampling: Sampling,
    missing: Sequence[float] = (),
    plain: Sequence[float] = (),
) -> tuple[list[float], Undecided | None]:
    """How likely each listed token is to be said where the first one was sampled, and what was left undecided, if so.

    `places` are those of the labels that they lead to; `missing` the biases of tokens that are not listed, 0 for each
    label that none of those leads to; `plain` log-probabilities of further tokens, listed as well, that lead to no
    label and have no bias (none where top_p is below 1).
    """
    stays = [1.0, *[0.0] * (len(listed) - 1)]
    least = least_of([*map(_LOGPROB_OF, listed[1:]), *plain], listed[0].logprob)
    if sampling.temperature <= COLDEST:
        return _likeliest(listed, places, max(missing, default=-math.inf) + least, plain)
    p, p_b, bound = _shares(listed, sampling, missing, least, plain)
    kept = min(1.0, p_b[0] / p[0]) if p[0] > 0 else 0.0
    gains = {at: max(0.0, p_b[at] - p[at]) for at, place in enumerate(places) if at and place != OTHER}
    alike = sum(gain for at, gain in gains.items() if places[at] == SEVERAL)
    why: Undecided | None = "alike" if alike > SLACK else "unlisted" if bound > SLACK else None
    open_ = {at: gain for at, gain in gains.items() if places[at] >= 0}
    if not (total := sum(open_.values())):
        before = sum(gain for at, gain in gains.items() if places[at] == NOTHING_YET)
        return stays, "alike" if before > SLACK else why
    moved = [0.0] * len(listed)
    for at, gain in open_.items():
        moved[at] = (1.0 - kept) * gain / (total + alike)
    moved[0] = 1.0 - sum(moved)
    return moved, why


def _likeliest(
    listed: Sequence[ListedToken], places: Sequence[int], bound: float, plain: Sequence[float]
) -> tuple[list[float], Undecided | None]:
    """The same at temperature 0."""
    raised = [logprob + bias for _, logprob, bias in listed]
    top, most = max(raised), max(plain, default=-math.inf)
    best = raised.index(top) if top > most else 0
    unlisted = bound > max(top, most) and _rest(listed, _mass(plain)) > _NOTHING
    undecided: Undecided | None = "alike" if best and places[best] in _ALIKE else "unlisted" if unlisted else None
    at = best if places[best] >= 0 else 0
    return [float(place == at) for place in range(len(listed))], undecided


def _rest(listed: Sequence[ListedToken], plain: float) -> float:
    return max(0.0, 1.0 - sum(map(math.exp, map(_LOGPROB_OF, listed))) - plain)


def _mass(plain: Sequence[float]) -> float:
    return sum(map(math.exp, plain))


def _shares(
    listed: Sequence[ListedToken],
    sampling: Sampling,
    missing: Sequence[float],
    least: float,
    plain: Sequence[float],
) -> tuple[list[float], list[float], float]:
    """p and p_b of what is listed, and the most that what is missing could have under p_b."""
    heat, mass = sampling.temperature, _mass(plain)
    power, rest = 1.0 if sampling.is_scaled else 1.0 / heat, _rest(listed, mass)
    log_rest = math.log(rest) if rest else -math.inf
    tail, most = log_rest + least * (power - 1.0), min(log_rest, least) * power
    logs = [logprob * power for _, logprob, _ in listed]
    beside = math.log(mass) if power == 1.0 and mass else _together(plain, power)
    raised = [log + bias / heat if bias else log for log, (_, _, bias) in zip(logs, listed, strict=True)]
    *shares, plain_tail = scaled([*logs, beside, tail])
    highest = max(missing, default=0.0)
    *weights, raised_tail, unlisted = scaled([*raised, beside, tail, most + highest / heat])
    extra = unlisted * sum(math.exp((bias - highest) / heat) - math.exp(-highest / heat) for bias in missing)
    total = sum(weights) + raised_tail + extra
    gained = max(0.0, raised_tail / total - plain_tail / (sum(shares) + plain_tail))
    among = min(1.0, len(missing) * math.exp(min(0.0, most - tail))) if gained else 0.0
    return (
        _nucleus(shares, plain_tail, sampling.top_p)[:-1],
        _nucleus(weights, raised_tail, sampling.top_p)[:-1],
        extra / total + gained * among,
    )


def least_of(logprobs: Sequence[float], sampled: float) -> float:
    """The least likely of the alternatives, as far as they are possible: it is what is known of those not listed."""
    least = min(logprobs, default=sampled)
    return least if least > _RULED_OUT else min((one for one in logprobs if one > _RULED_OUT), default=sampled)


def _together(logs: Sequence[float], power: float) -> float:
    """The logarithm of the sum of what these are the logarithms of, each to a power."""
    top = max(logs, default=-math.inf)
    if top == -math.inf:
        return top
    return top * power + math.log(sum(map(math.exp, [(log - top) * power for log in logs])))


def scaled(logs: Sequence[float]) -> list[float]:
    """What these are the logarithms of, the largest made 1: at low temperatures they are too large for a float."""
    top = max(logs)
    return [*map(math.exp, [log - top for log in logs])]


def _nucleus(weights: Sequence[float], tail: float, top_p: float) -> list[float]:
    """The shares of what top_p leaves."""
    total = sum(weights) + tail
    if top_p < 1.0:
        kept, reached = set[int](), 0.0
        for at in sorted(range(len(weights)), key=lambda each: -weights[each]):
            if kept and reached >= top_p * total:
                break
            kept.add(at)
            reached += weights[at]
        weights = [weight if at in kept else 0.0 for at, weight in enumerate(weights)]
        total = reached + (tail if reached < top_p * total else 0.0)
    return [weight / total for weight in weights] if total else [0.0] * len(weights)
