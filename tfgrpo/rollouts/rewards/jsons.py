"""The rewards `json-equal` and `json-schema`: the JSON of a text by its value, and by a schema."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...hashing import canonical
from ...records import JSON, Rollout, Task
from ...text import shortened
from .matchers import REGEX_SECONDS, right_answers, same_json, without_thinking
from .reward import BuiltInReward, task_in_words

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

SCHEMA_FIELDS = ("json_schema", "schema", "response_schema", "output_schema")
"""Fields of a task that may hold its schema; else its answer may be one."""
_KEYWORDS = frozenset(
    {"$schema", "$ref", "type", "properties", "items", "enum", "const", "anyOf", "oneOf", "allOf", "required"}
)
_FENCED = re.compile(r"```[\w+-]*[ \t]*\r?\n(.*?)\r?\n?[ \t]*```", re.DOTALL)
_TAGGED = re.compile(r"<(answer|json|output|result)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_MOST_CHARACTERS = 1_000_000


class NoJSONError(ValueError):
    """A text that holds no JSON, and why."""


def json_of(text: str) -> JSON:
    """The JSON value that a text is, or that stands in its last fence or in <answer> tags; raises NoJSONError."""
    said = without_thinking(text).strip().removeprefix("\ufeff")
    if len(said) > _MOST_CHARACTERS:
        raise NoJSONError(f"it is longer than {_MOST_CHARACTERS:,} characters")
    why = "it is empty"
    for part in _parts(said):
        try:
            return json.loads(part, parse_constant=_refused, object_pairs_hook=_each_once)
        except json.JSONDecodeError as error:
            why = f"{error.msg}, line {error.lineno}, column {error.colno}"
        except (ValueError, RecursionError) as error:
            why = shortened(error)
    raise NoJSONError(why)


def _parts(said: str) -> Iterator[str]:
    """Where JSON may stand, the whole text last, so that what is wrong with it is what is told."""
    if found := list(_TAGGED.finditer(said)):
        yield found[-1][2]
    if fences := list(_FENCED.finditer(said)):
        yield fences[-1][1]
    if said:
        yield said


def _each_once(pairs: list[tuple[str, JSON]]) -> JSON:
    """An object; ValueError where it says two things of one name."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _refused(name: str) -> JSON:
    raise ValueError(f"{name} is no JSON")


@dataclass(frozen=True, slots=True)
class JSONEqualReward(BuiltInReward):
    """A Reward of 1 for a text whose JSON has the value of the answer: whatever the spaces and the order of names."""

    name = "json-equal"

    def __call__(self, rollout: Rollout, /) -> tuple[float, str]:
        """Raises InputError, naming the task, when its answer is no JSON."""
        wanted = self._wanted(rollout.task)
        try:
            said = json_of(rollout.text)
        except NoJSONError as error:
            return 0.0, f"no JSON: {error}"
        right = any(same_json(said, one) for one in wanted)
        return (1.0, "") if right else (0.0, f"another value than the answer: {difference(said, wanted[0])}")

    @property
    def reads_text_alone(self) -> bool:
        """It does."""
        return True

    def check(self, task: Task) -> None:
        """Raises InputError as the call does."""
        self._wanted(task)

    def _wanted(self, task: Task) -> list[JSON]:
        """The answer, or the list that it is, or each of the texts in that: all are right."""
        answers = right_answers(task.answer)
        if not answers:
            raise InputError(f"{task_in_words(task)} has no answer, which reward {self.name} needs")
        listed = [task.answer] if isinstance(task.answer, list) else []
        return [*listed, *(self._parsed(answer, task) for answer in answers)]

    def _parsed(self, answer: JSON, task: Task) -> JSON:
        if not isinstance(answer, str):
            return answer
        try:
            return json.loads(answer, parse_constant=_refused)
        except (ValueError, RecursionError):
            if isinstance(task.answer, list):
                return answer
            wrong = f"the answer {shortened(answer)} is not JSON; write texts in quotes, or take reward exact"
            raise InputError(f"{task_in_words(task)} cannot be scored by reward {self.name}: {wrong}") from None


def difference(said: JSON, wanted: JSON, path: str = "$") -> str:
    """The first place where two JSON values differ, in words."""
    if isinstance(said, Mapping) and isinstance(wanted, Mapping):
        for name in (*wanted, *said):
            if name not in said or name not in wanted:
                return f"{path}.{name} is {'missing' if name in wanted else 'not wanted'}"
            if not same_json(said[name], wanted[name]):
                return difference(said[name], wanted[name], f"{path}.{name}")
    if isinstance(said, list) and isinstance(wanted, list):
        if len(said) != len(wanted):
            return f"{path} has {len(said)} entries, not {len(wanted)}"
        for place, (one, other) in enumerate(zip(said, wanted, strict=True)):
            if not same_json(one, other):
                return difference(one, other, f"{path}[{place}]")
    return f"{path} is {shortened(canonical(said), 60)}, not {shortened(canonical(wanted), 60)}"


@dataclass(frozen=True, slots=True)
class JSONSchemaReward(BuiltInReward):
    """A Reward of 1 for a text whose JSON fits the schema of the task; the feedback says where it does not."""

    name = "json-schema"

    def __call__(self, rollout: Rollout, /) -> tuple[float, str]:
        """Raises InputError, naming the task, when it has no usable schema."""
        validator = self._validator(rollout.task)
        try:
            said = json_of(rollout.text)
        except NoJSONError as error:
            return 0.0, f"no JSON: {error}"
        try:
            wrong = next(validator.iter_errors(said), None)
        except TimeoutError:
            return 0.0, "a pattern of the schema took too long on it"
        except RecursionError:
            return 0.0, "it is nested too deep"
        return (1.0, "") if wrong is None else (0.0, f"{wrong.json_path}: {shortened(wrong.message, 200)}")

    @property
    def reads_text_alone(self) -> bool:
        """It does."""
        return True

    def check(self, task: Task) -> None:
        """Raises InputError as the call does."""
        self._validator(task)

    def _validator(self, task: Task) -> "Validator":
        try:
            return _validator(canonical(_schema_of(task)))
        except ValueError as error:
            raise InputError(f"{task_in_words(task)} cannot be scored by reward {self.name}: {error}") from error


def _schema_of(task: Task) -> JSON:
    """The schema that a task brings; raises ValueError where there is none."""
    found = next((task.metadata[name] for name in SCHEMA_FIELDS if task.metadata.get(name) is not None), None)
    if found is None:
        found = task.answer
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            found = None
    if isinstance(found, dict) and isinstance(inner := found.get("json_schema"), dict):
        found = inner  # a response_format as the API takes it
    if isinstance(found, dict) and isinstance(inner := found.get("schema"), dict):
        found = inner
    if isinstance(found, bool) or (isinstance(found, dict) and (not found or _KEYWORDS & found.keys())):
        return found
    raise ValueError(f"it has no JSON schema; put one into a field named {' or '.join(SCHEMA_FIELDS[:2])}")


@lru_cache
def _validator(schema: str) -> "Validator":
    """What checks values against a schema, given as JSON text; raises ValueError for what is no schema."""
    from jsonschema import SchemaError, validators

    parsed = json.loads(schema)
    kind = validators.validator_for(parsed, default=validators.validator_for({}))
    try:
        kind.check_schema(parsed)
    except SchemaError as error:
        raise ValueError(f"its schema is none: {error.json_path}: {shortened(error.message, 200)}") from None
    extend: Any = validators.extend  # without types
    found: Validator = extend(kind, {"pattern": _pattern, "patternProperties": _pattern_properties})(parsed)
    return found


_DOLLAR = re.compile(r"(\\.|\[(?:\\.|[^\]\\])*\])|\$", re.DOTALL)
"""What a pattern escapes or has in a class, or else a `$`."""


def _matches(pattern: str, text: str) -> bool:
    """Whether a schema's pattern is in a text; its `$` is the very end, as it is not for Python."""
    import regex

    strict = _DOLLAR.sub(lambda found: found[1] or r"\Z", pattern)
    return regex.search(strict, text, timeout=REGEX_SECONDS) is not None


def _pattern(validator: Any, pattern: str, instance: JSON, schema: JSON) -> Iterator[Exception]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: JSON, instance: JSON, schema: JSON) -> Iterator[Exception]:
    if not isinstance(instance, dict):
        return
    for pattern, held in patterns.items():
        for name, value in instance.items():
            if _matches(pattern, name):
                yield from validator.descend(value, held, path=name, schema_path=pattern)
