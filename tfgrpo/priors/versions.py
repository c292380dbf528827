"""Versions of a prior in one namespace: which were served, how two differ, who descends from whom. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..model.families import same_family
from ..records import Demonstration, Experience, Option, Prior, Snapshot
from ..store import SERVING, LineageEntry, Namespace

Entry = TypeVar("Entry", Experience, Demonstration)


@dataclass(frozen=True, slots=True)
class BiasChange:
    """One token's bias in two priors, in nats; None where it has none."""

    token: int
    piece: bytes
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class OffsetChange:
    """The offset of one option of a question in two priors, in nats; None where it has none."""

    instructions: str
    option: Option
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What sets one prior apart from another."""

    added: tuple[Experience, ...]
    removed: tuple[Experience, ...]
    biases: tuple[BiasChange, ...]
    """By token; those that are equal are left out."""
    reordered: bool
    """The experiences that both hold are shown in another order."""
    settings: Mapping[str, tuple[str | None, str | None]]
    """`tokenizer`, `template`, `instruction`, `nearest` (as text) and `embedding`, before and after, if they differ."""
    shown: tuple[Demonstration, ...] = ()
    """Demonstrations that only the second prior holds."""
    no_longer_shown: tuple[Demonstration, ...] = ()
    offsets: tuple[OffsetChange, ...] = ()
    """By question, then by option; those that are equal are left out."""
    reshuffled: bool = False
    """The demonstrations that both hold stand in another order."""


def changes(before: Prior, after: Prior) -> Changes:
    """How `after` differs from `before`."""
    old, new = _by_id(before.experiences), _by_id(after.experiences)
    then, now = _by_id(before.demonstrations), _by_id(after.demonstrations)
    pairs = {
        "tokenizer": (before.tokenizer, after.tokenizer),
        "template": (before.template, after.template),
        "instruction": (before.instruction, after.instruction),
        "nearest": (_nearest(before), _nearest(after)),
        "embedding": (before.embedding or None, after.embedding or None),
    }
    return Changes(
        added=_missing(new, old),
        removed=_missing(old, new),
        biases=tuple(_bias_changes(before, after)),
        reordered=_reordered(old, new),
        settings={name: pair for name, pair in pairs.items() if pair[0] != pair[1]},
        shown=_missing(now, then),
        no_longer_shown=_missing(then, now),
        offsets=tuple(_offset_changes(before, after)),
        reshuffled=_reordered(then, now),
    )


def _by_id(entries: Iterable[Entry]) -> dict[str, Entry]:
    return {entry.id: entry for entry in entries}


def _missing(here: Mapping[str, Entry], there: Mapping[str, Entry]) -> tuple[Entry, ...]:
    return tuple(entry for key, entry in here.items() if key not in there)


def _reordered(old: Mapping[str, Entry], new: Mapping[str, Entry]) -> bool:
    """Whether what both hold stands in another order."""
    return [key for key in old if key in new] != [key for key in new if key in old]


def _nearest(prior: Prior) -> str | None:
    return str(prior.nearest) if prior.nearest else None


def _bias_changes(before: Prior, after: Prior) -> Iterator[BiasChange]:
    old, new = ({entry.token: entry for entry in prior.biases} for prior in (before, after))
    for token in sorted(old.keys() | new.keys()):
        was, now = old.get(token), new.get(token)
        some = now or was
        if some and (was is None or now is None or was.bias != now.bias):
            yield BiasChange(token, some.piece, was.bias if was else None, now.bias if now else None)


def _offset_changes(before: Prior, after: Prior) -> Iterator[OffsetChange]:
    old, new = _offsets(before), _offsets(after)
    for place in sorted(old.keys() | new.keys(), key=str):
        if old.get(place) != new.get(place):
            yield OffsetChange(place[1], place[2], old.get(place), new.get(place))


def _offsets(prior: Prior) -> dict[tuple[str, str, Option, str], float]:
    """By kind and words of the question, the option, and its type: the text `True` is another option than true."""
    return {
        (entry.kind, entry.instructions, one.option, type(one.option).__name__): one.offset
        for entry in prior.questions
        for one in entry.offsets
    }


def served(events: Iterable[LineageEntry]) -> tuple[LineageEntry, ...]:
    """The events that made priors live one after the other, less those whose prior was rolled back since.

    The last one is what is live, the one before it what a rollback goes back to.
    """
    stack: list[LineageEntry] = []
    for event in events:
        if event.state in SERVING:
            stack.append(event)
        elif event.state == "rolled back":
            stack = [one for one in stack if one.prior != event.prior]
        stack = [one for n, one in enumerate(stack) if n + 1 == len(stack) or stack[n + 1].prior != one.prior]
    return tuple(stack)


def run_behind(events: Iterable[LineageEntry]) -> str:
    """The run that made a prior what it is, from the events of that prior; empty when no run did, or none is known.

    What superseded it was the work of another.
    """
    return next((event.run for event in events if event.run and event.state != "superseded"), "")


def tree(priors: Sequence[Prior]) -> Iterator[tuple[str, Prior]]:
    """Each prior after its parent, with the branches to draw before it; one whose parent is missing is a root."""
    present = {prior.id for prior in priors}
    children: dict[str | None, list[Prior]] = {}
    for prior in priors:
        parent = prior.parent if prior.parent in present and prior.parent != prior.id else None
        children.setdefault(parent, []).append(prior)
    waiting = [("", "", root) for root in reversed(children.pop(None, []))]
    while waiting:
        branch, stem, prior = waiting.pop()
        yield branch, prior
        below = children.pop(prior.id, [])
        for place, child in reversed(list(enumerate(below, 1))):
            last = place == len(below)
            waiting.append((stem + ("└─ " if last else "├─ "), stem + ("   " if last else "│  "), child))


def model_notice(namespace: str, known: Iterable[Namespace], live: Snapshot | None, model: str) -> str | None:
    """What to tell a person who uses a namespace with a model of another family than it was learned on, or None."""
    first = next((entry.model for entry in known if entry.name == namespace), None)
    learned = live.frame.model if live else first
    if learned is None or same_family(learned, model):
        return None
    return f"namespace {namespace} was learned on {learned}, and this is {model}: what helped there may hurt here"
