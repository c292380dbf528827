"""Questions of the decisions API, and its answers: which options there are, and how probable each is. Pure.

A `predicate` is true or false, a `choice` is one of its values, a `score` one of its levels, by their labels. Values
are typed: the text `true` is another option than true.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard, get_args

from ..errors import InputError, ModelError
from ..records import JSON, Option, QuestionKind, Usage, question_id
from ..text import shortened

QUESTION_KINDS: tuple[QuestionKind, ...] = get_args(QuestionKind)
MOST_ASKED = 400
"""In one request."""
MOST_CHOICES = 255
FEWEST_OPTIONS = 2
_TEXTS = frozenset(("text", "refusal", "data"))
"""Keys of which a part of text has one."""
_LARGEST_SHARE = 1e9
_HASHED = 16
"""Hex digits that tell one image from another."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question: what is asked, and what the answer may be."""

    kind: QuestionKind
    instructions: str
    options: tuple[Option, ...]
    """In order; of a predicate, true and false."""
    described: tuple[str, ...] = ()
    """What is said of each option; empty where nothing is."""
    name: str | None = None

    @property
    def id(self) -> str:
        """Of what it asks: whatever it is named, and whichever options it has."""
        return question_id(self.kind, self.instructions)


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to the questions of one request, in their order; each may be a refusal."""

    answers: tuple[JSON, ...]
    usage: Usage
    replayed: bool = field(default=False, compare=False)
    """From the journal: no call was made."""


def parse_answers(response: str, asked: int) -> Answers:
    """A response's JSON text with as many answers as were asked for; raises ModelError when it is not one."""
    try:
        payload = json.loads(response)
        answers = tuple(payload["answers"])
        if len(answers) != asked:
            raise ValueError("another number of answers")
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise ModelError(f"no decisions: {shortened(response)!r}") from error
    told = payload.get("usage")
    counts = [told.get(name) if isinstance(told, Mapping) else 0 for name in ("input_tokens", "output_tokens")]
    return Answers(answers, Usage(1, *(count if type(count) is int and 0 < count < 2**63 else 0 for count in counts)))


def parse_questions(given: JSON) -> tuple[Question, ...]:
    """The questions of a request; raises InputError, naming what is wrong."""
    if not isinstance(given, list) or not given:
        raise InputError(f"questions must be a list of 1 to {MOST_ASKED} questions")
    if len(given) > MOST_ASKED:
        raise InputError(f"questions has {len(given)} entries; at most {MOST_ASKED} can be asked at once")
    return tuple(read_question(one, f"questions[{place}]") for place, one in enumerate(given))


def read_question(given: JSON, where: str) -> Question:
    """One question; `where` names it in the InputError for what is none."""
    if not isinstance(given, Mapping):
        raise InputError(f"{where} must be an object with type and instructions")
    kind = next((one for one in QUESTION_KINDS if one == given.get("type")), None)
    if kind is None:
        raise InputError(f"{where}.type must be predicate, choice or score, and is {given.get('type')!r}")
    name = given.get("name")
    if not isinstance(name, str | None):
        raise InputError(f"{where}.name must be a text")
    instructions = instructions_text(given.get("instructions"))
    if instructions is None:
        raise InputError(f"{where}.instructions must be a text, or a list of parts of text")
    if kind == "predicate":
        return Question(kind, instructions, (True, False), ("", ""), name)
    field, key = ("choices", "value") if kind == "choice" else ("levels", "label")
    entries = given.get(field)
    if not isinstance(entries, list) or not FEWEST_OPTIONS <= len(entries) <= MOST_CHOICES:
        raise InputError(f"{where}.{field} must be a list of {FEWEST_OPTIONS} to {MOST_CHOICES} entries")
    options = tuple(_option(entry, key, f"{where}.{field}[{place}]") for place, entry in enumerate(entries))
    if len(set(options)) < len(options):
        raise InputError(f"{where}.{field} holds an option twice; each must be unique")
    return Question(kind, instructions, options, tuple(_described(entry) for entry in entries), name)


def _option(entry: JSON, key: str, where: str) -> Option:
    value = entry.get(key) if isinstance(entry, Mapping) else None
    if isinstance(value, bool) and key == "value":
        return value
    if isinstance(value, str) and value.strip():
        return value
    raise InputError(f"{where}.{key} must be a text that is not empty{' or a boolean' if key == 'value' else ''}")


def _described(entry: Mapping[str, JSON]) -> str:
    found = entry.get("description")
    return found if isinstance(found, str) else ""


def instructions_text(given: JSON) -> str | None:
    """Instructions as text, whether they are a text or a list of parts; None where they are neither.

    An image, and any other part that holds no text, is told by the hash of it.
    """
    if isinstance(given, str):
        return given
    if not isinstance(given, Sequence) or not all(isinstance(part, Mapping) for part in given):
        return None
    return "\n".join(_part_text(part) for part in given)


def other_than_text(given: JSON) -> str | None:
    """The type of the first part that holds no text ("input_image"); None where all do."""
    parts = [] if isinstance(given, str) else given
    return next((str(part.get("type")) for part in parts if not _TEXTS & part.keys()), None)


def storable(question: JSON) -> JSON:
    """A question's JSON, its instructions as text where they hold an image, which stays out of stores."""
    given = question["instructions"]
    return question if other_than_text(given) is None else {**question, "instructions": instructions_text(given)}


def _part_text(part: Mapping[str, JSON]) -> str:
    if "data" in part:
        return json.dumps(part["data"], ensure_ascii=False)
    if _TEXTS & part.keys():
        return str(part.get("text") or part.get("refusal") or "")
    hashed = hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:_HASHED]
    return f"[{part.get('type')} {hashed}]"


def option_text(option: Option) -> str:
    """An option as a model reads and says it."""
    return option if isinstance(option, str) else str(option).lower()


def read_alike(question: Question) -> str | None:
    """What two options of a question read as, which are told apart by their types alone (`"true"` and `true`)."""
    texts = list(map(option_text, question.options))
    return next((text for text in texts if texts.count(text) > 1), None)


def option_named(question: Question, given: JSON) -> Option | None:
    """The option that a task's answer means; None where it means none, or could mean several.

    It is the option itself, or else the only one that is it in another case, or the place of a level whose labels are
    no numbers.
    """
    for option in question.options:
        if type(given) is type(option) and given == option:
            return option
    wanted = str(given).strip().casefold()
    told = [option for option in question.options if option_text(option).strip().casefold() == wanted]
    if not told and question.kind == "predicate":
        told = [option for option, words in ((True, ("yes", "1")), (False, ("no", "0"))) if wanted in words]
    if not told and type(given) is int and question.kind == "score" and not _are_counted(question):
        told = [option for place, option in enumerate(question.options) if place == given]
    return told[0] if len(told) == 1 else None


def _are_counted(question: Question) -> bool:
    """Whether levels have numbers as labels, so that a number means one of these."""
    return any(option_text(option).strip().lstrip("-").isdecimal() for option in question.options)


def answered(answer: JSON) -> dict[Option, float] | None:
    """The probability of each option in an answer, summing to one; None for a refusal, and for what is no answer."""
    if not isinstance(answer, Mapping):
        return None
    if answer.get("type") == "predicate":
        said = answer.get("probability")
        return {True: float(said), False: 1.0 - float(said)} if is_share(said) and said <= 1 else None
    listed, key = answer.get("probabilities"), "value" if answer.get("type") == "choice" else "label"
    if answer.get("type") not in ("choice", "score") or not isinstance(listed, list) or not listed:
        return None
    found: dict[Option, float] = {}
    for entry in listed:
        option, share = (entry.get(key), entry.get("probability")) if isinstance(entry, Mapping) else (None, None)
        if not isinstance(option, str | bool) or not is_share(share):
            return None
        found[option] = found.get(option, 0.0) + float(share)
    total = sum(found.values())
    return {option: share / total for option, share in found.items()} if total > 0 else None


def option_shares(question: Question, answer: JSON) -> list[float] | None:
    """The probabilities of a question's options, in their order, over their sum; None where its answer tells none.

    Options that the question has not take no part.
    """
    found = answered(answer)
    shares = [found.get(option, 0.0) for option in question.options] if found else []
    if not any(shares) or answer["type"] != question.kind:
        return None
    total = sum(shares)
    return [share / total for share in shares]


def is_share(given: JSON) -> TypeGuard[float]:
    """Whether a value may stand for a probability: a number of at least 0, and none that a sum could overflow by."""
    return isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= _LARGEST_SHARE
