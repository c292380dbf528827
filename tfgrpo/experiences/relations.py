"""Which experiences apply to a task, which supersede or contradict one another, and why: as tensor logic. Pure.

At temperature 0 a condition holds where the task has all of its symbols: words that all tasks which taught it have, and
most others have not. That is equality of symbols and no threshold on likeness. Above 0 a task may also be like those
that taught it: degree = 1 / (1 + exp(-(likeness - theta) / T)), with theta the least likeness that one of these has to
the others, or the most that any other known task has to them, and 1/2 the degree from which the experience applies.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..records import Experience, Task
from ..surfaces.nearest import BUCKETS, shingles
from ..surfaces.triggers import awaited_words
from ..text import words
from .conditions import contradicting, distinctive, named_of
from .tensor_logic import Atom, Deduced, Rule, Tensor, deduce, path

_Row = TypeVar("_Row")

_TOLD = (
    "lacks(t,e) <- names(e,s), not has(t,s)",
    "applies(t,e) <- asked(t), topical(e), not lacks(t,e)",
    "applies(t,e) <- asked(t), general(e)",
    "applies(t,e) <- like(t,e)",
    "supersedes(a,b) <- replaces(a,b)",
    "supersedes(a,c) <- supersedes(a,b), supersedes(b,c)",
    "outdone(t,b) <- applies(t,a), supersedes(a,b)",
    "outdone(t,b) <- applies(t,a), contradicts(a,b), stronger(a,b)",
    "shown(t,e) <- applies(t,e), not outdone(t,e)",
)
"""t: a task that is asked about; e, a, b, c: experiences; s: a symbol."""


def _rule(told: str) -> Rule:
    atoms = [
        Atom(name, letters.replace(",", ""), bool(negated))
        for negated, name, letters in re.findall(r"(not )?(\w+)\(([\w,]+)\)", told)
    ]
    return Rule(atoms[0], tuple(atoms[1:]))


RULES = tuple(map(_rule, _TOLD))


@dataclass(frozen=True, slots=True, eq=False)
class Relations:
    """What was deduced of some experiences and of the tasks that were asked about."""

    experiences: tuple[Experience, ...]
    symbols: tuple[str, ...]
    deduced: Deduced
    degrees: NDArray[np.float64]
    """By analogy, shape (asked, experiences); 0 at temperature 0."""

    def shown(self, task: int = 0) -> tuple[Experience, ...]:
        """The experiences that a task is to be shown, in their order."""
        return self._where(self.deduced.tensors["shown"][task])

    def withheld(self, task: int = 0) -> tuple[Experience, ...]:
        """Those that apply to it, but give way to another one."""
        return self._where(self.deduced.tensors["applies"][task] & self.deduced.tensors["outdone"][task])

    def contradictions(self) -> list[tuple[Experience, Experience]]:
        """Pairs that ask for opposite things under the same condition."""
        pairs = np.argwhere(np.triu(self.deduced.tensors["contradicts"]))
        return [(self.experiences[a], self.experiences[b]) for a, b in pairs]

    def why(self, experience: Experience, task: int = 0) -> str:
        """Why it is shown to a task, or is not: the facts behind the rule that fired."""
        place, known = self.experiences.index(experience), self.deduced.tensors
        if known["outdone"][task, place] and known["applies"][task, place]:
            by = self.deduced.proof("outdone", (task, place)).because
            other, how = self.experiences[by[0].places[1]], by[1].atom.relation
            return (
                f"superseded by {other.id}, which applies too" if how == "supersedes" else f"it contradicts {other.id}"
            )
        if not known["applies"][task, place]:
            lacking = ", ".join(repr(self.symbols[at]) for at in self._missing(task, place))
            return f"the task does not say {lacking}" if lacking else "nothing says that it applies"
        (first, *_) = self.deduced.proof("applies", (task, place)).because
        alike = first.atom.relation == "like"
        return f"by analogy, degree {self.degrees[task, place]:.2f}" if alike else self._by_condition(place)

    def _by_condition(self, place: int) -> str:
        named = [self.symbols[at] for at in np.flatnonzero(self.deduced.tensors["names"][place])]
        if not named:
            return "its condition names nothing that tells tasks apart"
        return f"the task says {', '.join(map(repr, named))}"

    def _missing(self, task: int, place: int) -> list[int]:
        names, has = self.deduced.tensors["names"], self.deduced.tensors["has"]
        return [int(at) for at in np.flatnonzero(names[place] & ~has[task])]

    def _where(self, holds: Tensor) -> tuple[Experience, ...]:
        return tuple(self.experiences[at] for at in np.flatnonzero(holds))


def relate(
    experiences: Sequence[Experience],
    asked: Sequence[str],
    known: Sequence[Task],
    *,
    effects: Mapping[str, float] | None = None,
    temperature: float = 0.0,
) -> Relations:
    """What holds between experiences, the texts of tasks that are asked about, and tasks that are known.

    Of two that contradict each other the one with the larger effect (by id; else the earlier one) is shown. Raises
    InputError where experiences supersede each other in a circle.
    """
    _check_order(experiences)
    texts = [frozenset(words(task.prompt)) for task in known]
    waited = frozenset(word for one in experiences for word in awaited_words(one.text))
    symbols = tuple(sorted(waited.union(distinctive(texts))))
    said = dict(zip((task.id for task in known), texts, strict=True))
    names = _table(experiences, symbols, lambda one: named_of(one, said))
    degrees = _degrees(experiences, asked, known, temperature)
    topical: Tensor = names.sum(axis=1) > 0
    facts: dict[str, Tensor] = {
        "asked": np.ones(len(asked), np.bool_),
        "has": _table(asked, symbols, words),
        "names": names,
        "topical": topical,
        "general": ~topical,
        "like": degrees >= 0.5,
        "replaces": _table(experiences, [one.id for one in experiences], lambda one: (one.origin.parent,)),
        "contradicts": contradicting([one.text for one in experiences]),
        "stronger": _stronger(experiences, effects or {}),
    }
    many = {"t": len(asked), "s": len(symbols), **dict.fromkeys("eabc", len(experiences))}
    return Relations(tuple(experiences), symbols, deduce(facts, RULES, many), degrees)


def _check_order(experiences: Sequence[Experience]) -> None:
    leads = {one.id: [one.origin.parent] for one in experiences if one.origin.parent}
    for name, (parent,) in leads.items():
        if back := path(leads, parent, name):
            raise InputError(f"experiences supersede each other in a circle: {' -> '.join([name, *back])}")


def _table(rows: Sequence[_Row], columns: Sequence[str], of: Callable[[_Row], Iterable[str | None]]) -> Tensor:
    """Which columns a row names, shape (rows, columns)."""
    place, holds = {name: at for at, name in enumerate(columns)}, np.zeros((len(rows), len(columns)), np.bool_)
    for row, one in enumerate(rows):
        holds[row, [place[name] for name in of(one) if name in place]] = True
    return holds


def _stronger(experiences: Sequence[Experience], effects: Mapping[str, float]) -> Tensor:
    """Which of two experiences has the larger effect; of equals the earlier one."""
    sizes = np.array([effects.get(one.id, 0.0) for one in experiences])
    earlier = np.arange(len(sizes))[:, None] < np.arange(len(sizes))[None, :]
    larger: Tensor = (sizes[:, None] > sizes) | ((sizes[:, None] == sizes) & earlier)
    return larger


def _degrees(
    experiences: Sequence[Experience], asked: Sequence[str], known: Sequence[Task], temperature: float
) -> NDArray[np.float64]:
    """How far each task is like those that each experience came from, shape (asked, E); of one task there is no saying.

    Likeness is the cosine of character trigrams weighted by rarity.
    """
    degrees = np.zeros((len(asked), len(experiences)))
    if temperature <= 0 or not known or not asked:
        return degrees
    vectors = _vectors([task.prompt for task in known], asked)
    place = {task.id: at for at, task in enumerate(known)}
    for column, one in enumerate(experiences):
        own = [place[task] for task in one.origin.tasks if task in place]
        if len(own) < 2:
            continue
        others = np.setdiff1d(np.arange(len(known)), own)
        among = vectors[own] @ vectors[own].T - 2 * np.eye(len(own))
        theta = max(among.max(axis=1).min(), (vectors[others] @ vectors[own].T).max(initial=0.0))
        nearest = (vectors[len(known) :] @ vectors[own].T).max(axis=1)
        degrees[:, column] = 1 / (1 + np.exp(np.clip(-(nearest - theta) / temperature, -500, 500)))
    return degrees


def _vectors(known: Sequence[str], asked: Sequence[str]) -> NDArray[np.float64]:
    """Unit vectors of texts, those that are known first; rarity is counted among them alone."""
    present = np.zeros((len(known) + len(asked), BUCKETS))
    for row, text in enumerate((*known, *asked)):
        present[row, shingles(text)] = 1.0
    rarity = np.log((1 + len(known)) / np.maximum(present[: len(known)].sum(axis=0), 1))
    weighted = present * rarity
    sizes = np.linalg.norm(weighted, axis=1, keepdims=True)
    unit: NDArray[np.float64] = weighted / np.where(sizes > 0, sizes, 1.0)
    return unit
