"""Edits to the list of experiences: read from the distiller's answers, and those of a step brought together. Pure.

An answer is one JSON list of {"operation", "text", "target"}, prose and code fences around it allowed. An answer with
nothing usable in it is refused as a whole, with the reason that the distiller is then shown; else what cannot be used
is dropped, with its reason. A proposal is a text and what it replaces: one that replaces nothing known is added.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar, cast, get_args

from ..records import JSON, Experience, ExperienceKind
from ..text import WORD_CHARS, too_long, whole_sentences, words

LONGEST_ANSWER = 20_000
"""Characters; whatever is longer is no answer to a request for a few sentences."""
_JSON_START = re.compile(r"\[(?=\s*[\]{])|\{(?=\s*[\"}])")
T = TypeVar("T")
THOUGHTS = re.compile(r"^.*</think>", re.DOTALL)
"""What a model says to itself before its answer."""


Operation: TypeAlias = Literal["ADD", "UPDATE", "DELETE", "NONE"]


@dataclass(frozen=True, slots=True)
class Edit:
    """One change to the list of experiences, as the distiller proposed it for one group."""

    operation: Operation
    text: str = ""
    """The new text, for ADD and UPDATE."""
    target: str | None = None
    """The experience meant, for UPDATE and DELETE."""
    tasks: tuple[str, ...] = ()
    """Ids of the tasks that the proposal came from."""
    kind: ExperienceKind = "strategy"


@dataclass(frozen=True, slots=True)
class Proposals:
    """What one group, or the merge of a step, proposes."""

    edits: tuple[Edit, ...] = ()
    dropped: tuple[str, ...] = ()
    """Edits that could not be used, each with its reason."""
    failure: str | None = None
    """Why the distiller gave no usable answer: a group's edits are then empty, a step's were merged by rule."""
    unusable: int = 0
    """Answers without use that this failure was, a failed call among them."""
    rested: bool = False
    """The distiller was not asked, for it had failed too often in the step."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """An answer that cannot be adopted; the distiller is shown why."""

    why: str


@dataclass(frozen=True, slots=True)
class Form:
    """What a usable answer keeps to; `read` turns an answer into edits."""

    current: tuple[Experience, ...]
    """The experiences shown as E1, E2, ..."""
    limit: int
    """Edits at most; the first ones are taken."""
    words: int
    instructions: str
    """The prompt before it was filled in: what is copied from it is no proposal."""
    tasks: tuple[str, ...] = ()
    """Where the edits come from, unless they come from proposals."""
    proposals: tuple[Edit, ...] = ()
    """When merging: the edits shown as P1, P2, ..., of which each new one has to name its sources."""

    @property
    def schema(self) -> dict[str, JSON]:
        """A usable answer as a JSON schema, for servers that hold a model to one."""
        operations = [named for named in get_args(Operation) if self.current or named in ("ADD", "NONE")]
        if self.proposals:
            operations.remove("NONE")
        text: JSON = {"type": "string", "maxLength": self.words * WORD_CHARS}  # or a small model loops to the cut
        fields: dict[str, JSON] = {"operation": _one_of(operations), "text": text}
        if self.current:
            fields["target"] = _one_of(["", *_names("E", self.current)])
        if self.proposals:
            fields["from"] = {"type": "array", "items": _one_of(_names("P", self.proposals)), "minItems": 1}
        change = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
        return {"type": "array", "items": change, "minItems": 1, "maxItems": self.limit}

    def read(self, answer: str) -> Proposals | Unusable:
        """The usable edits of an answer, or why there are none."""
        items = _items(answer)
        if isinstance(items, Unusable):
            return items
        read = [self._edit(item) for item in items]
        usable = [edit for edit in read if isinstance(edit, Edit)]
        refused = [edit.why for edit in read if isinstance(edit, Unusable)]
        if refused and not usable:
            return Unusable("; ".join(refused[:3]))
        edits = [edit for edit in usable if edit.operation != "NONE" and not _deletes_nothing(edit)]
        if any(_deletes_nothing(edit) for edit in usable):
            refused.append('DELETE: its "target" is not in the list of experiences')
        if self.proposals and not edits:
            return Unusable("it merges the proposals into nothing")
        surplus = [f"{edit.operation} {edit.text!r}: more than {self.limit} changes" for edit in edits[self.limit :]]
        return Proposals(tuple(edits[: self.limit]), (*refused, *surplus))

    def _edit(self, item: Mapping[str, JSON]) -> Edit | Unusable:
        named = str(item.get("operation", "")).strip().upper()
        if named not in get_args(Operation):
            return Unusable(f"operation {named[:20]!r} is none of {', '.join(get_args(Operation))}")
        operation = cast(Operation, named)
        if operation == "NONE":
            return Edit("NONE")
        said = item.get("text")
        text = " ".join(said.split()).lstrip("-* ") if isinstance(said, str) and operation != "DELETE" else ""
        text = whole_sentences(text, self.words) or text  # small models go on after the one asked for
        target = _named(item.get("target"), "E", self.current)
        if operation == "UPDATE" and not target:
            operation = "ADD"
        edit = Edit(operation, text, target[0].id if target and operation != "ADD" else None, self._sources(item))
        why = self._fault(edit)
        return Unusable(f"{operation}: {why}") if why else edit

    def _fault(self, edit: Edit) -> str | None:
        if self.proposals and not edit.tasks:
            return 'its "from" names no proposal'
        if edit.operation == "DELETE":
            return None
        spoken = words(edit.text)
        if not spoken:
            return "it has no text"
        if " ".join(spoken) in " ".join(words(self.instructions)):
            return "its text is copied from the instructions"
        return too_long(edit.text, self.words)

    def _sources(self, item: Mapping[str, JSON]) -> tuple[str, ...]:
        named = _named(item.get("from"), "P", self.proposals)
        return union(edit.tasks for edit in named) if self.proposals else self.tasks


def _deletes_nothing(edit: Edit) -> bool:
    return edit.operation == "DELETE" and edit.target is None


def _one_of(names: Sequence[JSON]) -> JSON:
    return {"type": "string", "enum": [*names]}


def _names(letter: str, among: Sequence[object]) -> list[JSON]:
    return [f"{letter}{number}" for number in range(1, len(among) + 1)]


def _named(value: JSON, letter: str, among: Sequence[T]) -> list[T]:
    """What names such as "E2" or ["P1", "P3"] stand for; names of nothing are left out."""
    names = value if isinstance(value, list) else [value]
    matches = [re.match(rf"\W*{letter}(\d{{1,6}})\b", str(name), re.IGNORECASE) for name in names]
    numbers = [int(match.group(1)) for match in matches if match]
    return [among[number - 1] for number in numbers if 0 < number <= len(among)]


def union(parts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry for part in parts for entry in part))


def _items(answer: str) -> list[Mapping[str, JSON]] | Unusable:
    """The objects of the one JSON list in an answer; objects one after another, or one that holds the list, will do."""
    if len(answer) > LONGEST_ANSWER:
        return Unusable(f"it has {len(answer)} characters instead of a short JSON list")
    values = _json_values(THOUGHTS.sub("", answer))
    if isinstance(values, Unusable):
        return values
    if values and all(isinstance(value, dict) and "operation" in value for value in values):
        return values
    if len(values) != 1:
        return Unusable(f"there are {len(values)} JSON values in it instead of one list")
    inner = list(values[0].values()) if isinstance(values[0], dict) else values
    if len(inner) == 1 and isinstance(inner[0], list) and all(isinstance(item, dict) for item in inner[0]):
        return inner[0]
    return Unusable('it is not a JSON list of objects with "operation", "text" and "target"')


def _json_values(text: str) -> list[JSON] | Unusable:
    """Every JSON list or object in a text; one that begins and does not end well makes the text unusable."""
    decoder, values, end = json.JSONDecoder(), [], 0
    for start in _JSON_START.finditer(text):
        if start.start() < end:
            continue
        try:
            value, end = decoder.raw_decode(text, start.start())
        except json.JSONDecodeError as error:
            return Unusable(f"its JSON is broken: {error.msg} at character {error.pos}")
        except RecursionError:
            return Unusable("its JSON is nested too deeply")
        values.append(value)
    return values


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
