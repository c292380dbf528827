"""The splits of a run: tasks that teach, tasks that decide, and tasks that nobody looks at before the end.

From one file each side gets its share of the tasks, whatever their hashes, and its share of each answer where the
answers are few. Tasks that ask the same are on one side, whatever their answers. The rule:

- Tasks are in the order of a hash of (seed, input), which neither the order of the file nor metadata changes.
- Where there are few answers, tasks of each answer are in that order among themselves, and the answers take turns in
  proportion: the place of a task is (its number among those of its answer - 1/2) / how many these are.
- The first in this order are for the test, the next for validation, and the rest teach. So a task that is added moves
  others only at the two borders, by the one place that its quota takes.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import InputError
from ..hashing import canonical, content_id, derive_seed
from ..records import Task
from ..text import counted, shortened
from .fields import Fields
from .read import TaskSet, TaskSource, tasks_of

SMALLEST_VALIDATION = 5
"""Tasks; fewer cannot stand for anything."""
TASKS_AN_ANSWER = 3
"""On average at least, for answers to be few: then each side gets its share of each."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What part of one file goes to validation and to test; the rest is for learning."""

    validation: float = 0.3
    test: float = 0.2

    def __post_init__(self) -> None:
        """Raises InputError for shares that leave nothing to learn from."""
        if not (self.validation >= 0 and self.test >= 0 and self.validation + self.test < 1):
            wrong = f"shares of {self.validation:g} for validation and {self.test:g} for test"
            raise InputError(f"{wrong} cannot be; neither may be below 0, and both together must be below 1")


@dataclass(frozen=True, slots=True)
class Sides:
    """Where the tasks that decide and those of the test come from, as a user says it."""

    gated: bool = True
    """Whether a gate decides at all."""
    validation: TaskSource | None = None
    """None: a part of the tasks."""
    test: TaskSource | None = None
    """None: a part of the tasks, where validation is one too."""
    validation_share: float | None = None
    test_share: float | None = None

    def splits(self, found: TaskSet, fields: Fields = Fields()) -> "Splits":  # noqa: B008  # frozen
        """The splits of the tasks found, files of their own read by the same fields.

        Raises InputError for a task on two sides, or too few to decide by.
        """
        usual, given = Shares(), self.validation is not None or self.test is not None
        shares = Shares(
            validation=usual.validation if self.validation_share is None else self.validation_share,
            test=(0.0 if given or not self.gated else usual.test) if self.test_share is None else self.test_share,
        )
        validation = None if self.validation is None else tasks_of(self.validation, "validation", fields)
        test = None if self.test is None else tasks_of(self.test, "test", fields)
        return arrange(found, validation, test, shares=shares, gated=self.gated)


@dataclass(frozen=True, slots=True)
class Splits:
    """Tasks by what they are for, each in the order of its file; no task is in two."""

    train: tuple[Task, ...]
    validation: tuple[Task, ...] = ()
    test: tuple[Task, ...] = ()


def arrange(
    found: TaskSet,
    validation: TaskSet | None = None,
    test: TaskSet | None = None,
    *,
    shares: Shares,
    gated: bool = True,
    seed: int = 0,
) -> Splits:
    """The splits of a run: what is given as a file of its own is taken from there, the rest from `found` by shares.

    Without a gate there is no validation. Raises InputError for a task in two files, and for too few to decide by.
    """
    _refuse_shared([one for one in (found, validation, test) if one])
    if validation and not gated:
        raise InputError(f"{validation.source} is for the gate, which --gate none leaves out; give one or the other")
    if gated and not validation and not shares.validation:
        raise InputError(
            "a share of 0 for validation leaves the gate nothing to decide by; to learn without a gate: --gate none"
        )
    here = Shares(shares.validation if gated and not validation else 0.0, shares.test if not test else 0.0)
    sides = split(found, here, seed=seed)
    if validation and len(validation.tasks) < SMALLEST_VALIDATION:
        raise _too_few(f"{validation.source} holds {counted(len(validation.tasks), 'task')} for validation")
    given = validation.tasks if validation else sides.validation
    return Splits(sides.train, given, test.tasks if test else sides.test)


def split(found: TaskSet, shares: Shares | None = None, *, seed: int = 0) -> Splits:
    """The three sides of one file; InputError where a side is too small for its purpose."""
    shares = shares or Shares()
    order = _dealt(found.tasks, seed)
    test, decide = quotas(len(order), shares)
    sides = {unit: 2 if place < test else 1 if place < test + decide else 0 for place, unit in enumerate(order)}
    train, validation, held = (tuple(task for task in found.tasks if sides[_unit(task)] == side) for side in range(3))
    if not train:
        raise InputError(
            f"{found.source}: none of its {counted(len(found.tasks), 'task')} is left to learn from; add tasks"
        )
    if shares.validation and len(validation) < SMALLEST_VALIDATION:
        raise _too_few(
            f"{found.source}: of its {counted(len(found.tasks), 'task')} {len(validation)} are for validation"
        )
    return Splits(train, validation, held)


def quotas(tasks: int, shares: Shares) -> tuple[int, int]:
    """How many of so many tasks are for the test and for validation: the nearest whole numbers.

    Validation gets at least SMALLEST_VALIDATION where half of the tasks are left to the other sides.
    """
    test, validation = (int(tasks * share + 0.5) for share in (shares.test, shares.validation))
    if shares.validation and tasks >= 2 * SMALLEST_VALIDATION:
        validation = max(validation, SMALLEST_VALIDATION)
    return test, validation


def _dealt(tasks: Iterable[Task], seed: int) -> list[str]:
    """Different inputs in the order in which sides take them."""
    answers: dict[str, list[str]] = {}
    hashes: dict[str, int] = {}
    for task in tasks:
        answers.setdefault(_unit(task), []).append(canonical(task.answer))
        hashes[_unit(task)] = derive_seed("split", seed, task.input)
    kinds = {unit: "; ".join(sorted(told)) for unit, told in answers.items()}
    sizes = Counter(kinds.values())
    if len(sizes) * TASKS_AN_ANSWER > len(kinds):  # nearly each task has its own
        kinds, sizes = dict.fromkeys(kinds, ""), Counter({"": len(kinds)})
    met: Counter[str] = Counter()
    places = {}
    for unit in sorted(kinds, key=lambda unit: (hashes[unit], unit)):
        places[unit] = (met[kinds[unit]] + 0.5) / sizes[kinds[unit]]
        met[kinds[unit]] += 1
    return sorted(places, key=lambda unit: (places[unit], hashes[unit], unit))


def _unit(task: Task) -> str:
    """What tasks have in common that ask the same."""
    return content_id("same", task.input)


def _too_few(given: str) -> InputError:
    ways = "add tasks, name a file of them with --validation FILE, or learn without a gate (--gate none)"
    return InputError(f"{given}, and the gate needs at least {SMALLEST_VALIDATION}; {ways}")


def _refuse_shared(given: Iterable[TaskSet]) -> None:
    met: dict[str, tuple[int, str]] = {}
    for number, found in enumerate(given):
        places = found.places or [f"task {place}" for place, _ in enumerate(found.tasks, 1)]
        for task, place in zip(found.tasks, places, strict=True):
            here = f"{found.source}, {place}"
            first, there = met.setdefault(_unit(task), (number, here))
            if first != number:
                what = f"hold the same task ({shortened(task.prompt)})"
                raise InputError(f"{there} and {here} {what}; take it out of one of them")
