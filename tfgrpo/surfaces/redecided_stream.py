"""Labels decided again in a stream: only the tokens of a label are held back, all else passes as it comes. No I/O.

The events of chat completions and of the Responses API are read; whatever else comes, and every event in which nothing
is changed, passes byte for byte. Those of the Responses API are numbered: there is one for each that came, in the same
order, and one whose text is another waits for the next of its answer, since what was held back may be its to say.
"""

import codecs
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TypeAlias

from ..model.tokenizer import ends_answer
from ..records import JSON
from .decided import FROZEN_FIELD
from .redecided import LabelDecision, Lean, Lists, Redeciding, listed_tokens, outcome_of, tag_of, without_lists
from .surface import text_in

_MOST_WAITING = 2**22
"""Bytes without the end of an event, beyond which they pass as they are."""
_Place: TypeAlias = tuple[object, ...]


class _Spelling:
    """What tokens are read for whose alternatives do not matter."""

    is_looking = False


@dataclass(slots=True)
class _Answer:
    """One answer of a stream so far."""

    deciding: LabelDecision
    frozen: str = ""
    told: str = ""
    lacks: bool = False
    """It came without log-probabilities, or with those of other tokens."""
    withheld: "_Event | None" = None
    """The last event whose text is another than came."""

    unheard: list[JSON] = field(default_factory=list)
    """Tokens whose text has not come yet: halves of characters, and what may be cut off as a stop."""
    lists: dict[str, bytes] = field(default_factory=dict)
    """Their alternatives, as far as these were cut out."""
    spelt: int = 0
    """Bytes of the tokens that were heard."""
    behind: int = 0
    """Those of them that are held back."""
    halves: "codecs.IncrementalDecoder" = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    """What was said in place of tokens, as text; it keeps the half of a character until the other comes."""

    def heard(self, text: str, entries: JSON, biases: Mapping[bytes, float], lists: Lists) -> str:
        """What is said in place of the next piece of text."""
        if isinstance(entries, list):
            self.unheard += entries
            self.lists.update(lists)
        if not text:
            return ""
        if not self.frozen:
            self.lacks = not self._spells(text, biases)
        try:
            said = self._said(text, self.unheard, biases)
        except Exception:  # alternatives that nobody can read: no text may overtake what was held back before it
            self.lacks = True
            said = self._said(text, self.unheard, biases)
        self.unheard, self.lists, self.frozen, self.told = [], {}, self.frozen + text, self.told + said
        return said

    def _spells(self, text: str, biases: Mapping[bytes, float]) -> bool:
        """Whether the tokens so far are of the answer: those of reasoning before it are listed by some servers too."""
        pieces = (one.piece for one, _ in listed_tokens(self.unheard, biases, _Spelling()))
        spelt = b"".join(piece for piece in pieces if not ends_answer(piece)).decode(errors="replace")
        return spelt.startswith(text) or (not text.isspace() and spelt.lstrip().startswith(text.lstrip()))

    def _said(self, text: str, entries: JSON, biases: Mapping[bytes, float]) -> str:
        parts, same, some = [], True, False
        for sampled, others in () if self.lacks else listed_tokens(entries, biases, self.deciding, self.lists):
            some = True
            told, piece = self.deciding.see(sampled, others), b"" if ends_answer(sampled.piece) else sampled.piece
            same = same and told is None
            parts.append(piece if told is None else told)
            self.spelt += len(piece)
            self.behind += len(piece) - len(parts[-1])
        if not some:
            held, self.lacks = self.deciding.end().decode(errors="replace"), True
            if self.deciding.is_dropping:
                return ""
            return held + text if self.deciding.is_changed else self._late(text)
        if same:
            self.halves.reset()
            return text
        if not self.deciding.is_changed:
            return self._late(text, self.spelt - self.behind if self.behind else None)
        return self.halves.decode(b"".join(parts))

    def _late(self, text: str = "", until: int | None = None) -> str:
        """What was said and is not told yet, up to a number of bytes: the text itself, since tokens may end within
        characters."""
        written = (self.frozen + text).encode(errors="surrogatepass")[:until]
        return written.decode(errors="ignore" if until is not None else "surrogatepass")[len(self.told) :]

    def rest(self, biases: Mapping[bytes, float]) -> str:
        """What was held back until the end; a token that ends an answer has no text of its own."""
        tokens = listed_tokens(self.unheard, biases, self.deciding, self.lists)
        left = takewhile(lambda token: ends_answer(token[0].piece), tokens)
        try:
            told = b"".join(self.deciding.see(*token) or b"" for token in left)
        except Exception:  # as in `heard`
            told, self.lacks = b"", True
        told += self.deciding.end()
        held = self.halves.decode(told, final=True) if self.deciding.is_changed else self._late()
        self.unheard, self.lists, self.told = [], {}, self.told + held
        return held


@dataclass(slots=True)
class _Event:
    """An event with text of an answer, as it is told; `frame` is what stands around its data."""

    told: Mapping[str, JSON]
    lean: Lean
    """It as it came."""
    frame: tuple[bytes, bytes] = (b"data: ", b"\n\n")
    is_settled: bool = True
    """It is told as it is: of its answer another has come."""


class RedecidedStream:
    """A stream of events on its way to the caller."""

    def __init__(self, to: Redeciding, loads: Callable[[bytes], JSON], dumps: Callable[[JSON], bytes]) -> None:
        self._to, self._loads, self._dumps = to, loads, dumps
        self._waiting = b""
        self._lean, self._lists = Lean(b""), 0
        """The event that is read, and how many lists of alternatives have come."""
        self._answers: dict[_Place, _Answer] = {}
        self._queue: list[bytes | _Event] = []
        """Events that wait, with those that came behind them."""

    @property
    def outcome(self) -> str | None:
        """What there is to say of the labels so far, as the header has it of a response that is no stream."""
        tags = [(tag_of(one.deciding), one.lacks) for one in self._answers.values()]
        return outcome_of(["no-log-probabilities" if lacks and tag == "kept" else tag for tag, lacks in tags]) or None

    def feed(self, chunk: bytes) -> bytes:
        """The next bytes for the caller."""
        *events, self._waiting = self._split(self._waiting + chunk)
        passed = b"".join(map(self._changed, events))
        if len(self._waiting) > _MOST_WAITING:
            passed, self._waiting = passed + self._queued(self._waiting), b""
        return passed

    def end(self) -> bytes:
        """What was left where the stream ended, which may have come to no end of its own."""
        rest, self._waiting = self._waiting, b""
        return self._held_back() + rest

    def _split(self, content: bytes) -> Iterator[bytes]:
        done = at = 0
        while at := content.find(b"\n", at) + 1:
            if size := 1 if content.startswith(b"\n", at) else 2 * content.startswith(b"\r\n", at):
                at += size
                yield content[done:at]
                done = at
        yield content[done:]

    def _changed(self, event: bytes) -> bytes:
        lines = event.splitlines()
        data = [place for place, line in enumerate(lines) if line.startswith(b"data:")]
        if len(data) != 1 or b"{" not in lines[data[0]]:
            return self._held_back() + event if b"[DONE]" in event else self._queued(event)
        try:
            told = self._read(lines[data[0]][5:])
            changed = self._chat(told) if self._to.surface == "chat" else self._response(told)
        except Exception:  # of another shape, or whatever is wrong with us: it is the caller's to read
            return self._queued(event)
        if changed.told is told:
            return self._queued(event)
        before, after = (b"".join(line + b"\n" for line in lines[: data[0]]), lines[data[0] + 1 :])
        changed.frame = before + b"data: ", b"\n" + b"".join(line + b"\n" for line in after if line) + b"\n"
        return self._queued(changed)

    def _read(self, data: bytes) -> JSON:
        self._lean = without_lists(data, self._lists)
        self._lists += len(self._lean.lists)
        try:
            return self._loads(self._lean.content)
        except ValueError:
            self._lean = Lean(data)
            return self._loads(data)

    def _queued(self, event: bytes | _Event) -> bytes:
        """What may be told now, of what waited and this event behind it."""
        self._queue.append(event)
        waits = (at for at, one in enumerate(self._queue) if isinstance(one, _Event) and not one.is_settled)
        ready = next(waits, len(self._queue))
        passed, self._queue = self._queue[:ready], self._queue[ready:]
        return b"".join(map(self._written, passed))

    def _written(self, event: bytes | _Event) -> bytes:
        return event if isinstance(event, bytes) else event.lean.filled(self._dumps(event.told)).join(event.frame)

    def _at(self, *place: object, number: object = None) -> _Answer:
        if place not in self._answers:
            number = number if isinstance(number, int) else len(self._answers)
            self._answers[place] = _Answer(self._to.of_answer(number))
        return self._answers[place]

    def _rest(self, answer: _Answer) -> str:
        return answer.rest(self._to.sampling.biases)

    def _held_back(self) -> bytes:
        """Events with what answers that did not say that they end still have to say."""
        held = [one for answer in self._answers.values() if (one := self._left(answer))]
        passed, self._queue = [*self._queue, *held], []
        return b"".join(map(self._written, passed))

    def _left(self, answer: _Answer) -> _Event | None:
        """The last event of an answer once more, with what is left to say where that is not told by it."""
        event, text = answer.withheld, self._rest(answer)
        if event is None or not text:
            return None
        if event.is_settled:
            return _Event(self._late(event.told, text), event.lean)
        event.told = {**event.told, "delta": event.told["delta"] + text}
        return None

    def _late(self, event: Mapping[str, JSON], text: str) -> Mapping[str, JSON]:
        """An event with other text; its tokens were told with its own."""
        if self._to.surface != "chat":
            return {**event, "delta": text, **({"logprobs": []} if event.get("logprobs") else {})}
        choices = [{**choice, "delta": {"content": text}} for choice in event["choices"]]
        return {**event, "choices": [{**one, "logprobs": None} if one.get("logprobs") else one for one in choices]}

    # Chat completions

    def _chat(self, told: Mapping[str, JSON]) -> _Event:
        given = told.get("choices") or []
        choices = [self._choice(choice, told) for choice in given]
        same = all(one is other for one, other in zip(choices, given, strict=True))
        return _Event(told if same else {**told, "choices": choices}, self._lean)

    def _choice(self, choice: Mapping[str, JSON], within: Mapping[str, JSON]) -> Mapping[str, JSON]:
        delta, listed, ended = choice.get("delta") or {}, choice.get("logprobs"), choice.get("finish_reason")
        one = choice if listed is None or self._to.is_told else {**choice, "logprobs": None}
        text, entries = delta.get("content"), listed.get("content") if listed else None
        if not (text or ended or entries):
            return one
        answer = self._at(choice.get("index"), number=choice.get("index"))
        said = answer.heard(text or "", entries, self._to.sampling.biases, self._lean.lists)
        said += self._rest(answer) if ended else ""
        if ended and answer.deciding.is_dropping:
            one = {**one, "finish_reason": "stop"}
        if said == (text or ""):
            return one
        answer.withheld = _Event({**within, "choices": [one]}, self._lean)
        return {**one, "delta": {**delta, "content": said}}

    # Responses

    def _response(self, told: Mapping[str, JSON]) -> _Event:
        kind = text_in(told, "type")
        if kind == "response.output_text.delta":
            return self._delta(told)
        place = told.get("output_index"), told.get("content_index")
        if kind == "response.output_text.done":
            answer = self._at(*place)
            self._left(answer)
            self._settled(answer)
            return _Event(self._ended(told, answer), self._lean)
        if kind == "response.content_part.done":
            return _Event(_with(told, "part", self._ended(told["part"], self._at(*place))), self._lean)
        if kind == "response.output_item.done":
            return _Event(_with(told, "item", self._item(told["item"], told.get("output_index"))), self._lean)
        if kind in ("response.completed", "response.incomplete"):
            whole = told["response"]
            output = [self._item(item, place) for place, item in enumerate(whole["output"])]
            same = all(one is other for one, other in zip(output, whole["output"], strict=True))
            return _Event(told if same else {**told, "response": {**whole, "output": output}}, self._lean)
        return _Event(told, self._lean)

    def _delta(self, told: Mapping[str, JSON]) -> _Event:
        answer = self._at(told.get("output_index"), told.get("content_index"))
        said = answer.heard(told["delta"], told.get("logprobs"), self._to.sampling.biases, self._lean.lists)
        one = told if self._to.is_told or not told.get("logprobs") else {**told, "logprobs": []}
        if told["delta"]:
            self._settled(answer)
        if said == told["delta"]:
            return _Event(one, self._lean)
        # empty or not: events are numbered
        answer.withheld = _Event({**one, "delta": said}, self._lean, is_settled=False)
        return answer.withheld

    def _settled(self, answer: _Answer) -> None:
        if answer.withheld is not None:
            answer.withheld.is_settled = True

    def _ended(self, part: Mapping[str, JSON], answer: _Answer) -> Mapping[str, JSON]:
        """A part, or the event that ends it, with the text that was told."""
        one = part if self._to.is_told or not part.get("logprobs") else {**part, "logprobs": []}
        if not answer.deciding.is_changed or "text" not in part:
            return one
        return {**one, "text": answer.told, FROZEN_FIELD: {"text": answer.frozen}}

    def _item(self, item: Mapping[str, JSON], place: object) -> Mapping[str, JSON]:
        parts = item.get("content") if item.get("type") == "message" else None
        if not isinstance(parts, list):
            return item
        new = [
            self._ended(part, self._answers[(place, at)]) if (place, at) in self._answers else part
            for at, part in enumerate(parts)
        ]
        return item if all(one is other for one, other in zip(new, parts, strict=True)) else {**item, "content": new}


def _with(told: Mapping[str, JSON], name: str, value: JSON) -> JSON:
    return told if value is told[name] else {**told, name: value}
