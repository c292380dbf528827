"""Multiple choice: which fields hold the choices, how they are shown, and which letter the answer is. Pure.

An answer may point at a choice by its letter, by its text, or by its number from 0 or from 1. Which of these a file
means is decided over all of its tasks at once, and refused where it could be two.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from string import ascii_uppercase

from ..errors import InputError
from ..hashing import derive_seed
from ..records import JSON
from ..text import shortened
from .cells import written_out
from .fields import CHOICE_FIELDS, Record, all_named, folded, named

_MEMBER = re.compile(r"(option|choice|op|opt|ending|sol|solution|answer|candidate)?(?:([a-z])|(\d{1,2}))")
_MARK = re.compile(r"\s*\(?([A-Za-z])[).:]\s*(?=\S)")
_MOST = 100


@dataclass(frozen=True, slots=True)
class Choices:
    """What a task lets choose from, in order."""

    told: str
    """The fields that hold it."""
    fields: tuple[str, ...]
    texts: tuple[str, ...]
    labels: tuple[str, ...] = ()
    """What the file itself calls each (ARC: `1` to `4`), where it says so."""
    right: int | None = None
    """Which one is right, where the choices themselves say so."""

    @property
    def letters(self) -> tuple[str, ...]:
        """What each is called where it is shown."""
        few = len(self.texts) <= len(ascii_uppercase)
        return tuple(ascii_uppercase[: len(self.texts)]) if few else tuple(str(n + 1) for n in range(len(self.texts)))

    @property
    def shown(self) -> str:
        """A line for each: `A) Paris`."""
        return "\n".join(f"{letter}) {text}" for letter, text in zip(self.letters, self.texts, strict=True))


def choices_of(record: Record, asked: str | None) -> Choices | None:
    """The choices that a record holds, if any: one field with all of them, or one each (`option_a`, `option_b`)."""
    for field in all_named(record, CHOICE_FIELDS):
        if found := _listed(field, record[field]):
            return found
    return _family(record, asked) or _distractors(record)


def _listed(field: str, value: JSON) -> Choices | None:
    if isinstance(value, str):
        value = written_out(value)
    labels: tuple[str, ...] = ()
    right: int | None = None
    if isinstance(value, Mapping):
        kind = {folded(name): held for name, held in value.items()}
        texts, marks = kind.get("text", kind.get("choices")), kind.get("label", kind.get("labels"))
        if isinstance(texts, Sequence) and isinstance(marks, Sequence) and len(texts) == len(marks):
            value, labels, right = texts, tuple(map(str, marks)), _only(marks)
        elif _in_order(list(value)):
            labels, value = tuple(map(str, value)), list(value.values())
        elif all(isinstance(score, int | float) for score in value.values()):
            right, value = _only(list(value.values())), list(value)
    elif isinstance(value, Sequence) and value and all(isinstance(one, Mapping) for one in value):
        labels = tuple(str(one.get("label", one.get("key", one.get("id", "")))) for one in value)
        value = [one.get("text", one.get("value", one.get("content"))) for one in value]
    texts = _texts(value)
    if not texts:
        return None
    labels = labels if right is None and all(labels) and len(set(labels)) == len(texts) else ()
    return Choices(field, (field,), _unmarked(texts), labels, right)


def _only(scores: Sequence[JSON]) -> int | None:
    """The place of the 1 among zeros, as data sets mark what is right."""
    one = [place for place, score in enumerate(scores) if score in (1, 1.0, True)]
    return one[0] if len(one) == 1 and all(score in (0, 1) for score in scores) else None


def _texts(value: JSON) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not 2 <= len(value) <= _MOST:
        return ()
    simple = all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in value)
    texts = tuple(str(one).strip() for one in value) if simple else ()
    return texts if all(texts) else ()


def _unmarked(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The texts without letters of their own, where each has the one of its place: `A)21`."""
    marks = [_MARK.match(text) for text in texts]
    own = [mark.group(1).upper() if mark else "" for mark in marks]
    if own != list(ascii_uppercase[: len(texts)]):
        return texts
    return tuple(text[mark.end() :].strip() if mark else text for text, mark in zip(texts, marks, strict=True))


def _in_order(names: Sequence[JSON]) -> bool:
    """Whether names count: A, B, C; a, b; 0, 1, 2; or 1, 2, 3."""
    upper = [str(name).strip().upper() for name in names]
    counts = [list(ascii_uppercase[: len(upper)]), *([str(n + start) for n in range(len(upper))] for start in (0, 1))]
    return len(upper) >= 2 and upper in counts


def _family(record: Record, asked: str | None) -> Choices | None:
    """Choices that have a field each: option_a, option_b; choice1, choice2; opa, opb; A, B, C."""
    families: dict[str, dict[str, str]] = {}
    for field in record:
        if field != asked and (match := _MEMBER.fullmatch(folded(field))):
            families.setdefault(f"{match[1] or ''}{'#' if match[3] else ''}", {})[(match[2] or match[3])] = field
    for stem, members in families.items():
        marks = sorted(members, key=lambda mark: (len(mark), mark))
        counted = list(takewhile(lambda pair: pair[0] == pair[1].upper(), zip(_count(marks), marks, strict=False)))
        fields = tuple(members[mark] for _, mark in counted)
        texts = _texts([record[field] for field in fields])
        if texts and stem not in ("#", "answer#", "solution#"):  # columns 0, 1, 2; several answers
            return Choices(f"{fields[0]} to {fields[-1]}", fields, texts)
    return None


def _count(marks: Sequence[str]) -> Iterable[str]:
    first = marks[0] if marks else "a"
    return map(str, range(int(first), int(first) + _MOST)) if first in ("0", "1") else iter(ascii_uppercase)


def _distractors(record: Record) -> Choices | None:
    """A right answer and wrong ones beside it (SciQ), in an order by hash, which gives nothing away."""
    wrong = [field for field in record if re.fullmatch(r"distractor\d|incorrectanswer\d", folded(field))]
    right = named(record, ("correct_answer",))
    if right is None or not wrong:
        return None
    held = {field: str(record[field]) for field in (right, *wrong)}
    whole = {field: text.encode(errors="replace").decode() for field, text in held.items()}  # as a hash can hold it
    order = sorted(held, key=lambda field: derive_seed("choice", sorted(whole.values()), whole[field]))
    texts = _texts([held[field] for field in order])
    return (
        Choices(f"{right} + {wrong[0]} to {wrong[-1]}", tuple(order), texts, (), order.index(right)) if texts else None
    )


Pointed = tuple[Choices, JSON]
"""Choices, and what the file says of the right one."""


def picked(asked: Sequence[Pointed]) -> tuple[list[int | InputError], str]:
    """Which choice is right in each task (an InputError where it is unclear), and in which way the file says so.

    One way is taken for the whole file: the only one by which every answer points at a choice. Several that do are as
    good as one where they agree.
    """
    ways = {way: [point(choices, answer) for choices, answer in asked] for way, point in _WAYS.items()}
    whole = {way: found for way, found in ways.items() if None not in found}
    if "text" in whole and all(isinstance(answer, str) for _, answer in asked):  # "3" of "3", "4", "5" is no number
        whole = {way: found for way, found in whole.items() if not way.startswith("number")}
    if len({tuple(found) for found in whole.values()}) == 1:
        way, found = next(iter(whole.items()))
        return [place for place in found if place is not None], way
    if len(whole) > 1:
        return _unclear(asked, whole), ""
    alone = [[found[place] for way, found in ways.items() if way in ("letter", "text")] for place in range(len(asked))]
    return [_either_way(*pointed, places) for pointed, places in zip(asked, alone, strict=True)], "letter or text"


def _unclear(asked: Sequence[Pointed], whole: Mapping[str, list[int | None]]) -> list[int | InputError]:
    """The first answer that two ways read differently is the error."""
    for place, (choices, answer) in enumerate(asked):
        read = {way: choices.letters[found[place] or 0] for way, found in whole.items()}
        if len(set(read.values())) > 1:
            (one, first), (other, second) = list({letter: way for way, letter in read.items()}.items())[:2]
            told = f"the answer {shortened(answer)} may be choice {one} (by its {first}) or {other} (by its {second})"
            error = InputError(f"{told}; write letters or texts as answers")
            return [*([0] * place), error, *([0] * (len(asked) - place - 1))]
    raise AssertionError("ways that differ differ somewhere")


def _either_way(choices: Choices, answer: JSON, places: Sequence[int | None]) -> int | InputError:
    found = {place for place in places if place is not None}
    if len(found) == 1:
        return found.pop()
    shown = shortened(", ".join(choices.texts))
    if found:
        return InputError(
            f"the answer {shortened(answer)} is the letter of one choice and the text of another: {shown}"
        )
    return InputError(f"the answer {shortened(answer)} is none of the choices {shown}, nor a letter or number of one")


def _letter(choices: Choices, answer: JSON) -> int | None:
    """The place of the choice whose letter, or the file's own label, the answer is."""
    if not isinstance(answer, str):
        return None
    bare = answer.strip().strip("()[].: ").upper()
    own = [label.strip().upper() for label in choices.labels]
    names = own if bare in own else list(choices.letters)
    if bare in names:
        return names.index(bare)
    mark = _MARK.match(answer)  # "B) Paris"
    place = names.index(mark[1].upper()) if mark and mark[1].upper() in names else None
    return place if place is not None and answer.strip().endswith(choices.texts[place]) else None


def _text(choices: Choices, answer: JSON) -> int | None:
    """The place of the only choice with the answer's text."""
    if not isinstance(answer, str | int | float) or isinstance(answer, bool):
        return None
    same = [place for place, text in enumerate(choices.texts) if text == str(answer).strip()]
    return same[0] if len(same) == 1 else None


def _number(choices: Choices, answer: JSON, first: int) -> int | None:
    """The place of the choice whose number, counted from `first`, the answer is: 2, 2.0, "2"."""
    text = "" if isinstance(answer, bool) else str(answer).strip().removesuffix(".0")
    if not re.fullmatch(r"[0-9]{1,3}", text) or text in choices.labels:
        return None
    place = int(text) - first
    return place if 0 <= place < len(choices.texts) else None


_WAYS: Mapping[str, Callable[[Choices, JSON], int | None]] = {
    "letter": _letter,
    "text": _text,
    "number from 0": lambda choices, answer: _number(choices, answer, 0),
    "number from 1": lambda choices, answer: _number(choices, answer, 1),
}
