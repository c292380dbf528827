"""At how many turns of rollouts a trigger fires, and the threshold with which it fires at a share of them. Pure.

A turn is an answer of the model. What is known of the answer before it comes from the journal: log-probabilities are
there where a run learned a token prior, or had such a trigger, on an upstream that tells them.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..errors import InputError
from ..prompts import task_place
from ..records import CallKey, Message, Rollout, message_text
from ..surfaces.nearest import alike
from ..surfaces.sureness import RememberedAnswers
from ..surfaces.surface import Sureness
from ..surfaces.triggers import Trigger
from ..text import counted, words

ALWAYS = 0.6
"""A trigger that fires at more than this share of turns tells no moment: that experience is always on."""
FEWEST_TURNS = 20
"""From fewer no threshold is learned."""
_PARTS = 10_000
"""Thresholds are rounded to such parts of 1."""


class Turn(NamedTuple):
    """What stood before an answer of the model, and how sure it was of the one before, as far as that is known."""

    before: Sequence[Message]
    sureness: Sureness | None = None


class Rate(NamedTuple):
    """How often a trigger fires."""

    fired: int
    turns: int
    """Of which that can be told."""
    unknown: int
    """Turns more, whose log-probabilities would have to be known."""


class HeardRollouts:
    """How sure the model was in each of its answers, by rollout."""

    def __init__(self) -> None:
        self._by_rollout = defaultdict[tuple[int, str, int], RememberedAnswers](RememberedAnswers)

    def see(self, key: CallKey, response: str) -> None:
        """One more call of the run."""
        self._by_rollout[key.step, key.task, key.sample].hear((), response)

    def turns(self, rollouts: Iterable[Rollout]) -> list[Turn]:
        """All turns of the rollouts, in order; those of demonstrations before their tasks are none."""
        return [
            Turn(before, self._by_rollout[one.step, one.task.id, one.sample].before(before))
            for one in rollouts
            for before in boundaries(one.messages[task_place(one) or 0 :])
        ]


def boundaries(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """What stood before each answer of the model in a conversation."""
    for place, message in enumerate(messages):
        if message.get("role") == "assistant" and place:
            yield messages[:place]


def fire_rate(trigger: Trigger, turns: Sequence[Turn]) -> Rate:
    """At how many turns the trigger would have fired."""
    after_one = [one for one in turns if any(said.get("role") == "assistant" for said in one.before)]
    lacking = sum(one.sureness is None for one in after_one) if trigger.is_of_sureness else 0
    return Rate(sum(trigger.fires(*one) for one in turns), len(turns) - lacking, lacking)


def rate_told(rate: Rate) -> str:
    """What a rate says of a trigger."""
    lacking = f"; of {counted(rate.unknown, 'turn')} more no log-probabilities are known" if rate.unknown else ""
    if not rate.turns:
        return f"no turn was taken{lacking}"
    if not rate.fired:
        return f"it never fires: nothing was said{lacking}"
    share = rate.fired / rate.turns
    always = ": that is no moment, but an always-on experience; leave the brackets away" if share > ALWAYS else ""
    return f"it fires at {rate.fired:,} of {rate.turns:,} turns ({100 * share:.0f}%){lacking}{always}"


def learned_trigger(told: str, quantile: float, turns: Sequence[Turn]) -> str:
    """`entropy`, `margin` or `like SOME TEXT` with the threshold that lets it fire at 1 - quantile of these turns;
    raises InputError where it has none, or where too few turns tell."""
    if not 0 < quantile < 1:
        raise InputError(f"the quantile is {quantile:g}; it must be between 0 and 1, as .9: then it fires at a tenth")
    kind, _, text = " ".join(told.casefold().split()).partition(" ")
    if not (kind in ("entropy", "margin") and not text) and not (kind == "like" and words(text)):
        raise InputError(f"--trigger {told!r} has no threshold to learn: entropy, margin and like SOME TEXT have one")
    if kind == "like":
        found = [alike(message_text(one.before[-1]), text) for one in turns]
    else:
        known = [one.sureness for one in turns if one.sureness]
        found = [one.entropy if kind == "entropy" else -one.margin for one in known]
    if len(found) < FEWEST_TURNS:
        told = counted(len(found), "turn")
        lacking = f"the run has {told}" if kind == "like" else f"{told} of the run came with log-probabilities before"
        hint = (
            ""
            if kind == "like"
            else f"; [on {'entropy above .9' if kind == 'entropy' else 'margin below .2'}] has its own"
        )
        raise InputError(f"{lacking}, and a threshold takes {FEWEST_TURNS}{hint}")
    ordered = sorted(found)
    limit = ordered[math.ceil(quantile * len(found)) - 1]
    if limit == ordered[-1]:
        raise InputError(_no_threshold(kind, limit, ordered.count(limit), len(found)))
    if kind == "like":
        return f"like {math.floor(limit * _PARTS + 1) / _PARTS:.4f} {text}"
    above = math.ceil(limit * _PARTS) / _PARTS
    return f"entropy above {above:.4f}" if kind == "entropy" else f"margin below {max(-above, 0):.4f}"


def _no_threshold(kind: str, highest: float, alike_in_it: int, turns: int) -> str:
    """Why no threshold lets a trigger fire above the highest value, which so many of all turns have."""
    if kind == "like" and highest * _PARTS + 1 > _PARTS:
        return "too many turns are just that text: take [on says ...]"
    if alike_in_it == turns:
        return f"all of {counted(turns, 'turn')} are alike in {kind}, so no threshold tells them apart"
    least = f"a --quantile below {1 - alike_in_it / turns:.2f} has it fire at these"
    return f"{alike_in_it:,} of {counted(turns, 'turn')} have the highest value of {kind}, and none is above; {least}"
