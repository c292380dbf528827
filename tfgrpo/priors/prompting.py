"""The way to prompt in a portable prior: its instruction, its demonstrations and how many of them a request is shown,
written and read back. Pure."""

from collections.abc import Mapping
from typing import Any, TypedDict

from ..records import JSON, Demonstration, Message, Prior
from ..tasks.messages import ROLES
from .fields import JSONField

MOST_DEMONSTRATIONS = 5_000
MOST_MESSAGES = 1_000
"""Of one demonstration at most."""
INSTRUCTION_CHARS = ANSWER_CHARS = 20_000


class Prompting(TypedDict):
    """Those fields of a prior."""

    instruction: str | None
    demonstrations: tuple[Demonstration, ...]
    nearest: int


def has_prompting(prior: Prior) -> bool:
    """Whether a prior holds a way to prompt: a form without one is as it was before there were any."""
    return bool(prior.instruction or prior.demonstrations or prior.nearest)


def prompting_json(prior: Prior) -> dict[str, JSON]:
    """The fields of the form."""
    return {
        "instruction": prior.instruction,
        "demonstrations": [demonstration_json(entry) for entry in prior.demonstrations],
        "nearest": prior.nearest,
    }


def demonstration_json(entry: Demonstration) -> dict[str, JSON]:
    """A demonstration, field by field."""
    asked = entry.input if isinstance(entry.input, str) else [dict(message) for message in entry.input]
    return {"id": entry.id, "input": asked, "answer": entry.answer, "task": entry.task}


def read_prompting(form: JSONField) -> Prompting:
    """The fields of a form that has them; raises InputError, naming what is wrong."""
    instruction = form.at("instruction").text_or_none(INSTRUCTION_CHARS)
    if instruction is not None and not instruction.strip():
        form.at("instruction").wrong("a text or null")
    shown = tuple(_demonstration(entry) for entry in form.at("demonstrations").items(MOST_DEMONSTRATIONS))
    if len({entry.id for entry in shown}) < len(shown):
        form.at("demonstrations").wrong("a list without a demonstration that stands in it twice")
    nearest = form.at("nearest").whole()
    if nearest and not shown:
        form.at("nearest").wrong("0 where there are no demonstrations to choose from")
    return Prompting(instruction=instruction, demonstrations=shown, nearest=nearest)


def _demonstration(place: JSONField) -> Demonstration:
    asked = place.at("input")
    given = asked.text(ANSWER_CHARS) if isinstance(asked.value, str) else _messages(asked)
    if not given:
        asked.wrong("a text or a list of chat messages")
    entry = Demonstration(given, place.at("answer").text(ANSWER_CHARS), place.at("task").text())
    place.at("id").hashes_to(entry.id)
    return entry


def _messages(place: JSONField) -> tuple[Message, ...]:
    return tuple(_message(entry) for entry in place.items(MOST_MESSAGES))


def _message(place: JSONField) -> Mapping[str, Any]:
    place.at("role").one_of(ROLES)
    content = place.at("content").value if "content" in place.object() else None
    if not (content is None or isinstance(content, (str, list))):
        place.at("content").wrong("a text, a list of parts or null")
    return place.finite_object()
