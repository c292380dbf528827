"""What was seen to follow on an action, shown as turns: a state and what was done, then what followed. Pure.

A rule says in words of its own what a model has to find in a state; seen transitions stand in the state's words, right
before the question, and a small model that follows no rule can use them (`docs/neighbours.md`). So what was seen is
measured beside the rules, action by action, by the same regression (`foreseen.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from ..hashing import content_id
from ..records import Demonstration, Experience, Message, Prior, Task, Variant
from ..surfaces.nearest import Pool, nearest, pool_of
from ..text import counted, shortened
from .transitions import Transition, what_follows

SEEN_SHOWN = 3
"""Transitions that a request is shown: those whose states are nearest."""
_MOST = 16
"""Transitions that a request for an action is shown at most."""
_POOLS = 64
"""Actions whose transitions are kept ready."""


@dataclass(frozen=True, slots=True)
class SeenAction:
    """The transitions of one action, to be shown where it is done."""

    action: str
    """Empty: of all actions that were seen too seldom to be measured one by one."""
    seen: tuple[Transition, ...]
    apart: frozenset[str] = frozenset()
    """Of those, the actions that are measured one by one."""
    id: str = field(init=False)

    def __post_init__(self) -> None:
        shown = [[one.before, one.action, one.after] for one in self.seen]
        object.__setattr__(self, "id", content_id("seen", self.action, shown))

    @property
    def told(self) -> str:
        """It in words, for people."""
        whose = repr(shortened(self.action)) if self.action else "other actions"
        return f"what was seen to follow on {whose} ({counted(len(self.seen), 'transition')})"

    @property
    def dealt(self) -> Experience:
        """It as what rollouts are dealt."""
        return Experience(self.id, "demonstration")

    def covers(self, action: str) -> bool:
        """Whether it is shown where this is done."""
        return action == self.action if self.action else action not in self.apart

    def nearest_to(self, before: str, action: str) -> tuple[Transition, ...]:
        """The transitions to show in a state, the nearest last."""
        pool = _pool(tuple(f"{one.before}\n{one.action}" for one in self.seen))
        return tuple(self.seen[place] for place in reversed(nearest(pool, f"{before}\n{action}", SEEN_SHOWN)))


@lru_cache(_POOLS)
def _pool(texts: tuple[str, ...]) -> Pool:
    return pool_of(texts)


def seen_actions(transitions: Sequence[Transition]) -> tuple[SeenAction, ...]:
    """The actions that were seen often enough to be shown, each with its transitions, and what is left as one."""
    by_action: dict[str, list[Transition]] = {}
    for one in transitions:
        by_action.setdefault(one.action, []).append(one)
    often = {action: tuple(seen) for action, seen in by_action.items() if action and len(seen) >= SEEN_SHOWN}
    rest = tuple(one for one in transitions if one.action not in often)
    found = [SeenAction(action, seen) for action, seen in often.items()]
    return (*found, *([SeenAction("", rest, frozenset(often))] if rest else []))


def of_action(actions: Sequence[SeenAction], action: str) -> SeenAction | None:
    """What is shown where this action is done; None where nothing was seen that could be."""
    return next((one for one in actions if one.covers(action)), None)


def behind(asked: Task, near: Sequence[Transition]) -> Task:
    """A question behind transitions that were seen, as turns right before it."""
    *before, last = asked.messages
    turns = list[Message]()
    for one in near:
        turns.append({"role": "user", "content": what_follows(one.before, one.action)})
        turns.append({"role": "assistant", "content": one.after})
    return replace(asked, input=(*before, *turns, last))


def with_seen(prior: Prior, actions: Sequence[SeenAction]) -> Prior:
    """A prior that also shows, of all these transitions, those nearest to what a request shows."""
    variant = seen_variant(actions)
    if variant is None:
        return prior
    return replace(prior, demonstrations=variant.demonstrations, nearest=variant.nearest, embedding="")


def seen_variant(actions: Sequence[SeenAction]) -> Variant | None:
    """The way to prompt that shows these transitions; None where there are none.

    Where an action is yet to be chosen it shows as many of each, on average, as where it is known.
    """
    pool = {one.id: one for one in (_demonstration(seen) for action in actions for seen in action.seen)}
    if not pool:
        return None
    shown = min(SEEN_SHOWN * len(actions), _MOST, len(pool))
    return Variant(None, tuple(pool.values()), shown, f"{shown} nearest of {len(pool)} transitions seen")


def _demonstration(seen: Transition) -> Demonstration:
    return Demonstration(what_follows(seen.before, seen.action), seen.after, seen.task.id)
