"""A person at the experiences of a namespace, who adds, edits, approves, refuses and retires them.

A person's experience goes through the same admission as a distiller's, and is then on trial: nothing is kept without
measurement. Everything is appended with the name of who did it; nothing that was is changed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..errors import InputError
from ..experiences.conditions import contradicting
from ..experiences.edits import Edit
from ..experiences.library import Library, apply
from ..records import Decision, Experience, Fate
from ..settings import Settings
from ..store import Store
from ..surfaces.triggers import trigger_of
from .offered import Offered, decided_before, fate_of_new, library_of, person_named, tasks_used

_NO_EXPERIENCE = "tfgrpo experience list shows what there is"


class Curator:
    """One person at the library of one namespace; raises InputError for what cannot be done, and then changes nothing.

    `by` is the person's name, and stands with everything that is written.
    """

    def __init__(self, store: Store, namespace: str, by: str, settings: Settings | None = None) -> None:
        self._store, self._namespace, self._by = store, namespace, person_named(by)
        self._settings = settings or Settings()
        self._tasks = tasks_used(store, namespace)

    def add(self, text: str) -> Experience:
        """Put a text on trial."""
        library, added = self._library(), Edit("ADD", text)
        trigger_of(text)
        return self._adopt(library, self._admitted(library, added, "added"), added)

    def edit(self, given: str, text: str) -> Experience:
        """Put a successor on trial; what it replaces is retired if it was only on trial, and stays if it was kept."""
        library, old = self._found(given)
        trigger_of(text)
        edited = Edit("UPDATE", text, old.id, old.origin.tasks, old.kind)
        after = self._admitted(library, edited, f"edited from {old.id}")
        return self._adopt(library, self._replaced(after, old.id, edited), edited)

    def approve(self, given: str) -> Experience:
        """Put on trial what waits for a person, or what was refused or retired, if admission lets it."""
        library, experience = self._found(given)
        rest = tuple(decision for decision in library.decisions if decision.experience != experience.id)
        if experience in library.current:
            raise InputError(f"{experience.id} is {self._verdict(library, experience)} already")
        origin = experience.origin
        again = Edit(
            "UPDATE" if origin.parent else "ADD", experience.text, origin.parent, origin.tasks, experience.kind
        )
        admitted = self._admitted(replace(library, decisions=rest), again, "approved")
        after = library.decided(admitted.standing[experience.id])
        return self._adopt(library, self._replaced(after, origin.parent, again), again)

    def refuse(self, given: str, why: str) -> Experience:
        """Refuse what waits for a person or is on trial; it is not proposed again."""
        library, experience = self._found(given)
        if experience not in library.having("awaiting review", "on trial"):
            raise InputError(f"{experience.id} is {self._verdict(library, experience)}; only what waits or is on trial"
                             " can be refused")  # fmt: skip
        return self._decided(experience, "refused", why)

    def retire(self, given: str, why: str) -> Experience:
        """Take an experience out of later learning; priors that hold it stay as they are."""
        library, experience = self._found(given)
        if experience not in library.having("awaiting review", "on trial", "kept"):
            raise InputError(f"{experience.id} is {self._verdict(library, experience)} already")
        return self._decided(experience, "retired", why)

    def offer(self, texts: Iterable[str], why: str) -> tuple[Offered, ...]:
        """Put texts on trial while there are places; what else is admitted waits for review.

        What was decided here, be it by a person, a distiller or credit, stays as it is.
        """
        before = after = self._library()
        outcomes = []
        for text in texts:
            after, outcome = self._offered(after, text, why)
            outcomes.append(outcome)
        self._save(before, after)
        return tuple(outcomes)

    def _offered(self, library: Library, text: str, why: str) -> tuple[Library, Offered]:
        experience = Experience(text)
        if last := library.standing.get(experience.id):
            return library, decided_before(experience, last)
        settings = replace(self._settings, review=fate_of_new(library, experience, self._settings) != "on trial")
        try:
            after = self._admitted(library, Edit("ADD", text), why, settings)
        except InputError as error:
            return library, Offered(text, "refused", str(error), None)
        return after, Offered(text, self._verdict(after, experience), None, experience.id)

    def _library(self) -> Library:
        return library_of(self._store, self._namespace)

    def _found(self, given: str) -> tuple[Library, Experience]:
        library, wanted = self._library(), self._store.history(self._namespace, given).experience.id
        found = next((entry for entry in library.experiences if entry.id == wanted), None)
        if found is None:
            raise InputError(f"experience {wanted} is not in namespace {self._namespace}; {_NO_EXPERIENCE}")
        return library, found

    def _admitted(self, library: Library, edit: Edit, why: str, settings: Settings | None = None) -> Library:
        """The library with the edit admitted by the distiller's own rules, as decided by the person."""
        _refuse_contradiction(edit, [entry for entry in library.current if entry.id != edit.target])
        after = apply(library, [edit], self._tasks, settings or self._settings)
        new = after.decisions[len(library.decisions) :]
        if not new:
            same = _proposed(edit)
            hint = "" if same in library.current else f"; tfgrpo experience approve {same.id} puts it on trial"
            raise InputError(f"{same.id} has this text, and is {self._verdict(library, same)} already{hint}")
        if new[-1].verdict in ("refused", "waiting"):
            raise InputError(f"not admitted: {new[-1].why}")
        told = tuple(replace(decision, by=self._by) for decision in new[:-1])
        return replace(after, decisions=(*library.decisions, *told, replace(new[-1], by=self._by, why=why)))

    def _replaced(self, library: Library, old: str | None, new: Edit) -> Library:
        """The library with a predecessor retired that is still on trial."""
        last = library.standing.get(old or "")
        if last is None or last.verdict != "on trial":
            return library
        return library.decided(Decision(last.experience, "retired", f"replaced by {_proposed(new).id}", self._by))

    def _adopt(self, before: Library, after: Library, edit: Edit) -> Experience:
        """Write down what is new; returns the experience that the edit is about."""
        self._save(before, after)
        return next(entry for entry in after.experiences if entry == _proposed(edit))

    def _save(self, before: Library, after: Library) -> None:
        known = {entry.id: entry.origin for entry in before.experiences}
        new = [entry for entry in after.experiences if known.get(entry.id) != entry.origin]
        self._store.add_experiences(self._namespace, new)
        self._store.add_decisions(self._namespace, after.decisions[len(before.decisions) :])

    def _decided(self, experience: Experience, verdict: Fate, why: str) -> Experience:
        self._store.add_decisions(self._namespace, [Decision(experience.id, verdict, why, self._by)])
        return experience

    def _verdict(self, library: Library, experience: Experience) -> str:
        last = library.standing.get(experience.id)
        return last.verdict if last else "undecided"


def _refuse_contradiction(edit: Edit, others: Sequence[Experience]) -> None:
    """Raise InputError for a text that asks for the opposite of another one under the same condition."""
    odds = contradicting([edit.text, *(entry.text for entry in others)])[0, 1:].tolist()
    if rival := next((entry for entry, at_odds in zip(others, odds, strict=True) if at_odds), None):
        hint = f"tfgrpo experience retire {rival.id} takes that one out first"
        raise InputError(f"not admitted: it contradicts {rival.id} under the same condition; {hint}")


def _proposed(edit: Edit) -> Experience:
    """The experience that an edit proposes, without an origin; the origin is no part of what it is."""
    return Experience(edit.text, edit.kind)
