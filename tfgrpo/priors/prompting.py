"""The way to prompt in a portable prior, written and read back: its instruction, its demonstrations, how many of them a
request is shown, and the model that chooses them. Pure."""

from collections.abc import Mapping
from typing import Any, TypedDict

from ..records import JSON, Demonstration, Message, Prior
from ..tasks.messages import ROLES
from .fields import JSONField

MOST_DEMONSTRATIONS = 5_000
MOST_MESSAGES = 1_000
"""Of one demonstration at most."""
INSTRUCTION_CHARS = ANSWER_CHARS = 20_000
NAME_CHARS = 200
"""Of a name, such as that of an embedding model, at most."""
VECTOR_CHARS = 40_000
"""Of a vector in the compact form at most: 30,000 dimensions."""


class Prompting(TypedDict):
    """Those fields of a prior."""

    instruction: str | None
    demonstrations: tuple[Demonstration, ...]
    nearest: int
    embedding: str


NO_PROMPTING = Prompting(instruction=None, demonstrations=(), nearest=0, embedding="")


def has_prompting(prior: Prior) -> bool:
    """Whether a prior holds a way to prompt: a form without one is as it was before there were any."""
    return bool(prior.instruction or prior.demonstrations or prior.nearest)


def prompting_json(prior: Prior) -> dict[str, JSON]:
    """The fields of the form."""
    return {
        "instruction": prior.instruction,
        "demonstrations": [
            {**demonstration_json(entry), **({"vector": entry.vector} if prior.embedding else {})}
            for entry in prior.demonstrations
        ],
        "nearest": prior.nearest,
        **({"embedding": prior.embedding} if prior.embedding else {}),
    }


def demonstration_json(entry: Demonstration) -> dict[str, JSON]:
    """A demonstration, field by field."""
    asked = entry.input if isinstance(entry.input, str) else [dict(message) for message in entry.input]
    return {"id": entry.id, "input": asked, "answer": entry.answer, "task": entry.task}


def read_prompting(form: JSONField, *, embedded: bool = False) -> Prompting:
    """The fields of a form that has them; raises InputError, naming what is wrong.

    `embedded`: it has vectors, and the name of the model that they are by.
    """
    instruction = form.at("instruction").text_or_none(INSTRUCTION_CHARS)
    if instruction is not None and not instruction.strip():
        form.at("instruction").wrong("a text or null")
    embedding = form.at("embedding").text(NAME_CHARS) if embedded else ""
    listed = form.at("demonstrations").items(MOST_DEMONSTRATIONS)
    shown = tuple(_demonstration(entry, embedded=embedded) for entry in listed)
    if len({entry.id for entry in shown}) < len(shown):
        form.at("demonstrations").wrong("a list without a demonstration that stands in it twice")
    nearest = form.at("nearest").whole()
    if nearest and not shown:
        form.at("nearest").wrong("0 where there are no demonstrations to choose from")
    if embedded and not (embedding and nearest):
        form.at("embedding").wrong("the name of a model where there are demonstrations to choose from")
    if len({len(entry.vector) for entry in shown}) > 1:
        form.at("demonstrations").wrong("a list of demonstrations with vectors of one length")
    return Prompting(instruction=instruction, demonstrations=shown, nearest=nearest, embedding=embedding)


def _demonstration(place: JSONField, *, embedded: bool) -> Demonstration:
    asked = place.at("input")
    given = asked.text(ANSWER_CHARS) if isinstance(asked.value, str) else _messages(asked)
    if not given:
        asked.wrong("a text or a list of chat messages")
    vector = _vector(place.at("vector")) if embedded else ""
    entry = Demonstration(given, place.at("answer").text(ANSWER_CHARS), place.at("task").text(), vector)
    place.at("id").hashes_to(entry.id)
    return entry


def _vector(place: JSONField) -> str:
    from ..surfaces.nearest import vector_in  # a client without a pool gets on without numpy

    text = place.text(VECTOR_CHARS)
    if not len(vector_in(text)):
        place.wrong("a vector in base64, a byte a number, shorter than 4,096")
    return text


def _messages(place: JSONField) -> tuple[Message, ...]:
    return tuple(_message(entry) for entry in place.items(MOST_MESSAGES))


def _message(place: JSONField) -> Mapping[str, Any]:
    place.at("role").one_of(ROLES)
    content = place.at("content").value if "content" in place.object() else None
    if not (content is None or isinstance(content, (str, list))):
        place.at("content").wrong("a text, a list of parts or null")
    return place.finite_object()
