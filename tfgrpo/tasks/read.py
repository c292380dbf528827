"""Tasks from a file, from `gym`, from Hugging Face or from Python, read and checked before anything is spent.

A task is an object with an input (text or chat messages) and, where there is one, an answer (any JSON; a list holds
alternatives). `fields` has the names that both go by, `parts` says what the model is shown. All other fields become the
task's metadata, `id` among them. What has no value (null, an empty CSV cell) or no name (the index column of some CSV
files) is as good as absent. What was made of the fields is told by `TaskSet.understood`.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import InputError
from ..hashing import canonical
from ..records import JSON, Task
from ..text import counted, named_file, shortened
from .choices import picked
from .fields import ANSWER_FIELDS, Fields, either, named
from .formats import MOST_BYTES, Entry, entries_of, too_large
from .gym import SCHEME
from .harbor import HARBOR, harbor_entries
from .parts import Parts, parts_of
from .understood import Understood

MOST_TAKEN = 100_000
HUB = "hf:"
"""How a source on Hugging Face begins."""
_KINDS = (
    "TASKS is a .jsonl, .json, .csv, .tsv, .yaml or .parquet file, - for standard input, gym:FAMILY, harbor:FOLDER or"
    " hf:OWNER/NAME"
)


@dataclass(frozen=True, slots=True)
class TaskSet:
    """The distinct tasks of one source, in the order in which each is first met."""

    tasks: tuple[Task, ...]
    source: str
    places: tuple[str, ...] = field(default=(), compare=False)
    """Where each task is first met ("line 3")."""
    understood: Understood = field(default=Understood(), compare=False)
    """What was made of the entries' fields."""

    @property
    def duplicates(self) -> int:
        """Entries that repeat an earlier task, and are in its count instead."""
        return sum(task.count - 1 for task in self.tasks)

    @property
    def told(self) -> str:
        """What was understood, in one line."""
        fields = f"; {self.understood.line}" if self.understood.asked else ""
        return f"{self.source}: {counted(len(self.tasks), 'task')}{fields}"

    @property
    def notes(self) -> Iterator[str]:
        """What to say of them before anything is done."""
        if not self.understood.is_plain:
            yield self.told
        yield from self.understood.warnings
        if self.duplicates:
            yield f"{self.source}: {counted(self.duplicates, 'repeated task')} counted once"

    @property
    def repeated(self) -> Iterator[tuple[str, Task]]:
        """Tasks that stand there more than once, each with its first place."""
        return ((place, task) for task, place in zip(self.tasks, self.places, strict=False) if task.count > 1)

    @property
    def at_odds(self) -> Iterator[tuple[str, str]]:
        """Places of tasks that ask the same, and have different answers."""
        first: dict[str, tuple[str, str]] = {}
        for task, place in zip(self.tasks, self.places, strict=False):
            answer = canonical(task.answer)
            there, other = first.setdefault(canonical(task.input), (place, answer))
            if other != answer:
                yield there, place

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """An error about a task says where it stands; of a lacking answer, how answers are named."""
        try:
            yield
        except InputError as error:
            pairs = zip(self.tasks, self.places, strict=False)
            meant = next((pair for pair in pairs if f"task {pair[0].id}" in str(error)), None)
            if meant is None:
                raise
            task, place = meant
            if "no answer" not in str(error):
                raise InputError(f"{self.source}, {place}: {error}") from error
            fields = shortened(", ".join(map(str, task.metadata)) or "none but the input", 200)
            hint = f"name it {either(ANSWER_FIELDS[:6])}, or say which field it is with --answer-field"
            raise InputError(f"{self.source}, {place}: {error}; {hint}; other fields seen: {fields}") from error


TaskSource: TypeAlias = str | Path | Iterable[Mapping[str, JSON] | Task]
"""What is read as tasks: a path, `gym:FAMILY` or `hf:OWNER/NAME`, or the tasks themselves."""


def read_tasks(source: str, fields: Fields = Fields()) -> TaskSet:  # noqa: B008  # frozen
    """The tasks of a file, of standard input (`-`), of `gym:FAMILY`, of `harbor:FOLDER` or of `hf:OWNER/NAME`.

    A source of any other name is taken for what its content looks like. Entries that differ in nothing but their id
    are one task. Raises InputError, naming the line, for whatever is not a task, and for two tasks under one id.
    """
    if source.startswith(SCHEME):
        from .gym.source import entries

        return _distinct(source, entries(source), fields)
    if source.startswith(HARBOR):
        return _distinct(source, harbor_entries(source), fields)
    if source.startswith(HUB):
        from .hub import hub_entries

        return _distinct(source, hub_entries(source), fields)
    name = "standard input" if source == "-" else source
    found = entries_of(name, _bytes(source, name), Path(source).suffix.lower())
    return _distinct(name, found, fields, Path(source).parent)


def tasks_of(source: TaskSource, name: str = "tasks", fields: Fields = Fields()) -> TaskSet:  # noqa: B008  # frozen
    """The tasks of a source: one that `read_tasks` takes, or dicts by the same rules, and Tasks.

    Raises InputError, naming the item of `name`, for whatever is not a task, and for two tasks under one id.
    """
    if isinstance(source, str | Path):
        return read_tasks(str(source), fields)
    if not isinstance(source, Iterable) or isinstance(source, (Mapping, bytes)):
        kinds = "a path, gym:FAMILY, or a list of dicts or Tasks"
        raise InputError(f"{name} must be {kinds}, and it is {shortened(type(source).__name__)}")
    return _distinct(name, ((f"item {number}", item) for number, item in enumerate(source, 1)), fields)


def _bytes(source: str, name: str) -> bytes:
    try:
        if source == "-":
            raw = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no path"
        if Path(source).is_dir():
            reason = f"it is a folder; make one file of those in it: cat {shortened(source)}/*.json > tasks.json"
        hub = f"; a data set of Hugging Face's is hf:{source}" if _is_hub_id(source) else ""
        place = shortened(named_file(name), 200)
        raise InputError(f"cannot read tasks from {place}: {reason}; {_KINDS}{hub}") from error
    if len(raw) > MOST_BYTES:
        raise too_large(name)
    return raw


def _is_hub_id(source: str) -> bool:
    owner, slash, name = source.partition("/")
    return bool(owner and slash and name) and "/" not in name and owner[0].isalnum() and not Path(name).suffix


def _distinct(name: str, entries: Iterable[Entry], fields: Fields, folder: Path = Path()) -> TaskSet:
    archived: list[str] = []
    read = list(_read(name, _kept(entries, archived), fields, folder))
    letters, way = _letters(name, read)
    made = _made(name, read, letters)
    tasks: dict[str, Task] = {}
    places: dict[str, str] = {}
    given: dict[str, tuple[str, str]] = {}
    for (place, _), task in zip(read, made, strict=True):
        own = task.metadata.get("id")
        if own is not None:
            first, earlier = given.setdefault(str(own), (task.id, place))
            if first != task.id:
                raise InputError(f"{name}: {earlier} and {place} share the id {shortened(own)!r} but differ")
        places.setdefault(task.id, place)
        met = tasks.get(task.id)
        tasks[task.id] = replace(met, count=met.count + 1) if met else task
    if not tasks:
        none = "no tasks but archived ones" if archived else "no tasks"
        raise InputError(f'{name} holds {none}; one looks like {{"input": "2 + 2", "answer": "4"}}')
    return TaskSet(tuple(tasks.values()), name, tuple(places.values()), _understood(read, way, len(archived)))


def _kept(entries: Iterable[Entry], archived: list[str]) -> Iterator[Entry]:
    """The entries but for items that were archived in Langfuse, whose places are added."""
    for place, value in entries:
        if isinstance(value, Mapping) and _is_archived(value):
            archived.append(place)
        else:
            yield place, value


def _is_archived(value: Mapping[str, JSON]) -> bool:
    is_out = str(value.get("status")).rpartition(".")[2] == "ARCHIVED"  # DatasetStatus.ARCHIVED, as its SDK shows it
    return is_out and named(value, ("dataset_id", "dataset_name")) is not None


_Read: TypeAlias = tuple[str, Parts | Task]
"""Where an entry stands, and what it was understood as; a Task of the user's is one already."""


def _read(name: str, entries: Iterable[Entry], fields: Fields, folder: Path) -> Iterator[_Read]:
    for number, (place, value) in enumerate(entries):
        if number == MOST_TAKEN:
            raise InputError(f"{name} holds more than {MOST_TAKEN:,} tasks; a few hundred are enough: take a sample")
        try:
            yield place, value if isinstance(value, Task) else parts_of(_plain(value), fields, folder)
        except InputError as error:
            raise InputError(f"{name}, {place}: {error}") from error
        except RecursionError as error:
            raise InputError(f"{name}, {place}: it is nested too deep") from error


def _plain(value: Any) -> Any:
    """A value without numpy's numbers and arrays, which the columns of a data frame hold, as Python's own."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value.tolist() if type(value).__module__ == "numpy" else value


def _made(name: str, read: list[_Read], letters: Mapping[str, str]) -> Iterator[Task]:
    """The entries as tasks, the answers to those with choices as letters."""
    for place, parts in read:
        try:
            yield parts if isinstance(parts, Task) else _task(parts, letters.get(place))
        except InputError as error:
            raise InputError(f"{name}, {place}: {error}") from error


def _letters(name: str, read: list[_Read]) -> tuple[dict[str, str], str]:
    """By place, the letter of the right choice; and in which way the file says which it is."""
    open_ = [(place, one.choices, one.answer) for place, one in read if isinstance(one, Parts) and _points(one)]
    asked = [(choices, answer) for _, choices, answer in open_ if choices]
    found, way = picked(asked) if asked else ([], "")
    letters = {}
    for (place, choices, _), right in zip(open_, found, strict=True):
        if isinstance(right, InputError):
            raise InputError(f"{name}, {place}: {right}")
        letters[place] = choices.letters[right] if choices else ""
    return letters, way


def _points(parts: Parts) -> bool:
    """Whether an answer points at a choice in a way that is still to be found out."""
    return parts.choices is not None and parts.choices.right is None and parts.answer is not None


def _task(parts: Parts, letter: str | None) -> Task:
    """One entry as a task; an InputError says what is wrong, and leaves saying where to the caller."""
    try:
        return Task(parts.input, parts.answer if letter is None else letter, parts.metadata)
    except (ValueError, RecursionError) as error:
        raise InputError("a value that JSON cannot carry (NaN, Infinity, half a surrogate pair)") from error
    except TypeError as error:  # from Python: a date, a set, an array
        raise InputError(f"a value that JSON cannot carry ({shortened(error)})") from error


def _understood(read: list[_Read], way: str, archived: int) -> Understood:
    parts = [one for _, one in read if isinstance(one, Parts)]
    return Understood.of(
        [f"{one.asked}{_rendered(one)}" for one in parts],
        [f"{one.answered or 'none'}{_as_letter(one, way)}" for one in parts],
        [name for one in parts for name in one.left],
        [f"{counted(archived, 'item')} with the status ARCHIVED left out"] if archived else [],
    )


def _rendered(parts: Parts) -> str:
    letters = parts.choices.letters if parts.choices else ()
    return f" (rendered {letters[0]}-{letters[-1]})" if letters else ""


def _as_letter(parts: Parts, way: str) -> str:
    return f" ({way} -> letter)" if _points(parts) and way != "letter" else ""
