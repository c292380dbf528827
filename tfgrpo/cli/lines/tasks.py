"""What was understood of a file of tasks: its splits, its answers, what repeats, and one request as it is sent."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ...text import counted, shortened
from .tables import printable

if TYPE_CHECKING:
    from ...records import JSON, ChatBody, Frame, Task
    from ...tasks.read import TaskSet
    from ...tasks.split import Splits

_LONGEST = 2_000
"""Characters shown of one text; --json has all."""
_MOST = 8
"""Answers and places named."""
_SEVERAL = 10
"""Tasks from which on one answer to all of them is no chance."""


def first_request(frame: "Frame", task: "Task", seed: int) -> "ChatBody":
    """The request of a run's first rollout of a task, before a prior, and before the upstream is probed."""
    from ...hashing import derive_seed
    from ...records import Backend
    from ...rollouts.executor import request_body

    return request_body(frame, Backend(), task, derive_seed(seed, "rollout", 0, task.id, 0))


def checked_json(found: "TaskSet", splits: "Splits | None", body: "ChatBody", shown: "Task") -> "dict[str, JSON]":
    """What was understood, as figures."""
    told = found.understood
    sides = {} if splits is None else {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {
        "source": found.source,
        "tasks": len(found.tasks),
        "input": dict(told.asked),
        "answer": dict(told.answered),
        "left_out": list(told.left),
        "warnings": list(told.warnings),
        "splits": {side: [task.id for task in tasks] for side, tasks in sides.items()},
        "repeated": {place: task.count for place, task in found.repeated},
        "at_odds": [list(places) for places in found.at_odds],
        "request": body,
        "expected": shown.answer,
    }


def checked_lines(found: "TaskSet", splits: "Splits | None", body: "ChatBody", shown: "Task") -> Iterator[str]:
    """What was understood, for people."""
    yield printable(found.told)
    yield from (f"note: {printable(line)}" for line in found.understood.warnings)
    if splits is not None:
        uses = (
            (splits.train, "teach"),
            (splits.validation, "decide (the gate)"),
            (splits.test, "are left for tfgrpo eval"),
        )
        yield "splits: " + ", ".join(f"{len(side):,} {use}" for side, use in uses if side)
    yield from _answers(found)
    yield from _places(found)
    places = {task.id: place for task, place in zip(found.tasks, found.places, strict=False)}
    yield f"one request, as it is sent ({places.get(shown.id, 'a task')}; before a prior):"
    yield from map(printable, json.dumps(_cut(body), indent=2, ensure_ascii=False).split("\n"))
    yield f"its answer: {'none' if shown.answer is None else printable(shortened(shown.answer, _LONGEST))}"


def _answers(found: "TaskSet") -> Iterator[str]:
    """How often each answer stands there, where they are few; and kinds that are mixed."""
    answers = Counter(shortened(task.answer, 40) for task in found.tasks if task.answer is not None)
    if 1 < len(answers) <= min(20, len(found.tasks) // 2):
        shown = ", ".join(f"{printable(answer)} {count:,}" for answer, count in answers.most_common(_MOST))
        yield f"answers: {shown}{', ...' if len(answers) > _MOST else ''}"
    if len(answers) == 1 and len(found.tasks) >= _SEVERAL:
        yield f"note: every answer is {printable(next(iter(answers)))}: a model that always says so is right"
    for spelled in _spelled_apart(found):
        yield f"note: answers that differ in case or spaces alone: {', '.join(map(repr, spelled))}"
    kinds = Counter(_KINDS.get(type(task.answer), "others") for task in found.tasks if task.answer is not None)
    if len(kinds) > 1:
        mixed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
        yield f"note: answers are of different kinds: {mixed}"
    if listed := sum(_holds_list(task.answer) for task in found.tasks):
        whole = "which the model is to say whole; alternatives, any of which is right, are a list in a .jsonl file"
        yield f"note: {counted(listed, 'answer')} in the form of a list, as text, {whole}"


def _spelled_apart(found: "TaskSet") -> Iterator[list[str]]:
    """Answers that are one but for case and spaces, where one of them is another's misspelling."""
    forms: dict[str, list[str]] = {}
    for answer in dict.fromkeys(task.answer for task in found.tasks if isinstance(task.answer, str)):
        forms.setdefault(" ".join(answer.casefold().split()), []).append(answer[:40])
    yield from [spelled for spelled in forms.values() if len(spelled) > 1][:_MOST]


def _holds_list(answer: "JSON") -> bool:
    """Whether a text is a list in JSON, as a cell of a CSV file may be."""
    try:
        return isinstance(answer, str) and answer.startswith("[") and isinstance(json.loads(answer), list)
    except (ValueError, RecursionError):
        return False


_KINDS: Mapping[type, str] = {
    str: "texts", int: "numbers", float: "numbers", bool: "true or false", list: "lists", dict: "objects"
}  # fmt: skip


def _places(found: "TaskSet") -> Iterator[str]:
    repeated = [f"{place} ({task.count:,} times)" for place, task in found.repeated]
    if repeated:
        yield f"repeated: {counted(found.duplicates, 'entry')} counted once: {_some(repeated)}"
    odds = [f"{first} and {other}" for first, other in found.at_odds]
    if odds:
        yield f"note: the same is asked with different answers: {_some(odds)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_MOST]) + (", ..." if len(names) > _MOST else "")


def _cut(value: "JSON") -> "JSON":
    """The value with its long texts cut."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}… ({len(value):,} characters)"
    if isinstance(value, Mapping):
        return {name: _cut(held) for name, held in value.items()}
    return [_cut(held) for held in value] if isinstance(value, (list, tuple)) else value
