"""Tasks from a file (JSONL, JSON or CSV), from `gym` or from Python, read and checked before anything is spent.

A task is an object with an input (text or chat messages) and, where there is one, an answer (any JSON). Both go by the
names that people give them (`INPUT_FIELDS`, `ANSWER_FIELDS`; the first present wins). `metadata` and all other fields
become the task's metadata, `id` among them. What has no value (null, an empty CSV cell) or no name (the index column of
some CSV files) is as good as absent.
"""

import codecs
import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from ..errors import InputError
from ..records import JSON, Message, Task
from ..text import shortened
from .gym import SCHEME

INPUT_FIELDS = ("input", "question", "prompt", "messages")
ANSWER_FIELDS = ("answer", "output", "label", "target", "expected")
LIST_FIELDS = ("tasks", "data")
"""Where a JSON object may hold its list of tasks."""
ROLES = ("system", "developer", "user", "assistant", "tool", "function")


@dataclass(frozen=True, slots=True)
class TaskSet:
    """The distinct tasks of one source, in the order in which each is first met."""

    tasks: tuple[Task, ...]
    source: str
    places: tuple[str, ...] = field(default=(), compare=False)
    """Where each task is first met ("line 3")."""

    @property
    def duplicates(self) -> int:
        """Entries that repeat an earlier task, and are in its count instead."""
        return sum(task.count - 1 for task in self.tasks)


_Entry: TypeAlias = tuple[str, JSON]
"""Where a task stands in its file ("line 3"), and what stands there."""


def read_tasks(source: str) -> TaskSet:
    """The tasks of a `.jsonl`, `.ndjson`, `.json` or `.csv` file, of standard input (`-`), or of `gym:FAMILY`.

    A source of any other name is taken for what its content looks like. Entries that differ in nothing but their id
    are one task. Raises InputError, naming the line, for whatever is not a task, and for two tasks under one id.
    """
    if source.startswith(SCHEME):
        from .gym.source import entries

        return _distinct(source, entries(source))
    name = "standard input" if source == "-" else source
    text = _text(source, name)
    suffix = Path(source).suffix.lower()
    parse = _PARSERS[suffix if suffix in _PARSERS else _looks_like(text)]
    return _distinct(name, parse(name, text))


TaskSource: TypeAlias = str | Path | Iterable[Mapping[str, JSON] | Task]
"""What is read as tasks: a path or `gym:FAMILY`, or the tasks themselves."""


def tasks_of(source: TaskSource, name: str = "tasks") -> TaskSet:
    """The tasks of a source: a path or `gym:FAMILY` as `read_tasks` takes it, or dicts by the same rules, and Tasks.

    Raises InputError, naming the item of `name`, for whatever is not a task, and for two tasks under one id.
    """
    if isinstance(source, str | Path):
        return read_tasks(str(source))
    if not isinstance(source, Iterable) or isinstance(source, Mapping | bytes):
        kinds = "a path, gym:FAMILY, or a list of dicts or Tasks"
        raise InputError(f"{name} must be {kinds}, and it is {shortened(type(source).__name__)}")
    return _distinct(name, ((f"item {number}", item) for number, item in enumerate(source, 1)))


def _text(source: str, name: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        kinds = "TASKS is a .jsonl, .json or .csv file, - for standard input, or gym:FAMILY"
        raise InputError(f"cannot read tasks from {name}: {error.strerror}; {kinds}") from error
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        wrong = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise InputError(f"{name}, line {line}: {wrong}; save the file as UTF-8") from error


def _looks_like(text: str) -> str:
    """The suffix that content deserves; a line that is a whole JSON object, and no list of tasks, begins a JSONL."""
    first = text.lstrip().partition("\n")[0]
    if not first.startswith(("[", "{")):
        return ".csv"
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return ".json"
    return ".jsonl" if isinstance(value, dict) and _listed(value) is None else ".json"


def _jsonl(name: str, text: str) -> Iterator[_Entry]:
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: U+2028 may stand in a JSON string
        if line.strip():
            yield f"line {number}", _loads(name, line, number)


def _json(name: str, text: str) -> Iterator[_Entry]:
    if not text.strip():
        return
    listed = _listed(_loads(name, text, 1))
    if listed is None:
        raise InputError(f"{name}: expected a list of tasks, or an object with one under {_either(LIST_FIELDS)}")
    yield from ((f"entry {number}", value) for number, value in enumerate(listed, 1))


def _listed(value: JSON) -> list[JSON] | None:
    held = [value.get(field) for field in LIST_FIELDS] if isinstance(value, dict) else [value]
    return next((one for one in held if isinstance(one, list)), None)


def _loads(name: str, text: str, line: int) -> JSON:
    """The JSON value of a text that begins on the given line of the file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        read = text.split("\n")[error.lineno - 1]
        where = f"{name}, line {line + error.lineno - 1}"
        raise InputError(f"{where}: not JSON ({error.msg}, column {error.colno}): {shortened(read)}") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; brackets 5,000 deep
        raise InputError(f"{name}, from line {line}: not readable as JSON ({shortened(error)})") from error


def _csv(name: str, text: str) -> Iterator[_Entry]:
    rows = _rows(name, text)
    _, header = next(rows, (1, []))
    names = [cell.strip() for cell in header]
    if repeated := [field for field in names if field and names.count(field) > 1]:
        raise InputError(f"{name}, line 1: two columns are named {shortened(repeated[0])!r}")
    for line, cells in rows:
        if len(cells) != len(names):
            hint = "quote a cell that holds a comma or a line break"
            raise InputError(f"{name}, line {line}: {len(cells)} cells under {len(names)} columns; {hint}")
        pairs = zip(names, cells, strict=True)
        yield f"line {line}", {field: cell for field, cell in pairs if field and cell.strip()}


def _rows(name: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line on which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{name}, line {line}: not CSV ({error})") from error


_PARSERS: Mapping[str, Callable[[str, str], Iterator[_Entry]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
}


def _distinct(name: str, entries: Iterator[_Entry]) -> TaskSet:
    tasks: dict[str, Task] = {}
    places: dict[str, str] = {}
    given: dict[str, tuple[str, str]] = {}
    for place, value in entries:
        try:
            task = value if isinstance(value, Task) else _task(value)
        except InputError as error:
            raise InputError(f"{name}, {place}: {error}") from error
        own = task.metadata.get("id")
        if own is not None:
            first, earlier = given.setdefault(str(own), (task.id, place))
            if first != task.id:
                raise InputError(f"{name}: {earlier} and {place} share the id {shortened(own)!r} but differ")
        places.setdefault(task.id, place)
        met = tasks.get(task.id)
        tasks[task.id] = replace(met, count=met.count + 1) if met else task
    if not tasks:
        raise InputError(f'{name} holds no tasks; one looks like {{"input": "2 + 2", "answer": "4"}}')
    return TaskSet(tuple(tasks.values()), name, tuple(places.values()))


def _task(value: JSON) -> Task:
    """One entry as a task; an InputError says what is wrong, and leaves saying where to the caller."""
    if not isinstance(value, Mapping):
        raise InputError(f"expected an object with an input, read {shortened(value)}")
    fields = {field: held for field, held in value.items() if held is not None}
    asked = next((field for field in INPUT_FIELDS if field in fields), None)
    if asked is None:
        raise InputError(
            f"no input; name it {_either(INPUT_FIELDS)}; fields seen: {shortened(', '.join(map(str, value)))}"
        )
    given = _input(asked, fields.pop(asked))
    answered = next((field for field in ANSWER_FIELDS if field in fields), None)
    answer = None if answered is None else fields.pop(answered)
    nested = fields.pop("metadata", {})
    metadata = {**(nested if isinstance(nested, dict) else {"metadata": nested}), **fields}
    try:
        return Task(given, answer, metadata)
    except (ValueError, RecursionError) as error:
        raise InputError("a value that JSON cannot carry (NaN, Infinity, half a surrogate pair)") from error
    except TypeError as error:  # from Python: a date, a set, an array
        raise InputError(f"a value that JSON cannot carry ({shortened(error)})") from error


def _input(field: str, value: JSON) -> str | tuple[Message, ...]:
    if isinstance(value, list | tuple) and value:
        messages = tuple(_message(f"message {number} of {field}", message) for number, message in enumerate(value, 1))
        if messages[-1]["role"] == "assistant":  # as in files for fine-tuning: the model would be shown its answer
            raise InputError(f"the last of {field} is the assistant's; move its text to a field named answer")
        return messages
    if isinstance(value, str) and value.strip():
        return value
    raise InputError(f"{field} must be text or a list of chat messages, read {shortened(value) or 'nothing'}")


def _message(place: str, message: JSON) -> Message:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise InputError(f"{place} needs a role ({_either(ROLES)}), read {shortened(message)}")
    content = message.get("content")
    parts = isinstance(content, list) and content and all(isinstance(part, dict) for part in content)
    if not (isinstance(content, str) or parts or (content is None and message.get("tool_calls"))):
        raise InputError(f"{place} needs a content, text or a list of parts, read {shortened(message)}")
    return message


def _either(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
