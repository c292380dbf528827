"""One record as the parts of a task: what is asked and what stands before it, what is right, and what is left out.

Order of what the model is shown: a system prompt, images, the instruction, the context, the question, the choices.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from ..records import JSON, Message
from ..text import shortened
from .choices import Choices, choices_of
from .fields import (
    ANSWER_FIELDS,
    CONTEXT_FIELDS,
    IMAGE_FIELDS,
    INPUT_FIELDS,
    INSTRUCTION_FIELDS,
    POINTING_FIELDS,
    SLOT,
    SYSTEM_FIELDS,
    Fields,
    Record,
    all_named,
    at,
    either,
    folded,
    named,
    seen,
)
from .messages import chat, image_url, is_chat, spoken, with_images
from .shapes import plain_record

Shown = str | tuple[Message, ...]
_HERE = Path()
_SURE = 20
"""Characters of a context that stand in a question by no chance."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What one record was understood as."""

    input: Shown
    answer: JSON
    metadata: Mapping[str, JSON]
    asked: str
    """Where the input comes from: `question + choices`."""
    answered: str | None
    """Which field is the answer, if any."""
    choices: Choices | None = None
    left: tuple[str, ...] = ()
    """Fields that are no part of the input, nor the answer."""


def parts_of(value: JSON, fields: Fields, folder: Path = _HERE) -> Parts:
    """One entry as parts; InputError says what is wrong, and leaves saying where to the caller.

    Paths of images are from `folder`.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"expected an object with an input, read {shortened(value)}")
    given = {name: held for name, held in value.items() if held is not None}
    if fields.input or fields.template:
        return _as_told(given, fields)
    record = plain_record(given)
    return _Reading(record, fields, folder, value).parts()


def _as_told(record: Record, fields: Fields) -> Parts:
    """The parts where a user says which field is the input, or how it is put together."""
    if fields.template:
        used = [slot for slot in SLOT.findall(fields.template) if slot in record]
        shown: Shown = SLOT.sub(lambda match: _text_of(at(record, match[1])) or "", fields.template)
        told = "the template"
    else:
        used, told = [fields.input or ""], fields.input or ""
        shown = _checked(told, at(record, told))
    answered = fields.answer or named({name: held for name, held in record.items() if name not in used}, ANSWER_FIELDS)
    answer = at(record, answered) if answered else None
    right = answered
    if not answered and len(shown) > 1 and not isinstance(shown, str) and (said := _said_last(shown)):
        shown, answer, told, right = shown[:-1], said, f"{told} but the last", f"the last of {told}"
    taken = {answered, *(used if not fields.template else ())}
    metadata = _metadata({name: held for name, held in record.items() if name not in taken})
    meant = {name if name in record else named(record, [name]) for name in (answered, *used) if name}
    left = tuple(str(name) for name in record if name not in {*meant, "metadata"})
    return Parts(shown, answer, metadata, told, right, left=left)


def _said_last(messages: tuple[Message, ...]) -> JSON:
    """What the assistant says as the last of messages; None where another speaks last."""
    return spoken(messages) if messages[-1]["role"] == "assistant" else None


@dataclass(slots=True)
class _Reading:
    """One record while its parts are taken out of it."""

    record: Record
    fields: Fields
    folder: Path
    given: Record
    told: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    """Fields whose values are part of the input."""

    def parts(self) -> Parts:
        asked = self._asked()
        value = self.record[asked]
        choices = choices_of({name: held for name, held in self.record.items() if name != asked}, asked)
        answered = self._answered(asked, choices)
        if is_chat(value) or not isinstance(value, str):
            return self._conversation(asked, answered)
        _checked(asked, value)
        text = "\n\n".join([*self._before(asked, value), value, *([choices.shown] if choices else [])])
        self.told.append(asked)
        if choices:
            self.told.append(choices.told)
            self.shown += [name for name in choices.fields if name in self.record]
        answer = self.record[answered] if answered else None
        if choices and choices.right is not None:
            answer = choices.letters[choices.right]
        return self._done(self._framed(text), answer, asked, answered, choices)

    def _asked(self) -> str:
        """The field that is the question: one of its names, else the instruction, else all that there is to read."""
        names = [name for name in all_named(self.record, INPUT_FIELDS) if name != self.fields.answer]
        names = [name for name in names if not (folded(name) == "request" and isinstance(self.record[name], Mapping))]
        others = [named(self.record, INSTRUCTION_FIELDS), *all_named(self.record, CONTEXT_FIELDS)[:1]]
        texts = [name for name in others if name is not None and _text_of(self.record[name])]
        blank = names and isinstance(self.record[names[0]], str) and not self.record[names[0]].strip()
        if names and not (blank and texts):
            return names[0]
        if texts:
            return texts[0]
        raise InputError(
            f"no input; name it {either(INPUT_FIELDS[:4])}; fields seen: {seen(self.given)}; or say which of them it is"
            " with --input-field"
        )

    def _answered(self, asked: str, choices: Choices | None) -> str | None:
        if self.fields.answer:
            named_by_user = self.fields.answer
            self.record = {**self.record, named_by_user: at({**self.given, **self.record}, named_by_user)}
            return named_by_user
        names = (*ANSWER_FIELDS, *(POINTING_FIELDS if choices else ()))
        used = {asked, *(choices.fields if choices and choices.right is None else ())}
        return named({name: held for name, held in self.record.items() if name not in used}, names)

    def _before(self, asked: str, question: str) -> list[str]:
        """Instruction and context, where the question does not hold them already."""
        texts = []
        found = [named(self.record, INSTRUCTION_FIELDS), *all_named(self.record, CONTEXT_FIELDS)]
        for name in found:
            text = _text_of(self.record[name]) if name is not None and name != asked else None
            if name is None or not text or (len(text) > _SURE and text in question):
                continue
            texts.append(text)
            self.told.append(name)
            self.shown.append(name)
        return texts

    def _framed(self, text: str) -> Shown:
        """The text with its images, after its system prompt."""
        images = []
        for name in all_named(self.record, IMAGE_FIELDS):
            held = self.record[name]
            images += [image_url(name, one, self.folder) for one in (held if isinstance(held, list) else [held])]
            self.told.append(name)
            self.shown.append(name)
        system = self._system()
        if not images and not system:
            return text
        return (*system, *(with_images(text, images) if images else ({"role": "user", "content": text},)))

    def _system(self) -> tuple[Message, ...]:
        """The system prompt as a message, where a field has one: a text, or Bedrock's list of texts."""
        name = named(self.record, SYSTEM_FIELDS)
        held = self.record[name] if name else None
        parts = held if isinstance(held, list) else [held]
        said = "\n\n".join(filter(None, (_text_of(one.get("text") if isinstance(one, dict) else one) for one in parts)))
        self.shown += [name] if name else []
        if name is None or not said:
            return ()
        self.told.insert(0, name)
        return ({"role": "system", "content": said},)

    def _conversation(self, asked: str, answered: str | None) -> Parts:
        """A list of messages; where the last is the assistant's, it is the answer."""
        messages = _checked(asked, self.record[asked])
        alone = len(messages) == 1
        if not isinstance(messages, str):
            if messages[0]["role"] not in ("system", "developer"):
                messages = (*self._system(), *messages)
            else:
                said = ("", messages[0].get("content"))
                self.shown += [name for name in all_named(self.record, SYSTEM_FIELDS) if self.record[name] in said]
        if isinstance(messages, str) or messages[-1]["role"] != "assistant":
            self.told.append(asked)
            return self._done(messages, self.record[answered] if answered else None, asked, answered)
        if answered or alone:
            both = f"there is an answer too, {answered}" if answered else "there is nothing before it"
            raise InputError(f"the last of {asked} is the assistant's, and {both}; take one of them out")
        answer = spoken(messages)
        if not answer:
            raise InputError(
                f"the last of {asked} is the assistant's and has no text; name the answer in its own field"
            )
        self.told.append(f"{asked} but the last")
        parts = self._done(messages[:-1], answer, asked, None)
        return Parts(parts.input, answer, parts.metadata, parts.asked, f"the last of {asked}", None, parts.left)

    def _done(
        self, shown: Shown, answer: JSON, asked: str, answered: str | None, choices: Choices | None = None
    ) -> Parts:
        rest = {name: held for name, held in self.record.items() if name not in (asked, answered)}
        empty = {name for name, held in rest.items() if isinstance(held, (str, list, dict)) and not held}
        left = tuple(str(name) for name in rest if name not in {*self.shown, *empty, "metadata"})
        plain = answer if answered is None or choices else spoken(answer) or answer
        return Parts(shown, plain, _metadata(rest), " + ".join(self.told), answered, choices, left)


def _metadata(rest: Record) -> Mapping[str, JSON]:
    """All other fields; those of `metadata` among them."""
    nested = rest.get("metadata", {})
    beside = {name: held for name, held in rest.items() if name != "metadata"}
    return {**(nested if isinstance(nested, dict) else {"metadata": nested}), **beside}


def _checked(name: str, value: JSON) -> Shown:
    if isinstance(value, (list, tuple)) and value:
        return chat(name, value)
    if isinstance(value, str) and value.strip():
        return value
    raise InputError(f"{name} must be text or a list of chat messages, read {shortened(value) or 'nothing'}")


def _text_of(value: JSON) -> str | None:
    """What stands before a question as text: texts, lists of them, HotpotQA's titles and sentences; None: no text."""
    if isinstance(value, str):
        return value.strip() and value
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        titles, texts = value.get("title"), value.get("sentences")
        if not (isinstance(titles, list) and isinstance(texts, list) and all(isinstance(one, list) for one in texts)):
            return None
        pairs = zip(titles, texts, strict=False)
        return "\n\n".join(f"{title}: {''.join(map(str, sentences))}" for title, sentences in pairs)
    if isinstance(value, (list, tuple)) and value:
        texts = [None if isinstance(one, int | float) else _text_of(one) for one in value]
        return "\n\n".join(text for text in texts if text) if all(texts) else None
    return None
