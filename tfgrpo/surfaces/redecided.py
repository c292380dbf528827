"""Labels decided again in the responses of chat completions and of the Responses API: how it is asked for, and done.

It is done where an upstream was seen to refuse biases and to give log-probabilities, and the request frame says that
answers are labels, or the request's own JSON schema that a field has one of some values (`enum`). Nothing else of an
answer is touched, and what the upstream said stays beside it, under `tfgrpo_frozen`. Log-probabilities that the caller
did not ask for are taken out again; a caller who asked keeps those of the frozen model. No I/O.
"""

import json
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import repeat
from operator import itemgetter
from typing import NamedTuple, Protocol, TypeAlias

import orjson

from ..hashing import derive_seed
from ..model.tokenizer import ends_answer
from ..records import JSON, Backend, ChatBody, Prior
from ..settings import LISTED_FOR_LABELS, MOST_LABELS
from .decided import FROZEN_FIELD, Decided
from .label_set import LabelSet, label_set
from .labels import Alternatives, ListedToken, Redecision, Sampling, Undecided
from .surface import SurfaceName, listed_for_labels, objects_in

REDECIDED_HEADER = "x-tfgrpo-redecided"
"""Of a response: whether a label was decided again: CHANGED or IN_FRONT, kept, or why not (`labels.Undecided`), which
stands behind a change that was not among all labels."""
CHANGED, IN_FRONT = "changed", "changed-before-text"
"""In front: words follow that the model said of the label that it had said itself; they are as they were."""
_INCLUDED = "message.output_text.logprobs"
_LOOKED_BACK = 1_000
"""Bytes of an answer in which a field's name and what stands around it begin."""
_DEEPEST = 16
"""Levels of a JSON schema that are looked at."""
_ROUNDING = 1e-3
"""A log-probability this far above 0 is 0; one farther is none."""


_BYTES, _LOGPROB = itemgetter("bytes"), itemgetter("logprob")
_LISTED, _LISTED_ENDS = b'"top_logprobs":', b"}]"
_WORD = f"~{os.urandom(12).hex()}:"
_PLACE = re.compile(rb'"(%s\d+)"' % _WORD.encode())
Lists: TypeAlias = Mapping[str, bytes]
"""Alternatives that are not read yet, by the word that stands for them."""
_NONE_CUT: Lists = {}


class Looking(Protocol):
    """What tokens are read for."""

    @property
    def is_looking(self) -> bool:
        """Whether the alternatives of the next token matter."""
        ...


class LabelDecision(Looking, Protocol):
    """What decides labels as tokens come: one, or those of the fields of a JSON answer."""

    is_changed: bool
    is_followed: bool
    undecided: Undecided | None

    def see(self, sampled: ListedToken, others: Alternatives) -> bytes | None:
        """What is said in place of a token; None: the token itself."""
        ...

    def end(self) -> bytes:
        """What was held back until the answer ended."""
        ...

    @property
    def is_dropping(self) -> bool:
        """Whether the answer was replaced as a whole."""
        ...


class EnumRedecision:
    """The labels of a JSON answer: the strings of fields whose schema lists what they may be."""

    def __init__(self, enums: Mapping[bytes, LabelSet], sampling: Sampling, draw: Callable[[], float]) -> None:
        self._enums, self._sampling, self._draw = enums, sampling, draw
        self._text, self._now = b"", Redecision(next(iter(enums.values())), sampling, draw)
        self._inside = False
        self.is_changed, self.is_followed, self.is_dropping = False, False, False
        self.undecided: Undecided | None = None

    @property
    def is_looking(self) -> bool:
        """As of `LabelDecision`; a label may begin anywhere."""
        return not self._inside or self._now.is_looking

    def see(self, sampled: ListedToken, others: Alternatives) -> bytes | None:
        """As of `Redecision`; a token may end a field's name and begin its value."""
        if ends_answer(sampled.piece):
            return None
        if self._inside:
            told = self._heeded(self._now.see(sampled, others))
            self._text = b"" if self._inside else sampled.piece  # which may have ended one field and begun another
            return told
        before = self._text[-_LOOKED_BACK:]
        self._text = before + sampled.piece
        fields = _fields(tuple(self._enums)).finditer(self._text)
        found = next((one for one in fields if one.end() >= len(before)), None)  # or it ended with the token before
        if found is None:
            return None
        self._now, self._inside = Redecision(self._enums[found[1]], self._sampling, self._draw), True
        lead = sampled.piece[: found.end() - len(before)]
        if lead == sampled.piece:
            return None
        rest = others._replace(pieces=[_less(piece, lead) for piece in others.pieces])
        told = self._heeded(self._now.see(sampled._replace(piece=_less(sampled.piece, lead)), rest))
        return None if told is None else lead + told

    def end(self) -> bytes:
        """As of `Redecision`."""
        return self._now.end() if self._inside else b""

    def _heeded(self, told: bytes | None) -> bytes | None:
        self.is_changed = self.is_changed or self._now.is_changed
        self.undecided = self.undecided or self._now.undecided
        if self._now.is_over:
            self._inside = False
        return told


def _less(piece: bytes, lead: bytes) -> bytes:
    """A token without what it begins with; one that begins otherwise leads to no label."""
    return piece[len(lead) :] if piece.startswith(lead) else b"\0" + piece


@lru_cache(256)
def _fields(names: tuple[bytes, ...]) -> "re.Pattern[bytes]":
    """The beginning of a string in one of these fields, up to its quotes; within a string quotes are escaped."""
    return re.compile(rb'[{,]\s*"(' + b"|".join(map(re.escape, names)) + rb')"\s*:\s*"')


def enums_of(schema: JSON) -> dict[bytes, LabelSet]:
    """By name of the field, what it may be; a name that means several things in a schema is left out."""
    found: dict[str, set[tuple[str, ...] | None]] = {}
    _collect(schema, found, 0)
    told = {name: next(iter(values)) for name, values in found.items() if len(values) == 1}
    sets = {name.encode(): label_set(values, quoted=True) for name, values in told.items() if values}
    return {name: labels for name, labels in sets.items() if labels}


def _collect(schema: JSON, found: dict[str, set[tuple[str, ...] | None]], depth: int) -> None:
    if depth > _DEEPEST:
        return
    if isinstance(schema, list):
        for entry in schema:
            _collect(entry, found, depth + 1)
    elif isinstance(schema, Mapping):
        fields = schema.get("properties")
        for name, field in fields.items() if isinstance(fields, Mapping) else ():
            values = field.get("enum") if isinstance(field, Mapping) else None
            whole = isinstance(values, list) and len(values) <= MOST_LABELS and all(type(v) is str for v in values)
            found.setdefault(str(name), set()).add(tuple(values) if whole and values else None)
        for value in schema.values():
            _collect(value, found, depth + 1)


@dataclass(frozen=True, slots=True)
class Redeciding:
    """What is to be done with the response to one request."""

    surface: SurfaceName
    sampling: Sampling
    labels: LabelSet | None
    """Of the whole answer."""
    enums: Mapping[bytes, LabelSet]
    """Of fields of a JSON answer."""
    seed: int | None
    """None: the request named none, and chance decides."""
    is_told: bool
    """The caller asked for log-probabilities himself."""
    listed: int
    """Alternatives a token that are asked for, where he did not."""

    def of_answer(self, number: int = 0) -> LabelDecision:
        """What decides one answer of a response."""
        draw = random.random if self.seed is None else partial(next, _drawn(self.seed, number))
        if self.labels:
            return Redecision(self.labels, self.sampling, draw)
        return EnumRedecision(self.enums, self.sampling, draw)

    def decided(self, payload: JSON, lists: Lists = _NONE_CUT) -> Decided:
        """A response with its labels decided again; the one given is not altered. Raises ValueError where a list was
        not cut as it is."""
        if not isinstance(payload, Mapping):
            return Decided(payload)
        changed, tags = (_chat if self.surface == "chat" else _output)(payload, self, lists)
        moved, told = sum(tag.startswith(CHANGED) for tag in tags), outcome_of(tags)
        return Decided(changed, moved, marks={REDECIDED_HEADER: told} if told else {})


def _drawn(seed: int, number: int) -> Iterator[float]:
    """The numbers that one answer is decided by, made with the first of them: most labels stand without."""
    drawn = random.Random(derive_seed(seed, number))
    while True:
        yield drawn.random()


def redeciding(
    body: ChatBody, prior: Prior, labels: Sequence[str], backend: Backend, surface: SurfaceName
) -> Redeciding | None:
    """What can be done for a prior's biases with the response to a request, as its caller wrote it; None: nothing."""
    schema, is_json = _schema(body, surface)
    enums = enums_of(schema) if schema else {}
    whole = None if is_json else label_set(tuple(labels))
    if not (whole or enums) or body.get("tools") or body.get("functions") or reasons(body):
        return None
    sampling = sampling_of(body, prior, backend)
    asked = body.get("messages") if surface == "chat" else body.get("input")
    seed = body.get("seed")
    drawn = derive_seed(seed, "label", asked) if isinstance(seed, int) else None
    return Redeciding(surface, sampling, whole, enums, drawn, _is_told(body, surface), listed_for_labels(backend))


def reasons(body: ChatBody) -> bool:
    """Whether a request wants reasoning before the answer: models that do give no log-probabilities with it."""
    told = body.get("reasoning")
    effort = body.get("reasoning_effort") or (told.get("effort") if isinstance(told, Mapping) else None)
    return effort not in (None, "none")


def sampling_of(body: ChatBody, prior: Prior, backend: Backend) -> Sampling:
    """How a request has its answers sampled, and the biases that a prior would have them sampled under."""
    heat, top_p = _number(body.get("temperature"), 1.0), _number(body.get("top_p"), 1.0)
    return Sampling(_by_piece(prior), heat, top_p, is_scaled=backend.includes_temperature)


@lru_cache(256)
def _by_piece(prior: Prior) -> Mapping[bytes, float]:
    return {entry.piece: entry.bias for entry in prior.biases}


def _number(given: JSON, default: float) -> float:
    return float(given) if isinstance(given, int | float) and 0 <= given < 1e6 else default


def _schema(body: ChatBody, surface: SurfaceName) -> tuple[JSON, bool]:
    """The JSON schema that an answer must fit, if any, and whether it is to be JSON at all."""
    text = body.get("text") or {}
    given = body.get("response_format") if surface == "chat" else text.get("format")
    if not isinstance(given, Mapping) or given.get("type") in (None, "text"):
        return None, False
    held = given.get("json_schema", given)
    return held.get("schema") if isinstance(held, Mapping) else None, True


def _is_told(body: ChatBody, surface: SurfaceName) -> bool:
    if surface == "chat":
        return bool(body.get("logprobs"))
    return _INCLUDED in (body.get("include") or ())


def asking_for_logprobs(body: ChatBody, surface: SurfaceName, listed: int = LISTED_FOR_LABELS) -> ChatBody:
    """A request that asks for log-probabilities, of so many alternatives; what its caller asked of them stands."""
    if surface == "chat":
        return body if body.get("logprobs") else {**body, "logprobs": True, "top_logprobs": listed}
    included = list(body.get("include") or ())
    if _INCLUDED in included:  # the caller sees them all
        return {"top_logprobs": LISTED_FOR_LABELS, **body}
    return {"top_logprobs": listed, **body, "include": [*included, _INCLUDED]}


# Responses


class Lean(NamedTuple):
    """A response without its alternatives, which are most of it and matter for few of its tokens."""

    content: bytes
    lists: Lists = _NONE_CUT

    def filled(self, content: bytes) -> bytes:
        """The same response, or what became of it, with those alternatives that are still in it, to the byte."""
        if not self.lists or _WORD.encode() not in content:
            return content
        return _PLACE.sub(lambda found: self.lists[found[1].decode()], content)


def without_lists(content: bytes, number: int = 0) -> Lean:
    """A response to read first; `number` is that of the first list, which others of a stream do not have.

    What is cut goes up to the first "}]"; where a token has that in its text, quotes and brackets do not match any
    more, and what is left is no JSON.
    """
    parts: list[bytes] = []
    lists: dict[str, bytes] = {}
    done, at = 0, content.find(_LISTED)
    while at >= 0:
        begins = at + len(_LISTED)
        begins += content[begins : begins + 1] == b" "
        if content[begins : begins + 2] == b"[{":
            if (ends := content.find(_LISTED_ENDS, begins)) < 0:
                break
            if content.find(_LISTED, begins, ends) >= 0:  # it ends otherwise: what is behind it is no part of it
                return Lean(content)
            word = f"{_WORD}{number + len(lists)}"
            parts += (content[done:begins], b'"%s"' % word.encode())
            done = ends + len(_LISTED_ENDS)
            lists[word] = content[begins:done]
        at = content.find(_LISTED, max(done, begins))
    return Lean(b"".join((*parts, content[done:])), lists) if lists else Lean(content)


def _read(listed: JSON, lists: Lists) -> JSON:
    """Alternatives as they came, or cut out."""
    held = lists.get(listed) if type(listed) is str else None
    if held is None:
        return listed
    try:
        return orjson.loads(held)
    except ValueError:
        return json.loads(held)  # which knows NaN


def tag_of(deciding: LabelDecision) -> str:
    """What there is to say of one answer."""
    if not deciding.is_changed:
        return deciding.undecided or "kept"
    changed = IN_FRONT if deciding.is_followed else CHANGED
    return f"{changed}; {deciding.undecided}" if deciding.undecided else changed


def outcome_of(tags: Sequence[str]) -> str:
    """What there is to say of all answers of a response: of a change first, then of what hindered one."""
    changed = [tag.partition("; ") for tag in tags if tag.startswith(CHANGED)]
    if not changed:
        return next(iter(sorted({*tags} - {"kept"})), "kept" if tags else "")
    why = max(rest for _, _, rest in changed)
    return (IN_FRONT if any(one == IN_FRONT for one, _, _ in changed) else CHANGED) + (f"; {why}" if why else "")


def listed_tokens(
    entries: JSON, biases: Mapping[bytes, float], to: Looking, lists: Lists = _NONE_CUT
) -> Iterator[tuple[ListedToken, Alternatives]]:
    """The tokens of an answer, each with its alternatives where they matter; ends at one without log-probability."""
    for entry in entries if isinstance(entries, list) else ():
        sampled = _listed(entry, biases)
        if sampled is None:
            return
        others = _read(entry.get("top_logprobs"), lists) if to.is_looking else None
        yield sampled, _alternatives(others, biases) if isinstance(others, list) else _NO_OTHERS


_NO_OTHERS = Alternatives()


def _alternatives(given: Sequence[JSON], biases: Mapping[bytes, float]) -> Alternatives:
    """Those that can be read; where nothing is odd about any of them, in a third of the time."""
    try:
        told, logprobs = [*map(_BYTES, given)], [*map(_LOGPROB, given)]
        if {*map(type, told)} == {list} and {*map(type, logprobs)} == {float} and max(logprobs) <= 0.0:
            pieces = [*map(bytes, told)]
            if (total := sum(logprobs)) == total:  # none of them is NaN
                return Alternatives(pieces, logprobs, [*map(biases.get, pieces, repeat(0.0))])
    except (LookupError, TypeError, ValueError):
        pass
    found = (_listed(one, biases) for one in given)
    return Alternatives.of(one for one in found if one is not None)


def _listed(entry: JSON, biases: Mapping[bytes, float]) -> ListedToken | None:
    logprob = entry.get("logprob") if type(entry) is dict else None
    if (type(logprob) is not float and type(logprob) is not int) or not logprob <= _ROUNDING:
        return None
    try:
        piece = bytes(list(entry["bytes"]))  # of a number bytes() makes that many
    except (KeyError, TypeError, ValueError):
        piece = str(entry.get("token", "")).encode(errors="replace")
    return ListedToken(piece, 0.0 if logprob > 0 else logprob, biases.get(piece, 0.0))


def _answer(text: JSON, entries: JSON, to: Redeciding, lists: Lists, *, number: int) -> tuple[str | None, str, bool]:
    """What one answer becomes (None: as it was), what there is to say of that, and whether it was replaced whole."""
    if not isinstance(text, str) or not text:
        return None, "", False
    deciding, said, spelt, count = to.of_answer(number), [], b"", 0
    for sampled, others in listed_tokens(entries, to.sampling.biases, deciding, lists):
        told, piece = deciding.see(sampled, others), b"" if ends_answer(sampled.piece) else sampled.piece
        said.append(piece if told is None else told)
        spelt, count = spelt + piece, count + bool(piece)
    said.append(deciding.end())
    if not count:
        return None, "no-log-probabilities", False
    written = spelt.decode(errors="replace")
    if not deciding.is_changed:
        return None, tag_of(deciding), False
    if written.strip() != text.strip():
        return None, "not-spelt", False
    new = b"".join(said).decode(errors="replace")
    return (new if written == text else new.strip()), tag_of(deciding), deciding.is_dropping


Found: TypeAlias = tuple[JSON, list[str]]
"""A response, and what there is to say of each answer in it."""


def _chat(payload: Mapping[str, JSON], to: Redeciding, lists: Lists) -> Found:
    tags, choices = [], []
    held = payload.get("choices")
    given: list[JSON] = held if isinstance(held, list) else []
    for number, choice in enumerate(given):
        message = choice.get("message") if isinstance(choice, Mapping) else None
        if not isinstance(message, Mapping):
            choices.append(choice)
            continue
        listed = choice.get("logprobs")
        entries = listed.get("content") if isinstance(listed, Mapping) else None
        text, tag, is_whole = _answer(message.get("content"), entries, to, lists, number=number)
        tags.append(tag)
        one = choice if to.is_told or listed is None else {**choice, "logprobs": None}
        if text is not None:
            frozen = {FROZEN_FIELD: {"content": message["content"]}}
            ended = {"finish_reason": "stop"} if is_whole else {}
            one = {**one, **ended, "message": {**message, "content": text}, **frozen}
        choices.append(one)
    same = all(one is other for one, other in zip(choices, given, strict=True))
    return payload if same else {**payload, "choices": choices}, [tag for tag in tags if tag]


def _output(payload: Mapping[str, JSON], to: Redeciding, lists: Lists) -> Found:
    tags: list[str] = []
    same, output = True, []
    given = payload.get("output")
    for item in given if isinstance(given, list) else []:
        if not (isinstance(item, Mapping) and item.get("type") == "message" and objects_in(item, "content")):
            output.append(item)
            continue
        parts = []
        for part in item["content"]:
            one, tag = _part(part, to, lists, len(tags))
            parts.append(one)
            tags += [tag] if tag else []
        same = same and all(one is other for one, other in zip(parts, item["content"], strict=True))
        output.append({**item, "content": parts})
    return payload if same else {**payload, "output": output}, tags


def _part(part: JSON, to: Redeciding, lists: Lists, number: int) -> tuple[JSON, str]:
    if not (isinstance(part, Mapping) and part.get("type") == "output_text"):
        return part, ""
    text, tag, _ = _answer(part.get("text"), part.get("logprobs"), to, lists, number=number)
    one = {**part, "logprobs": []} if part.get("logprobs") and not to.is_told else part
    return ({**one, "text": text, FROZEN_FIELD: {"text": part["text"]}} if text is not None else one), tag
