"""The names that people give the parts of a task, and what a user says of an own file's names. Pure.

Names are compared in any case and without punctuation: `expectedOutput`, `expected_output` and `__expected_output` are
one name. Within each table the first name that is present wins.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import InputError
from ..records import JSON
from ..text import shortened

Record: TypeAlias = Mapping[str, JSON]
"""One entry of a file, before it is understood."""
SLOT = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
"""Where a template has the value of a field."""

INPUT_FIELDS = (
    "input", "question", "prompt", "messages", "inputs", "problem", "query", "user_input", "conversations",
    "question_stem", "text", "sentence", "utterance", "goal", "ctx", "request", "input_text", "text_input",
)  # fmt: skip
ANSWER_FIELDS = (
    "answer", "expected_output", "expected", "ideal", "target", "label", "ground_truth", "final_answer",
    "correct_answer", "answer_key", "answers", "correct", "correct_label", "correct_response", "gold", "gold_answer",
    "golden_answer", "best_answer", "reference", "reference_answer", "reference_response", "expected_response",
    "expected_answer", "expected_result", "targets", "solution", "output", "completion", "response", "outputs",
    "expectations", "reference_outputs", "preferred_output", "chosen",
)  # fmt: skip
"""Names of what is right come before those that a model's own answer may have too (`output`, `response`)."""
EXPECTATION_FIELDS = ("expected_facts", "guidelines")
"""MLflow's: what must all be in an answer, and what it must keep to; neither is an answer."""
POINTING_FIELDS = ("answer_idx", "answer_index", "correct_option", "correct_index", "correct_choice", "cop")
"""Further names of the answer beside choices."""
CONTEXT_FIELDS = (
    "passage", "context", "contexts", "story", "article", "document", "documents", "paragraph", "body", "background",
    "premise",
)  # fmt: skip
"""What is read before the question, and is the question where there is no other."""
INSTRUCTION_FIELDS = ("instruction", "instructions", "definition", "task_prefix")
SYSTEM_FIELDS = ("system", "system_prompt")
CHOICE_FIELDS = ("choices", "options", "endings", "candidates", "answer_choices", "mc1_targets", "target_scores")
IMAGE_FIELDS = ("image", "images", "image_url", "image_path", "img", "picture")
UNSEEN_FIELDS = ("tools", "functions", "questions", "passages", "paragraphs", "history", "chat_history",
                 "conversation_history", *CONTEXT_FIELDS, *INSTRUCTION_FIELDS, *CHOICE_FIELDS,
                 *IMAGE_FIELDS)  # fmt: skip
"""What looks like a part of the question: where the model will not see it, that is said aloud."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What a user says of the names in a file: which field is the input, or what makes it up; which is the answer."""

    input: str | None = None
    """Shown alone, as it stands; `a.b` is field b of field a."""
    answer: str | None = None
    template: str | None = None
    """The input, with `{{name}}` where a field's value goes."""

    def __post_init__(self) -> None:
        """Raises InputError where both ways to say the input are given."""
        if self.input and self.template:
            raise InputError("--input-field and --template both say what the input is; give one of them")
        if self.template and not SLOT.search(self.template):
            raise InputError(
                f"--template {shortened(self.template)!r} names no field, so all tasks would be the same; write "
                "{{NAME}} where a field's value goes"
            )


def folded(name: object) -> str:
    """A name without its case and punctuation."""
    return "".join(character for character in str(name).casefold() if character.isalnum())


_FOLDED: dict[str, str] = {}


def _fold(name: str) -> str:
    """`folded`, remembered: a file has few names and many lines."""
    if len(_FOLDED) > 10_000:
        _FOLDED.clear()
    return _FOLDED[name] if name in _FOLDED else _FOLDED.setdefault(name, folded(name))


def named(record: Record, names: Iterable[str]) -> str | None:
    """The field of a record that has one of the names, as the record spells it; the first name that is there wins."""
    there: dict[str, str] = {}
    for field in record:
        there.setdefault(_fold(str(field)), field)
    return next((there[_fold(name)] for name in names if _fold(name) in there), None)


def all_named(record: Record, names: Iterable[str]) -> list[str]:
    """All fields of a record that have one of the names, in the order of the names."""
    there: dict[str, list[str]] = {}
    for field in record:
        there.setdefault(_fold(str(field)), []).append(field)
    return [field for name in names for field in there.get(_fold(name), ())]


def either(names: Iterable[str]) -> str:
    """Names as a sentence has them: `a, b or c`."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def seen(record: Record) -> str:
    """The names of a record's fields, and of those of objects in them (`a.b`), as an error shows them."""
    inner = {field: held if isinstance(held, Mapping) else {} for field, held in record.items()}
    names = [name for field in inner for name in ([f"{field}.{one}" for one in inner[field]] or [str(field)])]
    return shortened(", ".join(names) or "none", 200)


def at(record: Record, path: str) -> JSON:
    """The value of a field that a user names, `a.b` for one within another; InputError where there is none."""
    if path in record:
        return record[path]
    value: JSON = record
    for part in path.split("."):
        field = named(value, [part]) if isinstance(value, Mapping) else None
        if field is None:
            raise InputError(f"no field {shortened(path)}, or it is empty; fields seen: {seen(record)}")
        value = value[field]
    return value
