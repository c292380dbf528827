"""Where a JSON or YAML value holds its list of tasks, and what stands beside the list and belongs to each. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from ..errors import InputError
from ..records import JSON
from ..text import shortened
from .fields import ANSWER_FIELDS, CONTEXT_FIELDS, INPUT_FIELDS, all_named, named

LIST_FIELDS = ("tasks", "data", "examples", "instances", "rows", "items", "samples", "questions")
"""Where a JSON object may hold its list of tasks."""
_SHARED = ("definition", "task_prefix")
"""What stands beside the list and is an instruction for each task in it (Super-NaturalInstructions, BIG-bench)."""


def listed(value: JSON) -> list[JSON] | None:
    """The list of tasks that a value is or holds; None: it holds none. InputError for one that was cut."""
    if isinstance(value, list):
        return list(_nested(value))
    if not isinstance(value, Mapping):
        return None
    held = next((value[name] for name in all_named(value, LIST_FIELDS) if isinstance(value[name], list)), None)
    if held is not None and isinstance(value.get("columns"), list) and all(isinstance(row, list) for row in held):
        return [dict(zip(value["columns"], row, strict=False)) for row in held]  # pandas, orient="split"
    if held is None:
        return _columns(value) or _by_name(value)
    shared = {name: _joined(value[name]) for name in all_named(value, _SHARED) if _joined(value[name])}
    rows = list(_rows(held, _label_names(value)))
    return [{**shared, **row} if isinstance(row, Mapping) else row for row in rows] if shared else rows


def _joined(value: JSON) -> str:
    texts = value if isinstance(value, list) else [value]
    return "\n".join(text for text in texts if isinstance(text, str)).strip()


def _rows(held: Sequence[JSON], names: Mapping[str, list[str]]) -> Iterator[JSON]:
    """The entries; rows of Hugging Face's viewer come out of their wrapping, with labels by their names."""
    for entry in _nested(held):
        if not (isinstance(entry, Mapping) and isinstance(entry.get("row"), Mapping)):
            yield entry
            continue
        if cut := entry.get("truncated_cells"):
            cells = shortened(", ".join(map(str, cut if isinstance(cut, list) else [cut])))
            raise InputError(f"row {entry.get('row_idx')} is cut in {cells}; take the rows from the data set's files")
        yield with_labels(entry["row"], names)


def with_labels(row: Mapping[str, JSON], names: Mapping[str, list[str]]) -> Mapping[str, JSON]:
    """The row with the names of its labels in place of their numbers."""
    told = {
        field: of[row[field]]
        for field, of in names.items()
        if isinstance(row.get(field), int) and 0 <= row[field] < len(of)
    }
    return {**row, **told} if told else row


def _label_names(value: Mapping[str, JSON]) -> Mapping[str, list[str]]:
    """The names of labels by column, where the viewer's `features` say them."""
    features = value.get("features")
    if not isinstance(features, list):
        return {}
    typed = [(one.get("name"), one.get("type")) for one in features if isinstance(one, Mapping)]
    return {
        str(name): kind["names"] for name, kind in typed if isinstance(kind, Mapping) and _all_text(kind.get("names"))
    }


def _all_text(value: JSON) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _nested(held: Sequence[JSON]) -> Iterator[JSON]:
    """SQuAD's articles hold paragraphs, which hold the questions about them; all other entries stay."""
    for entry in held:
        paragraphs = entry.get("paragraphs") if isinstance(entry, Mapping) else None
        if not isinstance(paragraphs, list) or not all(isinstance(one, Mapping) and "qas" in one for one in paragraphs):
            yield entry
            continue
        for paragraph in paragraphs:
            for asked in paragraph["qas"] if isinstance(paragraph["qas"], list) else ():
                yield _question(asked, paragraph.get("context"))


def _question(asked: JSON, context: JSON) -> JSON:
    if not isinstance(asked, Mapping):
        return asked
    answers = asked.get("answers")
    texts = [one.get("text") for one in answers if isinstance(one, Mapping)] if isinstance(answers, list) else []
    return {"context": context, **{key: asked[key] for key in asked if key != "answers"}, "answers": {"text": texts}}


def _by_name(value: Mapping[str, JSON]) -> list[JSON] | None:
    """The entries of an object that has them by their ids; None: it holds none."""
    entries = [entry for entry in value.values() if isinstance(entry, Mapping) and named(entry, INPUT_FIELDS)]
    if not 2 <= len(entries) == len(value) or named(value, INPUT_FIELDS) is not None:
        return None
    return [{"id": name, **entry} for name, entry in zip(value, entries, strict=True)]


def _columns(value: Mapping[str, JSON]) -> list[JSON] | None:
    """The rows of an object that holds columns: lists, or objects by row (pandas' default); None: it holds none."""
    if named(value, (*INPUT_FIELDS, *CONTEXT_FIELDS)) is None or named(value, ANSWER_FIELDS) is None:
        return None
    columns = list(value.values())
    if all(isinstance(column, Mapping) and column.keys() == columns[0].keys() and column for column in columns):
        return [{name: column[row] for name, column in value.items()} for row in columns[0]]
    if all(isinstance(column, list) and len(column) == len(columns[0]) > 1 for column in columns):
        if "messages" in value or "conversations" in value:  # one task, whose fields are lists
            return None
        return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    return None
