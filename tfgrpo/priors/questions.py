"""Offsets of options in a portable prior, written and read back. Pure."""

from collections.abc import Sequence
from typing import get_args

from ..records import JSON, Option, OptionOffset, QuestionKind, QuestionOffsets
from .fields import LARGEST, JSONField
from .prompting import INSTRUCTION_CHARS

MOST_QUESTIONS = 1_000
MOST_OPTIONS = 255
"""Of one question; the decisions API takes no more."""
FURTHEST_OFFSET = 100.0
"""Nats: no offset is further from zero."""


def questions_json(questions: Sequence[QuestionOffsets]) -> list[dict[str, JSON]]:
    """Each question with its offsets, the strongest first."""
    return [
        {
            "id": entry.id,
            "type": entry.kind,
            "instructions": entry.instructions,
            "offsets": [_offset_json(one) for one in strongest_offsets(entry)],
        }
        for entry in questions
    ]


def strongest_offsets(entry: QuestionOffsets) -> list[OptionOffset]:
    """The offsets of a question, the strongest first."""
    return sorted(entry.offsets, key=lambda one: (-abs(one.offset), str(one.option)))


def _offset_json(entry: OptionOffset) -> dict[str, JSON]:
    return {"option": entry.option, "offset": entry.offset, "z": entry.z, "evidence": entry.evidence}


def read_questions(form: JSONField) -> tuple[QuestionOffsets, ...]:
    """The questions of a form; none where it has none. Raises InputError, naming what is wrong."""
    if "questions" not in form.object():
        return ()
    found = tuple(_question(place) for place in form.at("questions").items(MOST_QUESTIONS))
    if len({entry.id for entry in found}) < len(found):
        form.at("questions").wrong("a list without a question that stands in it twice")
    return found


def _question(place: JSONField) -> QuestionOffsets:
    kind: QuestionKind = place.at("type").one_of(get_args(QuestionKind))
    offsets = tuple(_offset(entry) for entry in place.at("offsets").items(MOST_OPTIONS))
    if len({(type(one.option), one.option) for one in offsets}) < len(offsets):
        place.at("offsets").wrong("a list without an option that stands in it twice")
    entry = QuestionOffsets(kind, place.at("instructions").text(INSTRUCTION_CHARS), offsets)
    place.at("id").hashes_to(entry.id)
    return entry


def _offset(place: JSONField) -> OptionOffset:
    return OptionOffset(
        _option(place.at("option")),
        place.at("offset").number(-FURTHEST_OFFSET, FURTHEST_OFFSET),
        place.at("z").number(-LARGEST, LARGEST),
        place.at("evidence").whole(),
    )


def _option(place: JSONField) -> Option:
    return place.value if isinstance(place.value, bool) else place.text(INSTRUCTION_CHARS)
