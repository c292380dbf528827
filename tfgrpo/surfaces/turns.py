"""A prior's demonstrations as turns of a conversation: which of them a request is shown, and what they are. No I/O."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from ..records import JSON, Demonstration, Message, Prior, message_text

if TYPE_CHECKING:
    from .nearest import Pool

TURN_TOKENS = 5
"""What marks the beginning and end of one turn, in tokens (ChatML and Llama 3 take four to six)."""
_TURNS = ("user", "assistant", "tool", "function")
_KEPT = 1_024
"""Demonstrations whose turns are kept ready."""
_POOLS = 16
"""Pools that are kept ready."""


@lru_cache(_KEPT)
def turns(demonstration: Demonstration) -> tuple[Message, ...]:
    """What was asked and the answer, as turns; no message of it becomes one of ours to the model, or another role."""
    asked = (message for message in demonstration.messages if message.get("role") in _TURNS)
    return (*asked, {"role": "assistant", "content": demonstration.answer})


def shown_demonstrations(prior: Prior, messages: Sequence[JSON], exclude: str = "") -> tuple[Demonstration, ...]:
    """Those that a request of these messages is shown, in order: all, or the nearest, the nearest of them last.

    `exclude` is the id of the task that is asked: neither its own example is shown nor one that asks the same.
    """
    pool = prior.demonstrations
    if not exclude and not prior.nearest:
        return pool
    own = {place for place, entry in enumerate(pool) if exclude and _gives_away(entry, messages, exclude)}
    if not prior.nearest:
        return tuple(entry for place, entry in enumerate(pool) if place not in own)
    from .nearest import nearest  # a client without a pool gets on without numpy

    found = nearest(_ready(_Same(pool)), question(messages), prior.nearest + len(own))
    return tuple(pool[place] for place in [place for place in found if place not in own][: prior.nearest][::-1])


def make_ready(prior: Prior) -> None:
    """Do beforehand what the first request with a pool would have to wait for."""
    if prior.nearest:
        _ready(_Same(prior.demonstrations))


def turns_text(demonstration: Demonstration, *, answered: bool = True) -> str:
    """A demonstration as text, a line for each turn, for people and for prompts that have no turns."""
    shown = turns(demonstration)[: None if answered else -1]
    return "\n".join(f"{turn['role']}: {message_text(turn)}" for turn in shown)


def demonstration_tokens(demonstration: Demonstration, count: Callable[[str], int]) -> int:
    """What a demonstration adds to a request, in tokens, what marks its turns included."""
    return sum(TURN_TOKENS + count(message_text(message)) for message in turns(demonstration))


def question(messages: Sequence[JSON]) -> str:
    """The text of the last message of a user; empty where there is none."""
    asked = (one for one in reversed(messages) if isinstance(one, Mapping) and one.get("role") == "user")
    return next((message_text(message) for message in asked), "")


def _gives_away(demonstration: Demonstration, messages: Sequence[JSON], task: str) -> bool:
    if demonstration.task == task:
        return True
    asked = list(turns(demonstration)[:-1])
    return (
        bool(asked)
        and asked == [one for one in messages if isinstance(one, Mapping) and one.get("role") in _TURNS][: len(asked)]
    )


class _Same:
    """A tuple of demonstrations as the key of a cache: known by being the same tuple, since its content is large."""

    __slots__ = ("demonstrations",)

    def __init__(self, demonstrations: tuple[Demonstration, ...]) -> None:
        self.demonstrations = demonstrations

    def __hash__(self) -> int:
        return id(self.demonstrations)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.demonstrations is other.demonstrations


@lru_cache(_POOLS)
def _ready(key: _Same) -> "Pool":
    from .nearest import pool_of

    return pool_of([question(entry.messages) for entry in key.demonstrations])
