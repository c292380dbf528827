"""How sure a model was of the end of its last answer, from the log-probabilities that the answer came with. No I/O.

A request does not tell it, so it is remembered by what was said: of the answers of one rollout, or of one process. Chat
completions alone are heard, and of those the ones that list at least two tokens a place (`logprobs`, `top_logprobs`).
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock

from ..records import JSON, Message, message_text
from .surface import Sureness, objects_in, text_in

LAST_TOKENS = 16
"""Of an answer: those looked at."""
SURENESS_ALTERNATIVES = 5
"""Tokens listed a place that are asked for, where nobody asks for more."""
_REMEMBERED = 10_000
_TWO = 2
"""A margin is between two."""
_ENDS = 200
"""Characters at either end of a message by which it is known."""


def sureness_of(listed: JSON) -> Sureness | None:
    """What `logprobs.content` of an answer tells; None where it lists no two tokens a place."""
    found = [one for one in map(_place, listed[-LAST_TOKENS:]) if one] if isinstance(listed, list) else []
    if not found:
        return None
    return Sureness(*(math.fsum(values) / len(found) for values in zip(*found, strict=True)))


def _place(entry: JSON) -> tuple[float, float] | None:
    told = [one.get("logprob") for one in objects_in(entry, "top_logprobs")]
    chances = sorted((math.exp(min(one, 0.0)) for one in told if isinstance(one, int | float)), reverse=True)
    if len(chances) < _TWO:
        return None
    rest = 1 - math.fsum(chances)
    entropy = -math.fsum(chance * math.log(chance) for chance in (*chances, rest) if chance > 0)
    return max(entropy, 0.0), chances[0] - chances[1]


class RememberedAnswers:
    """How sure the model was of the latest answers, each known by what was said in it and just before."""

    def __init__(self) -> None:
        self._known: dict[tuple[JSON, ...], Sureness] = {}
        self._lock = Lock()

    def add(self, messages: Sequence[JSON], answer: Message, sureness: Sureness) -> None:
        """One more answer, to these messages; where there are none, whatever it answers."""
        with self._lock:
            key = _known_by(messages[-1]) if messages else (), _known_by(answer)
            self._known.pop(key, None)
            self._known[key] = sureness
            if len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]

    def before(self, messages: Sequence[JSON]) -> Sureness | None:
        """Of the last answer in a conversation; None where it was not heard."""
        roles = [one.get("role") if isinstance(one, Mapping) else None for one in messages]
        place = len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else 0
        if not place:
            return None
        before, said = _known_by(messages[place - 1]), _known_by(messages[place])
        return self._known.get((before, said)) or self._known.get(((), said))

    def hear(self, messages: Sequence[JSON], content: str) -> Sureness | None:
        """The response to these messages, whole or as a stream: what it tells, if it does; nothing is an error."""
        try:
            answer, listed = _read(content)
            sureness = sureness_of(listed)
            if sureness:
                self.add(messages, answer, sureness)
        except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        return sureness


HEARD = RememberedAnswers()
"""Those of this process: the client's, or a worker's of the proxy."""


def _known_by(message: JSON) -> tuple[JSON, ...]:
    """What is the same of a message wherever it is written down."""
    if not isinstance(message, Mapping):
        return (None,)
    text = message_text(message)
    called = [one.get("function") for one in message.get("tool_calls") or () if isinstance(one, Mapping)]
    calls = (f"{one.get('name')} {one.get('arguments')}" for one in called if isinstance(one, Mapping))
    return message.get("role"), text[:_ENDS], text[-_ENDS:], *((call[:_ENDS], call[-_ENDS:]) for call in calls)


def _read(content: str) -> tuple[Message, list[JSON]]:
    """The first answer of a response, and what is listed for its tokens."""
    if content.lstrip().startswith("{"):
        choice = json.loads(content)["choices"][0]
        return choice["message"], choice["logprobs"]["content"]
    texts, listed, calls = list[str](), list[JSON](), dict[int, dict[str, str]]()
    for choice in _choices(content):
        delta, told = choice.get("delta") or {}, choice.get("logprobs") or {}
        texts.append(text_in(delta, "content"))
        listed += told.get("content") or ()
        for one in objects_in(delta, "tool_calls"):
            call = calls.setdefault(one.get("index", 0), {"name": "", "arguments": ""})
            for name in call:
                call[name] += text_in(one.get("function"), name)
    made = [{"function": call} for call in calls.values()]
    return {"role": "assistant", "content": "".join(texts), "tool_calls": made}, listed


def _choices(stream: str) -> Iterator[Mapping[str, JSON]]:
    """The first choice in each event of a stream."""
    for line in stream.splitlines():
        if line.startswith("data:") and line[5:].strip() != "[DONE]":
            yield from (one for one in objects_in(json.loads(line[5:]), "choices") if not one.get("index"))
