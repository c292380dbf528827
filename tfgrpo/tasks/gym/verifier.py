"""Verifiers: how right an answer is, by the family of reasoning-gym that made its task."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import ModuleType
from typing import TypeAlias

from ...errors import InputError
from ...extras import install_hint
from ...records import JSON, Task

EXECUTING = frozenset(
    {
        "binary_matrix", "countdown", "intermediate_integration", "n_queens", "polynomial_multiplication", "puzzle24",
        "simple_integration", "spiral_matrix", "string_insertion",
    }
)  # fmt: skip
"""Families whose verifiers run the answer as Python (`eval`, or SymPy's `parse_expr`): a model's text never is here."""

Verifier: TypeAlias = Callable[[str, Mapping[str, JSON]], float]
"""From an answer and the entry that the family made to a score in [0, 1]."""


def library() -> ModuleType:
    """The module `reasoning_gym`; raises InputError without the extra."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the many libraries that it loads
            return importlib.import_module("reasoning_gym")
    except ImportError as error:
        raise InputError(f"tasks of reasoning-gym need the extra `gym`: {install_hint('gym')}") from error


@lru_cache
def verifier(family: str) -> Verifier:
    """The verifier of a family; raises InputError where there is none that may be used."""
    if family in EXECUTING:
        raise InputError(f"the verifier of family {family} runs answers as Python, which is not safe; take another")
    try:
        found: Verifier = library().factory.get_score_answer_fn(family)
    except (ValueError, AssertionError) as error:  # no such family, or one that is nothing without a configuration
        raise InputError(f"reasoning-gym has no verifier for family {family}") from error
    return found


def of_gym(task: Task) -> tuple[Verifier, Mapping[str, JSON]]:
    """The verifier of the task's family, and the entry that it made; InputError for a task that is none of its."""
    family, told = task.metadata.get("gym"), task.metadata.get("entry")
    if not (isinstance(family, str) and isinstance(told, Mapping)):
        raise InputError(f"task {task.id} is none of reasoning-gym's, which reward gym needs; take another reward")
    return verifier(family), {"question": task.input, "answer": task.answer, "metadata": {**told}}


def verified(task: Task, text: str) -> float:
    """What the verifier says of the text in the last <answer> tags, or of the whole; raises InputError as `of_gym`."""
    scores, entry = of_gym(task)
    tagged: str | None = library().utils.extract_answer(text)
    said = text.strip() if tagged is None else tagged
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, of text that is no number
            return float(scores(said, entry))
    except Exception:  # verifiers parse answers without a check: what they cannot read is wrong, and counts as such
        return 0.0
