"""The edits of one step brought together by rule. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..records import Edit, Experience
from .answers import Proposals, union
from .words import words


def consolidate(edits: Sequence[Edit], current: Sequence[Experience]) -> Proposals:
    """The edits of a step, in task order, less those that have no object left.

    Equal edits become one with the tasks of all. DELETE beats UPDATE of the same target. What names an experience that
    is not current, or adds one that is, is dropped with the reason.
    """
    ids = {experience.id for experience in current}
    texts = {tuple(words(experience.text)) for experience in current}
    deleted = {edit.target for edit in edits if edit.operation == "DELETE"}
    merged: dict[tuple[str, str | None, str, tuple[str, ...]], Edit] = {}
    dropped = []
    for edit in edits:
        if edit.operation == "NONE":
            continue
        said = () if edit.operation == "DELETE" else tuple(words(edit.text))
        if edit.operation != "ADD" and edit.target not in ids:
            dropped.append(f"{edit.operation} of {edit.target}: no such experience now")
        elif edit.operation == "UPDATE" and edit.target in deleted:
            dropped.append(f"UPDATE of {edit.target}: it is to be deleted")
        elif edit.operation != "DELETE" and (not said or said in texts):
            dropped.append(f"{edit.operation} {edit.text!r}: {'the list has it already' if said else 'it has no text'}")
        else:
            key = (edit.operation, edit.target, edit.kind, said)
            merged[key] = replace(edit, tasks=union((merged.get(key, edit).tasks, edit.tasks)))
    return Proposals(tuple(merged.values()), tuple(dropped))


def filled_up(merged: Sequence[Edit], proposed: Sequence[Edit], places: int) -> tuple[Edit, ...]:
    """The merged edits, and then those proposed that come from no task of theirs, while there are places.

    What most groups propose comes first.
    """
    sources = {task for edit in merged for task in edit.tasks}
    left = [edit for edit in proposed if sources.isdisjoint(edit.tasks)]
    left.sort(key=lambda edit: -len(edit.tasks))
    return (*merged, *left[: max(0, places - len(merged))])


def repeats(edits: Sequence[Edit], current: Sequence[Experience]) -> bool:
    """Whether edits say only what the list says already: a small model copies what it is shown."""
    texts = {tuple(words(experience.text)) for experience in current}
    return bool(edits) and all(tuple(words(edit.text)) in texts for edit in edits)


def one_update_each(proposals: Proposals) -> Proposals:
    """Of several UPDATEs of one target the first; the others are dropped with the reason."""
    updated: set[str | None] = set()
    edits, dropped = [], list(proposals.dropped)
    for edit in proposals.edits:
        if edit.operation == "UPDATE" and edit.target in updated:
            dropped.append(f"UPDATE of {edit.target} to {edit.text!r}: another one came first")
            continue
        if edit.operation == "UPDATE":
            updated.add(edit.target)
        edits.append(edit)
    return replace(proposals, edits=tuple(edits), dropped=tuple(dropped))


def need_merging(edits: Sequence[Edit], room: int = 1) -> bool:
    """Whether a model has to consolidate: more than `room` ADDs, or two UPDATEs of one target."""
    added = sum(edit.operation == "ADD" for edit in edits)
    updates = Counter(edit.target for edit in edits if edit.operation == "UPDATE")
    return added > room or any(count > 1 for count in updates.values())
