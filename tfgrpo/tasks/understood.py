"""What was made of a file's fields, in one line: what is asked, what is right, what is left out. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..text import shortened
from .fields import EXPECTATION_FIELDS, SYSTEM_FIELDS, UNSEEN_FIELDS, folded

_MOST = 4
_EXPECTED = {folded(name) for name in EXPECTATION_FIELDS}
_UNSEEN = {folded(name) for name in (*UNSEEN_FIELDS, *SYSTEM_FIELDS)}


@dataclass(frozen=True, slots=True)
class Understood:
    """What entries were understood as, with how many of each."""

    asked: tuple[tuple[str, int], ...] = ()
    answered: tuple[tuple[str, int], ...] = ()
    left: tuple[str, ...] = ()
    """Fields that are no part of any input or answer."""
    notes: tuple[str, ...] = ()
    """What else to say of the file."""

    @classmethod
    def of(
        cls, asked: Iterable[str], answered: Iterable[str], left: Iterable[str], notes: Iterable[str] = ()
    ) -> "Understood":
        """What was understood of entries, in their order."""
        ways, rights = (tuple(Counter(found).most_common()) for found in (asked, answered))
        return cls(ways, rights, tuple(dict.fromkeys(left)), tuple(dict.fromkeys(notes)))

    @property
    def line(self) -> str:
        """All of it, but for the notes."""
        left = [f"left out: {shortened(', '.join(self.left), 200)}"] if self.left else []
        return "; ".join([f"input: {_either_of(self.asked)}", f"answer: {_either_of(self.answered)}", *left])

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to tell: one field asked, one field right, and none of the rest could be meant."""
        one = len(self.asked) == 1 and len(self.answered) <= 1 and " " not in self.asked[0][0]
        return one and not self.warnings and all(" " not in name for name, _ in self.answered)

    @property
    def unseen(self) -> tuple[str, ...]:
        """Fields left out that look like parts of the question."""
        return tuple(name for name in self.left if folded(name) in _UNSEEN)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may be wrong, each with what to do."""
        notes = (*self.notes, *self._facts)
        if not self.unseen:
            return notes
        tools = "; tools go to the model with --request" if {"tools", "functions"} & {*self.unseen} else ""
        show = f"the model will not see {shortened(', '.join(self.unseen))}: --template shows what it should{tools}"
        return (*notes, show)

    @property
    def _facts(self) -> tuple[str, ...]:
        """What to say where there is no answer, and a rubric made of what it must say or keep to."""
        told = [name for name in self.left if folded(name) in _EXPECTED]
        if not told or "rubric" not in self.left or all(name != "none" for name, _ in self.answered):
            return ()
        return (f"{' and '.join(told)} must hold as a whole, so they are no answer; --reward judge goes by them",)


def _either_of(found: tuple[tuple[str, int], ...]) -> str:
    if len(found) == 1:
        return found[0][0]
    shown = ", ".join(f"{name} ({count:,})" for name, count in found[:_MOST])
    return f"{shown}, ..." if len(found) > _MOST else shown
