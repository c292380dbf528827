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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import NamedTuple

from ..errors import InputError
from ..hashing import coin, content_id, derive_seed
from ..records import JSON, Prior, Snapshot
from .scope import KEY_HEADER

HOLDBACK = "holdback"
"""The variant of a call that has no prior for the sake of comparison."""
MOST_SETS = 64
"""Priors that are kept ready for leaving out, at most."""
_LOOKED_AT = 65_536
"""Bytes at either end of a body in which a user is looked for."""
_USER = re.compile(rb'"(?:user|user_id|safety_identifier)"\s*:\s*"((?:[^"\\]|\\.){1,1000})"')


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


@dataclass(frozen=True, slots=True)
class Offer:
    """What calls of one namespace may get."""

    live: Snapshot | None
    canary: Snapshot | None = None
    share: float = 0.0
    """The canary's."""
    sets: tuple[PriorLess, ...] = ()
    """Each as likely as the other; none where nothing is left out."""


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


def has_canary(canary: Snapshot | None, share: float, key: str) -> bool:
    """Whether calls of a key get the canary."""
    return canary is not None and coin(share, "canary", canary.prior.id, key)


def draw_for(offer: Offer, shares: DrawShares, namespace: str, key: str | None, inference: str) -> Drawn:
    """What a call gets; one without a key is drawn by itself, by its own id."""
    canary, share, holdback, left = offer.canary, offer.share, shares.holdback, shares.leave_out
    if canary is None and not holdback and not (left and offer.sets):
        return Drawn(offer.live)
    named = key or inference
    draw: dict[str, JSON] = {"of": offer.live.prior.id if offer.live else None}
    if canary:
        draw["canary"] = canary.prior.id
    if key:
        draw["key"] = content_id("key", key)
    if holdback and coin(holdback, "holdback", namespace, named):
        return Drawn(None, HOLDBACK, {**draw, "arm": HOLDBACK, "p": holdback})
    if has_canary(canary, share, named):
        return Drawn(
            canary,
            None,
            {**draw, "arm": "canary", "p": _round((1 - holdback) * share)},
        )
    draw |= {"arm": "live", "p": _round((1 - holdback) * (1 - share if canary else 1))}
    if not (left and offer.sets and offer.live):
        return Drawn(offer.live, None, draw)
    return _less_some(offer, offer.live, left, named, draw)


def _less_some(offer: Offer, live: Snapshot, left: float, named: str, draw: dict[str, JSON]) -> Drawn:
    one = left / len(offer.sets)
    if not coin(left, "leave out", live.prior.id, named):
        return Drawn(live, None, {**draw, "left_out": [], "p_left_out": _round(1 - left + one)})
    found = offer.sets[derive_seed("set", live.prior.id, named) % len(offer.sets)]
    chance = one if found.experiences else 1 - left + one
    draw |= {"left_out": list(found.experiences), "p_left_out": _round(chance)}
    return Drawn(found.snapshot, None, draw, live.prior.id)


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
        if found := _USER.search(part):
            return found[1].decode("utf-8", "replace")
    return None
