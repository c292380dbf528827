"""Which experiences apply to a task, which supersede or contradict one another, and why: as tensor logic. Pure.

At temperature 0 a condition holds where the task has all of its symbols: words that all tasks which taught it have, and
most others have not. That is equality of symbols and no threshold on likeness. Above 0 another word may stand for a
symbol that the task lacks, to the degree 1 / (1 + exp(-(likeness - theta) / T)), with theta 1/2, or the most that a
word of a known task without the symbol has to it. A condition holds to the product of its symbols' degrees, and applies
above 1/2: one analogy is decided by theta alone, and of several each costs more the higher T is.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..records import Experience, Task
from ..surfaces.triggers import awaited_words, moment_of
from ..text import words
from .analogies import analogies
from .conditions import contradicting, distinctive, named_of
from .tensor_logic import Atom, Deduced, Rule, Tensor, as_tensor, deduce

APPLIES = 0.5
"""The degree above which a condition holds."""

_TOLD = (
    "lacks(t,e) <- names(e,s), not has(t,s)",
    "applies(t,e) <- asked(t), topical(e), not lacks(t,e)",
    "applies(t,e) <- asked(t), general(e)",
    "applies(t,e) <- like(t,e)",
    "supersedes(a,b) <- replaces(a,b)",
    "supersedes(a,c) <- supersedes(a,b), supersedes(b,c)",
    "outdone(t,b) <- applies(t,a), supersedes(a,b), said_with(a,b)",
    "outdone(t,b) <- applies(t,a), contradicts(a,b), stronger(a,b), said_with(a,b)",
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
    """To which each condition holds, shape (asked, experiences); 0 or 1 at temperature 0."""
    stands: tuple[Mapping[str, str], ...]
    """Of each task that is asked about the likest word that it has, for each symbol that it lacks; none at 0."""

    def shown(self, task: int = 0) -> tuple[Experience, ...]:
        """The experiences that a task is to be shown from its beginning, in their order."""
        return tuple(one for one in self._where(self.deduced.tensors["shown"][task]) if not moment_of(one.text))

    def waiting(self, task: int = 0) -> tuple[Experience, ...]:
        """Those that it is to be shown once their moment has come."""
        return tuple(one for one in self._where(self.deduced.tensors["shown"][task]) if moment_of(one.text))

    def withheld(self, task: int = 0) -> tuple[Experience, ...]:
        """Those that apply to it, but give way to another one."""
        return self._where(self.deduced.tensors["applies"][task] & self.deduced.tensors["outdone"][task])

    def contradictions(self) -> list[tuple[Experience, Experience]]:
        """Pairs that ask for opposite things under the same condition."""
        pairs = np.argwhere(np.triu(self.deduced.tensors["contradicts"]))
        return [(self.experiences[a], self.experiences[b]) for a, b in pairs]

    def why(self, experience: Experience, task: int = 0) -> str:
        """Why it is shown to a task, waits, or is not shown: the facts behind the rule that fired."""
        place, known = self.experiences.index(experience), self.deduced.tensors
        if known["outdone"][task, place] and known["applies"][task, place]:
            by = self.deduced.proof("outdone", (task, place)).because
            other, how = self.experiences[by[0].places[1]], by[1].atom.relation
            return (
                f"superseded by {other.id}, which applies too" if how == "supersedes" else f"it contradicts {other.id}"
            )
        if not known["applies"][task, place]:
            lacking = ", ".join(repr(self.symbols[at]) for at in self._missing(task, place))
            alike = f"; {self._by_analogy(task, place)}, not above {APPLIES:.2f}" if self.stands[task] else ""
            return f"the task does not say {lacking}{alike}"
        (first, *_) = self.deduced.proof("applies", (task, place)).because
        by = self._by_analogy(task, place) if first.atom.relation == "like" else self._by_condition(place)
        moment = moment_of(experience.text)
        return f"waits for its moment, {moment}; {by}" if moment else by

    def _by_analogy(self, task: int, place: int) -> str:
        lacking, words_of = [self.symbols[at] for at in self._missing(task, place)], self.stands[task]
        stand = ", ".join(f"{words_of[symbol]!r} for {symbol!r}" for symbol in lacking)
        return f"by analogy, {stand}: degree {self.degrees[task, place]:.2f}"

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
    earlier: Sequence[Experience] = (),
) -> Relations:
    """What holds between experiences, the texts of tasks that are asked about, and tasks that are known.

    Of two that contradict each other the one with the larger effect (by id; else the earlier one) is shown. `earlier`
    are experiences that are no more, over which an update may go back to one that is. Raises InputError where
    experiences supersede each other in a circle.
    """
    texts = [frozenset(words(task.prompt)) for task in known]
    waited = frozenset(word for one in experiences for word in awaited_words(one.text))
    symbols = tuple(sorted(waited.union(distinctive(texts))))
    said = dict(zip((task.id for task in known), texts, strict=True))
    names = as_tensor(experiences, symbols, lambda one: named_of(one, said))
    has = as_tensor(asked, symbols, words)
    degrees, stands = has.astype(np.float64), tuple[dict[str, str], ...]({} for _ in asked)
    if temperature > 0:
        degrees, stands = analogies(asked, texts, symbols, names.sum(axis=0) > 0, temperature)
    held = np.where(names, degrees[:, None], 1.0).prod(axis=2)
    topical: Tensor = names.sum(axis=1) > 0
    facts: dict[str, Tensor] = {
        "asked": np.ones(len(asked), np.bool_),
        "has": has,
        "names": names,
        "topical": topical,
        "general": ~topical,
        "like": (held > APPLIES) & topical,
        "replaces": _replaces(experiences, earlier),
        "contradicts": contradicting([one.text for one in experiences]),
        "stronger": _stronger(experiences, effects or {}),
        "said_with": _said_with(experiences),
    }
    many = {"t": len(asked), "s": len(symbols), **dict.fromkeys("eabc", len(experiences))}
    return Relations(tuple(experiences), symbols, deduce(facts, RULES, many), held, stands)


def _replaces(experiences: Sequence[Experience], earlier: Sequence[Experience]) -> Tensor:
    """Which experience was made from which, by one update or over some that are no more."""
    leads = {one.id: one.origin.parent for one in (*earlier, *experiences)}
    here = {one.id for one in experiences}

    def before(one: Experience) -> Iterable[str | None]:
        way = [one.id]
        while (parent := leads.get(way[-1])) is not None and parent not in way:
            way.append(parent)
        if parent == one.id:
            raise InputError(f"experiences supersede each other in a circle: {' -> '.join([*way, parent])}")
        return [name for name in way[1:] if name in here][:1]

    return as_tensor(experiences, [one.id for one in experiences], before)


def _said_with(experiences: Sequence[Experience]) -> Tensor:
    """Which experience is said whenever another one is: it waits for no moment, or for that of the other."""
    moments = np.array([moment_of(one.text) for one in experiences])
    together: Tensor = (moments[:, None] == "") | (moments[:, None] == moments)
    return together


def _stronger(experiences: Sequence[Experience], effects: Mapping[str, float]) -> Tensor:
    """Which of two experiences has the larger effect; of equals the earlier one."""
    sizes = np.array([effects.get(one.id, 0.0) for one in experiences])
    earlier = np.arange(len(sizes))[:, None] < np.arange(len(sizes))[None, :]
    larger: Tensor = (sizes[:, None] > sizes) | ((sizes[:, None] == sizes) & earlier)
    return larger
