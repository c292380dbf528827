"""The tasks that may be measured on, since neither learning nor the gate has seen them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..hashing import canonical
from ..records import Task
from ..store import Store
from ..text import counted


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The tasks of a source that may be measured on."""

    tasks: tuple[Task, ...]
    opened: Mapping[str, int]
    """Test splits that they belong to, by id: how many of their tasks are among them."""
    notes: tuple[str, ...]
    """What was left out, and why."""


def held_out(tasks: Sequence[Task], store: Store, namespace: str) -> HeldOut:
    """The tasks that neither learning nor the gate has seen in the namespace: those of its test splits, where some are.

    Raises InputError when none is left.
    """
    learned = {task for entry in store.runs(namespace) if entry.run.kind == "learn" for task in entry.run.tasks}
    gated = {task for ids in store.held_out(namespace, "validation").values() for task in ids}
    seen = {canonical(task.input) for task in store.tasks(learned | gated)}
    left = tuple(task for task in tasks if canonical(task.input) not in seen)
    if not left:
        used = f"{counted(len(tasks), 'task')}, all used for learning in namespace {namespace} or by its gate"
        raise InputError(f"{used}; give others to eval")
    splits = store.held_out(namespace, "test")
    tested = tuple(task for task in left if any(task.id in ids for ids in splits.values()))
    measured = tested or left
    here = {task.id for task in measured}
    counts = {split: len(here & set(ids)) for split, ids in splits.items()}
    outside = {
        "left out: used for learning or by the gate": len(tasks) - len(left),
        "left out: in no test split": len(left) - len(measured),
    }
    notes = tuple(f"{counted(count, 'task')} {why}" for why, count in outside.items() if count)
    return HeldOut(measured, {split: count for split, count in counts.items() if count}, notes)
