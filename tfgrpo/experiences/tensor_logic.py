"""Rules over Boolean tensors, to a fixpoint: exact deduction, with the facts and rules behind each result. Pure.

A relation is a Boolean tensor, with a place for each thing in each of its positions. A rule is an einsum and a step
(tensor logic, arXiv 2510.12269): `outdone(t,b) <- applies(t,a), supersedes(a,b)` is

    outdone[t,b] = 1 where sum over a of applies[t,a] supersedes[a,b] > 0

and an atom that is negated enters as one minus its tensor. Rules are repeated until nothing new follows; what others
negate is finished before them, so a relation that depends on its own negation is an error.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

_Row = TypeVar("_Row")
Tensor: TypeAlias = NDArray[np.bool_]
Places: TypeAlias = tuple[int, ...]
_LARGE = 1_000
"""Entries of a tensor from which it pays to look for the best order of its products."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A relation of some things: `Atom("applies", "te")`; each letter stands for one thing throughout a rule."""

    relation: str
    letters: str
    negated: bool = False

    def __str__(self) -> str:
        return f"{'not ' if self.negated else ''}{self.relation}({','.join(self.letters)})"


@dataclass(frozen=True, slots=True)
class Rule:
    """The head holds of whatever all of the body holds of, whichever things the letters are that the head lacks."""

    head: Atom
    body: tuple[Atom, ...]

    def __str__(self) -> str:
        return f"{self.head} <- {', '.join(map(str, self.body))}"


@dataclass(frozen=True, slots=True)
class Proof:
    """Why something holds, or (negated) that it does not: a fact where no rule stands behind it."""

    atom: Atom
    places: Places
    rule: Rule | None = None
    because: tuple["Proof", ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Deduced:
    """All that follows from facts by rules."""

    tensors: Mapping[str, Tensor]
    rules: tuple[Rule, ...]
    rounds: Mapping[str, NDArray[np.int64]] = field(repr=False)
    """In which round each entry was first seen to hold; 0: a fact; -1: it does not hold."""

    def proof(self, relation: str, places: Places) -> Proof:
        """Why it holds; only of what does."""
        round_, letters = self.rounds[relation][places], _letters(len(places))
        if round_ == 0:
            return Proof(Atom(relation, letters), places)
        for rule in self.rules:
            if rule.head.relation == relation and (found := self._binding(rule, places, int(round_))) is not None:
                because = tuple(self._why(atom, tuple(found[letter] for letter in atom.letters)) for atom in rule.body)
                return Proof(rule.head, places, rule, because)
        raise InputError(f"{relation}{places} does not hold")

    def _why(self, atom: Atom, places: Places) -> Proof:
        return Proof(atom, places) if atom.negated else self.proof(atom.relation, places)

    def _binding(self, rule: Rule, places: Places, before: int) -> dict[str, int] | None:
        """What the letters of a rule stand for where it made an entry hold, by what held before that round."""
        bound = dict(zip(rule.head.letters, places, strict=True))
        operands, terms = [], []
        for atom in rule.body:
            held = (self.rounds[atom.relation] >= 0) & (self.rounds[atom.relation] < before)
            at = tuple(bound.get(letter, slice(None)) for letter in atom.letters)
            operands.append((~self.tensors[atom.relation] if atom.negated else held)[at].astype(np.float32))
            terms.append("".join(letter for letter in atom.letters if letter not in bound))
        free = "".join(dict.fromkeys("".join(terms)))
        holds = np.einsum(f"{','.join(terms)}->{free}", *operands) > 0
        if not holds.any():
            return None
        return bound | dict(zip(free, (int(place) for place in np.argwhere(holds)[0]), strict=True))


def as_tensor(rows: Sequence[_Row], columns: Sequence[str], of: Callable[[_Row], Iterable[str | None]]) -> Tensor:
    """Which columns a row names, shape (rows, columns)."""
    place, holds = {name: at for at, name in enumerate(columns)}, np.zeros((len(rows), len(columns)), np.bool_)
    for row, one in enumerate(rows):
        holds[row, [place[name] for name in of(one) if name in place]] = True
    return holds


def deduce(facts: Mapping[str, Tensor], rules: Sequence[Rule], sizes: Mapping[str, int]) -> Deduced:
    """All that follows; `sizes` says of each letter how many things it may stand for.

    Raises InputError for rules that cannot be: of a relation that depends on its own negation it names the cycle.
    """
    tensors = {name: tensor.astype(np.bool_) for name, tensor in facts.items()}
    for rule in rules:
        _check(rule)
        tensors.setdefault(rule.head.relation, np.zeros([sizes[letter] for letter in rule.head.letters], np.bool_))
    for atom in (atom for rule in rules for atom in rule.body):
        if atom.relation not in tensors:
            raise InputError(f"nothing is known of {atom.relation}, neither a fact nor a rule that leads to it")
    rounds = {name: np.where(tensor, 0, -1).astype(np.int64) for name, tensor in tensors.items()}
    number = 0
    for stratum in _strata(rules):
        changed = True
        while changed:
            number, changed = number + 1, False
            new = [(rule.head.relation, _fired(rule, tensors)) for rule in stratum]
            for name, fired in new:
                fresh = fired & ~tensors[name]
                tensors[name] = tensors[name] | fresh
                rounds[name][fresh] = number
                changed = changed or bool(fresh.any())
    return Deduced(tensors, tuple(rules), rounds)


def _fired(rule: Rule, tensors: Mapping[str, Tensor]) -> Tensor:
    terms = ",".join(atom.letters for atom in rule.body)
    operands = [(~tensors[atom.relation] if atom.negated else tensors[atom.relation]) for atom in rule.body]
    whole = f"{terms}->{rule.head.letters}"
    counts = np.einsum(
        whole, *(one.astype(np.float32) for one in operands), optimize=max(one.size for one in operands) > _LARGE
    )
    fired: Tensor = counts > 0
    return fired


def _check(rule: Rule) -> None:
    """Raise InputError for a head that the body says nothing of, that is negated, or that names a thing twice."""
    said = {letter for atom in rule.body for letter in atom.letters}
    twice = len(set(rule.head.letters)) < len(rule.head.letters)
    if rule.head.negated or twice or not said.issuperset(rule.head.letters):
        raise InputError(f"rule {rule}: its head must be plain, of different things, each of them in its body")


def _strata(rules: Sequence[Rule]) -> list[list[Rule]]:
    """The rules in the order in which they are finished; those that lead to the same relation together."""
    level = {rule.head.relation: 0 for rule in rules}
    for _ in range(len(level) + 1):
        before = dict(level)
        for rule in rules:
            needed = [level[atom.relation] + atom.negated for atom in rule.body if atom.relation in level]
            level[rule.head.relation] = max(level[rule.head.relation], *needed, 0)
        if level == before:
            ordered = sorted(set(level.values()))
            return [[rule for rule in rules if level[rule.head.relation] == at] for at in ordered]
    raise InputError(f"rules: {' -> '.join(_negative_cycle(rules))}: it depends on its own negation")


def _negative_cycle(rules: Sequence[Rule]) -> list[str]:
    """A way from a relation over its negation back to itself."""
    needs: dict[str, list[str]] = {}
    for rule in rules:
        needs.setdefault(rule.head.relation, []).extend(atom.relation for atom in rule.body)
    for rule in rules:
        for atom in (atom for atom in rule.body if atom.negated):
            if back := path(needs, atom.relation, rule.head.relation):
                return [rule.head.relation, *back]
    return []


def path(leads: Mapping[str, Sequence[str]], start: str, end: str) -> list[str]:
    """The shortest way from one name to another, both included; empty where there is none."""
    ways, seen = [[start]], {start}
    for way in ways:
        if way[-1] == end:
            return way
        for to in leads.get(way[-1], ()):
            if to not in seen:
                seen.add(to)
                ways.append([*way, to])
    return []


def _letters(count: int) -> str:
    return "abcdefghij"[:count]
