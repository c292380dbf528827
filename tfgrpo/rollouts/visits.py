"""The tasks that a step visits: those that no longer teach anything are visited every other step. Pure."""

from collections.abc import Sequence

from ..hashing import derive_seed
from ..records import Group, Task
from ..settings import Settings
from .advantage import group_kind

_ENOUGH = 2
"""Visits in a row in which all rollouts were right, or all wrong."""


def visited(tasks: Sequence[Task], earlier: Sequence[Group], step: int, settings: Settings) -> tuple[Task, ...]:
    """The tasks to roll out in a step, in their order, given all groups of earlier steps in order of step.

    A task whose pass rate was 0 or 1 at its last two visits rests in every other step; which of the two it rests in is
    decided by its hash, so that not all rest at once. It is visited as before once its rollouts differ again. When all
    would rest, none does. What earlier groups say is all that decides, so a resumed run visits the same.
    """
    if not settings.rest_tasks:
        return tuple(tasks)
    dull: dict[str, int] = {}
    for group in earlier:
        is_dull = group_kind(group) in ("solved", "hopeless")
        dull[group.task.id] = dull.get(group.task.id, 0) + 1 if is_dull else 0

    def rests(task: Task) -> bool:
        return dull.get(task.id, 0) >= _ENOUGH and (step + derive_seed(settings.seed, "visit", task.id)) % 2 == 1

    return tuple(task for task in tasks if not rests(task)) or tuple(tasks)
