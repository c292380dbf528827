"""What chance decides of a call: whether it has the canary, no prior at all, or the live prior less some experiences.

One function draws for clients and proxies. Whatever is decided hangs on hashes alone, so a key gets the same in every
process and on every machine, and who is in stays in as a share grows. What was drawn is written down with the call and
with its probability: what feedback is worth later rests on that. Pure.

- **Holdback**: a small share of the keys gets no prior. The live prior is held against it for as long as it lives.
- **Canary**: of the others, a share gets the candidate that is tried.
- **Leaving out**: in a share of those with the live prior, each experience is left out half the time, so that its
  effect stays measured. Which ones is one of at most `MOST_SETS` sets, each as likely, whose priors are made
  ready beforehand. The sets are an orthogonal array: each experience is in half of them, each two are together in a
  quarter, and with up to half as many experiences as sets no two together look like a third (Plackett, Burman, 1946).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import isfinite
from typing import NamedTuple

from ..errors import InputError
from ..hashing import PartsBefore, content_id, last_part
from ..records import JSON, Prior, Snapshot
from .scope import KEY_HEADER

HOLDBACK = "holdback"
"""The variant of a call that has no prior for the sake of comparison."""
MOST_SETS = 64
"""Priors that are kept ready for leaving out, at most."""
_LOOKED_AT = 65_536
"""Bytes at either end of a body in which a user is looked for."""
_TEXT = rb'\s*:\s*"((?:[^"\\]|\\.){1,1000})"'
_USER, _SAFETY = re.compile(rb'"user(?:_id)?"' + _TEXT), re.compile(rb'"safety_identifier"' + _TEXT)
"""Two, since one that begins with what they have in common takes three times as long."""
_LONG_KEY, _KEPT_KEYS = 200, 1_024
"""Keys of so many characters, of those that called last, of which it is kept what they get."""


@dataclass(frozen=True, slots=True)
class DrawShares:
    """How much of the calls chance may give something else than the live prior, beside a canary's own share."""

    holdback: float = 0.0
    """Of the keys: no prior."""
    leave_out: float = 0.0
    """Of those with the live prior: it without some of its experiences."""

    def __post_init__(self) -> None:
        """Raises InputError for what is no share."""
        for name, share in (("--holdback", self.holdback), ("--leave-out", self.leave_out)):
            if not (isfinite(share) and 0 <= share <= 0.5):
                raise InputError(f"{name} {share}: a share of the calls, from 0 to 0.5")


NOTHING_LEFT = DrawShares()


@dataclass(frozen=True, slots=True)
class PriorLess:
    """The live prior less some experiences."""

    experiences: tuple[str, ...]
    """Ids of those that it lacks."""
    snapshot: Snapshot


class Drawn(NamedTuple):
    """What one call gets."""

    snapshot: Snapshot | None
    """None: no prior."""
    variant: str | None = None
    """What it is known by, where that is not the state of its prior."""
    draw: Mapping[str, JSON] | None = None
    """To be written down; None: there was nothing to decide.

    `arm` is canary, live or holdback, `p` its probability, `of` the live prior and `canary` the candidate, if there are
    such, `key` what stands for the caller's key; `left_out` are experiences, by id, and `p_left_out` the probability
    of just these.
    """
    prior: str | None = None
    """The id that it is known by: the live one's, of one that lacks some experiences."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What calls of one namespace may get."""

    live: Snapshot | None
    canary: Snapshot | None = None
    share: float = 0.0
    """The canary's."""
    sets: tuple[PriorLess, ...] = ()
    """Each as likely as the other; none where nothing is left out."""
    _wheels: "dict[str, _Wheel]" = field(default_factory=dict, init=False, repr=False, compare=False)

    def drawn(self, shares: DrawShares, namespace: str, key: str | None, inference: str) -> Drawn:
        """What a call gets; one without a key is drawn by itself, by its own id."""
        wheel = self._wheels.get(namespace)
        if wheel is None or (wheel.shares is not shares and wheel.shares != shares):
            wheel = self._wheels[namespace] = _Wheel(self, shares, namespace)
        return wheel.drawn(key, inference)


class _Wheel:
    """The coins that decide of the calls of one namespace, and all that may come of them, ready made."""

    def __init__(self, offer: Offer, shares: DrawShares, namespace: str) -> None:
        self.shares, live, canary = shares, offer.live, offer.canary
        self._holdback, self._share = shares.holdback, offer.share if canary else 0.0
        self._left = shares.leave_out if live and offer.sets else 0.0
        of, tried = live.prior.id if live else None, canary.prior.id if canary else None
        self._is_held_back = PartsBefore("holdback", namespace).coin(self._holdback)
        self._is_tried = PartsBefore("canary", tried).coin(self._share)
        self._lacks, self._which = PartsBefore("leave out", of).coin(self._left), PartsBefore("set", of)
        told: Mapping[str, JSON] = {"of": of, "canary": tried} if canary else {"of": of}
        kept = 1 - self._holdback
        self._none = Drawn(None, HOLDBACK, {**told, "arm": HOLDBACK, "p": self._holdback})
        self._canary = Drawn(canary, None, {**told, "arm": "canary", "p": _round(kept * self._share)})
        told = {**told, "arm": "live", "p": _round(kept * (1 - self._share))}
        self._less = _less_some(offer, live, self._left, told) if live and self._left else ()
        is_drawn = bool(canary or self._holdback)
        self._live = self._less[0]._replace(prior=None) if self._less else Drawn(live, None, told if is_drawn else None)
        self._known = lru_cache(_KEPT_KEYS)(self._of)

    def drawn(self, key: str | None, inference: str) -> Drawn:
        """What a call gets, and with whose key it is written down."""
        if self._live.draw is None:  # there is no coin
            return self._live
        if not key:
            return self._found(last_part(inference))
        return self._known(key) if len(key) <= _LONG_KEY else self._of(key)

    def _of(self, key: str) -> Drawn:
        found = self._found(last_part(key))
        return found._replace(draw={**(found.draw or {}), "key": content_id("key", key)})

    def _found(self, named: bytes) -> Drawn:
        if self._holdback and self._is_held_back(named):
            return self._none
        if self._share and self._is_tried(named):
            return self._canary
        if not (self._left and self._lacks(named)):
            return self._live
        return self._less[self._which.derive_seed(named) % len(self._less)]


def _less_some(offer: Offer, live: Snapshot, left: float, told: Mapping[str, JSON]) -> Sequence[Drawn]:
    """What each of the sets comes to; the first, which is empty, is what those get too who are to have them all."""
    one = left / len(offer.sets)
    drawn = []
    for each in offer.sets:
        chance = one if each.experiences else 1 - left + one
        draw = {**told, "left_out": list(each.experiences), "p_left_out": _round(chance)}
        drawn.append(Drawn(each.snapshot, None, draw, live.prior.id))
    return drawn


def _round(probability: float) -> float:
    return round(probability, 9)


def left_out_sets(live: Snapshot) -> tuple[PriorLess, ...]:
    """The sets of experiences that are left out of a prior, the first of them empty; none where it has no experience.

    Row m of M leaves out experience k where the bits that m and M / 2 + k share are odd in number: column M / 2 + k of
    a Hadamard matrix. More than half as many experiences as sets take the lower columns too; what is beyond those
    always stays in.
    """
    prior = live.prior
    if not prior.experiences:
        return ()
    size = 2
    while size < min(2 * len(prior.experiences), MOST_SETS):
        size *= 2
    columns = [*range(size // 2, size), *range(1, size // 2)]
    found = []
    for row in range(size):
        out = {
            entry.id
            for entry, column in zip(prior.experiences, columns, strict=False)
            if (row & column).bit_count() % 2
        }
        found.append(PriorLess(tuple(sorted(out)), replace(live, prior=_without(prior, out)) if out else live))
    return tuple(found)


def _without(prior: Prior, out: set[str]) -> Prior:
    return replace(prior, experiences=tuple(entry for entry in prior.experiences if entry.id not in out))


def key_of(headers: Mapping[str, str], content: bytes) -> str | None:
    """For whom a call is made: as its header says, else the user that its body names, else not known.

    What is written within a text is no name: its quotes are escaped there.
    """
    if given := headers.get(KEY_HEADER, "").strip():
        return given
    return user_of(content)


def user_of(content: bytes) -> str | None:
    """The user that a body names, as `user`, `user_id` or `safety_identifier`."""
    short = len(content) <= 2 * _LOOKED_AT
    for part in (content,) if short else (content[-_LOOKED_AT:], content[:_LOOKED_AT]):
        found, other = _USER.search(part), _SAFETY.search(part) if b"safety_identifier" in part else None
        if found or other:
            first = min(filter(None, (found, other)), key=re.Match.start)
            return first[1].decode("utf-8", "replace")
    return None
