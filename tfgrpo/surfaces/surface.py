"""What a surface is: one API through which a request comes, how a prior enters a request there, and by what way. Pure.

Its demonstrations enter as turns of the conversation, where a surface has turns; which of them a request is shown is
the same on all.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

from ..records import JSON, Backend, ChatBody, Demonstration, Message, Prior, message_text
from ..settings import LISTED_FOR_LABELS, MOST_LISTED

if TYPE_CHECKING:
    from .nearest import Pool, VectorPool

_KEPT = 1_024
"""Parts of priors that are kept: every request needs one."""
TURN_TOKENS = 5
"""What marks the beginning and end of one turn, in tokens (ChatML and Llama 3 take four to six)."""
_TURNS = ("user", "assistant", "tool", "function")
_KEPT_TURNS = 1_024
"""Demonstrations whose turns are kept ready."""
_POOLS = 16
"""Pools that are kept ready."""

LeftOut: TypeAlias = Literal["rejected", "inert", "other-tokenizer", "other-model", "surface"]
"""Why a request goes without the token prior."""

Way: TypeAlias = Literal["bias", "re-decide", "resample", "verbalise", "none"]
"""How a token prior acts: by `logit_bias`; labels are decided again from log-probabilities; one of several answers is
picked; its strongest tokens are said in words; not at all."""
_WHOLE = re.compile(r"(?:^|\.)(?:openai\.com|openai\.azure\.com|services\.ai\.azure\.com)$")
"""Hosts whose published schema maps `logit_bias` to whole numbers."""

SurfaceName: TypeAlias = Literal["chat", "responses", "messages", "completions", "decisions"]


class Sureness(NamedTuple):
    """How sure a model was of the end of an answer: means over its last tokens."""

    entropy: float
    """Of the next token, in nats; what is not listed counts as one more token."""
    margin: float
    """By how much the likeliest token is likelier than the second, in [0, 1]."""


class Manner(NamedTuple):
    """How a request is given a prior: which parts of it, and as the upstream can take them."""

    biased: bool = True
    """With the token prior."""
    exclude: str = ""
    """In a rollout, the id of the task that is asked: it is not shown its own example."""
    whole: bool = False
    """The upstream takes whole numbers as biases, and no others."""
    system_role: bool = True
    """The upstream's template knows a system role; where it does not, a user's turn says what the prior says."""
    sureness: Sureness | None = None
    """Of the answer before, where it was heard (`sureness`)."""
    vector: str = ""
    """Of what the request asks, in the compact form, by the prior's embedding model; empty where it is not known."""


PLAIN = Manner()


def manner_of(backend: Backend, exclude: str = "", *, biased: bool = True) -> Manner:
    """How an upstream that was probed is given a prior in a rollout."""
    honoured = biased and backend.logit_bias == "honoured"
    return Manner(honoured, exclude, backend.fractional is False, backend.system_role != "rejected")


def takes_only_whole(backend: Backend | None, host: str) -> bool:
    """Whether biases must be whole numbers: as was measured of a backend, else as the schema of its host says."""
    if backend is not None and backend.fractional is not None:
        return not backend.fractional
    return _WHOLE.search(host) is not None


def left_out(prior: Prior, backend: Backend | None) -> LeftOut | None:
    """Why a backend is not sent the token prior, where that is known; None: it is sent."""
    if not prior.biases or backend is None:
        return None
    if backend.logit_bias in ("rejected", "inert"):
        return "rejected" if backend.logit_bias == "rejected" else "inert"
    if backend.tokenizer and prior.tokenizer and backend.tokenizer != prior.tokenizer:
        return "other-tokenizer"
    return None


def way_of(backend: Backend, labels: Sequence[str] = ()) -> Way:
    """How a token prior acts on chat answers there, which are one of the labels, if there are such."""
    if backend.logit_bias == "honoured":
        return "bias"
    refused = backend.logit_bias in ("rejected", "inert")
    return "re-decide" if refused and backend.logprobs and labels else "none"


def listed_for_labels(backend: Backend) -> int:
    """The alternatives a token to decide labels by that are asked for there: as many as were seen to come, since some
    refuse a request for more."""
    return min(MOST_LISTED, backend.alternatives or LISTED_FOR_LABELS)


def ways_open(backend: Backend, n: str = "unknown") -> tuple[Way, ...]:
    """The ways in which a token prior can act, the best first; `n`: whether one call gives several answers."""
    if backend.logit_bias == "honoured":
        return ("bias",)
    found: list[Way] = ["re-decide"] if backend.logprobs else []
    if backend.logprobs and n == "honoured":
        found.append("resample")
    return (*found, "verbalise")


@dataclass(frozen=True, slots=True)
class Told:
    """What a response says of its call, whatever its surface; empty, or 0, where it does not say."""

    id: str = ""
    model: str = ""
    text: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Enter(Protocol):
    """How a prior enters the body of a request."""

    def __call__(self, body: ChatBody, prior: Prior, manner: Manner = PLAIN, /) -> ChatBody:
        """A new body with the prior in it; the body given is not altered."""
        ...


@dataclass(frozen=True, slots=True)
class Surface:
    """One API: where it is found, how a prior enters its requests, what its responses tell."""

    name: SurfaceName
    route: str
    """What the path of its requests ends with."""
    fits: Callable[[JSON], bool]
    """Whether the body of a request is one that a prior can enter."""
    enter: Enter
    asked: Callable[[ChatBody], Sequence[JSON]]
    """What a request asks, as chat messages: the last of a user is what demonstrations are to be near to."""
    told: Callable[[JSON], Told]
    """What the JSON of a response says; never an error."""
    transcript: Callable[[ChatBody], Sequence[Message]] | None = None
    """All that a request says, as chat messages; None: calls of agents here are not recorded."""
    answer: Callable[[JSON], Message | None] | None = None
    """What the JSON of a response says, as the chat message of an assistant; None where it is no answer."""
    takes_text: bool = True
    """Whether it has a place for instruction, experiences and demonstrations."""
    takes_biases: bool = True
    """Whether it has a `logit_bias`."""

    def part_of(self, prior: Prior, manner: Manner = PLAIN) -> Prior:
        """What of a prior has a place in a request here; maybe nothing."""
        return _part(prior, self.takes_text, self.takes_biases and manner.biased)


@lru_cache(_KEPT)
def _part(prior: Prior, text: bool, biases: bool) -> Prior:
    if prior.has_text and not text:
        prior = replace(prior, experiences=(), instruction=None, demonstrations=(), nearest=0)
    return replace(prior, biases=(), tokenizer=None) if prior.biases and not biases else prior


def plain_turns(demonstration: Demonstration) -> tuple[tuple[str, str], ...]:
    """A demonstration as turns of text alone, role and text; what it has of tools and images is told in words."""
    shown = turns(demonstration)
    if all(_is_plain(turn) for turn in shown):
        return tuple((str(turn["role"]), message_text(turn)) for turn in shown)
    return ("user", turns_text(demonstration, answered=False)), ("assistant", demonstration.answer)


def _is_plain(turn: Message) -> bool:
    return (
        turn.get("role") in ("user", "assistant") and isinstance(turn.get("content"), str) and "tool_calls" not in turn
    )


def count_in(usage: JSON, *names: str) -> int:
    """A number of tokens, under the first of the names that has one; 0 where there is none."""
    fields = usage if isinstance(usage, Mapping) else {}
    found = (fields.get(name) for name in names)
    return next((number for number in found if type(number) is int and 0 <= number < 2**63), 0)


def text_in(value: JSON, name: str) -> str:
    """A text in a JSON object; empty where it is none, or has none."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else ""


def tool_text(value: JSON) -> str:
    """What a tool gave, as text: a text as it is, the texts of parts, else JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, Mapping) and "text" in part for part in value):
        return "\n".join(str(part["text"]) for part in value)
    return json.dumps(value, ensure_ascii=False)


def objects_in(value: JSON, name: str) -> list[Mapping[str, JSON]]:
    """The objects of a list in a JSON object; none where there is no such list."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []


@lru_cache(_KEPT_TURNS)
def turns(demonstration: Demonstration) -> tuple[Message, ...]:
    """What was asked and the answer, as turns; no message of it becomes one of ours to the model, or another role."""
    asked = (message for message in demonstration.messages if message.get("role") in _TURNS)
    return (*asked, {"role": "assistant", "content": demonstration.answer})


def shown_demonstrations(prior: Prior, messages: Sequence[JSON], manner: Manner = PLAIN) -> tuple[Demonstration, ...]:
    """Those that a request of these messages is shown, in order: all, or the nearest, the nearest of them last.

    In a rollout neither the task's own example is shown nor one that asks the same. The nearest are those by the
    request's vector, where the prior has vectors and that one is of their length, else by character trigrams.
    """
    pool, exclude = prior.demonstrations, manner.exclude
    if not exclude and not prior.nearest:
        return pool
    own = {place for place, entry in enumerate(pool) if exclude and _gives_away(entry, messages, exclude)}
    if not prior.nearest:
        return tuple(entry for place, entry in enumerate(pool) if place not in own)
    found = _nearest(prior, messages, manner.vector, prior.nearest + len(own))
    return tuple(pool[place] for place in [place for place in found if place not in own][: prior.nearest][::-1])


def _nearest(prior: Prior, messages: Sequence[JSON], vector: str, k: int) -> tuple[int, ...]:
    from .nearest import nearest, nearest_by_vector  # a client without a pool gets on without numpy

    pool = _Same(prior.demonstrations)
    by_vector = nearest_by_vector(_vectors_ready(pool), vector, k) if prior.embedding and vector else ()
    return by_vector or nearest(_ready(pool), question(messages), k)


def make_ready(prior: Prior) -> None:
    """Do beforehand what the first request with a pool would have to wait for."""
    if prior.nearest:
        _ready(_Same(prior.demonstrations))
    if prior.embedding:
        _vectors_ready(_Same(prior.demonstrations))


def turns_text(demonstration: Demonstration, *, answered: bool = True) -> str:
    """A demonstration as text, a line for each turn, for people and for prompts that have no turns."""
    shown = turns(demonstration)[: None if answered else -1]
    return "\n".join(f"{turn['role']}: {_told_in_words(turn)}" for turn in shown)


def _told_in_words(turn: Message) -> str:
    """The text of a turn, and the tools that it calls."""
    called = [call.get("function", {}) for call in turn.get("tool_calls") or ()]
    calls = [f"calls {function.get('name')}({function.get('arguments')})" for function in called]
    return " ".join(filter(None, (message_text(turn), *calls)))


def demonstration_tokens(demonstration: Demonstration, count: Callable[[str], int]) -> int:
    """What a demonstration adds to a request, in tokens, what marks its turns included."""
    return sum(TURN_TOKENS + count(_told_in_words(message)) for message in turns(demonstration))


def question(messages: Sequence[JSON]) -> str:
    """The text of the last message of a user; empty where there is none."""
    asked = (one for one in reversed(messages) if isinstance(one, Mapping) and one.get("role") == "user")
    return next((message_text(message) for message in asked), "")


def _gives_away(demonstration: Demonstration, messages: Sequence[JSON], task: str) -> bool:
    if demonstration.task == task:
        return True
    asked = list(turns(demonstration)[:-1])
    return (
        bool(asked)
        and asked == [one for one in messages if isinstance(one, Mapping) and one.get("role") in _TURNS][: len(asked)]
    )


class _Same:
    """A tuple of demonstrations as the key of a cache: known by being the same tuple, since its content is large."""

    __slots__ = ("demonstrations",)

    def __init__(self, demonstrations: tuple[Demonstration, ...]) -> None:
        self.demonstrations = demonstrations

    def __hash__(self) -> int:
        return id(self.demonstrations)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.demonstrations is other.demonstrations


@lru_cache(_POOLS)
def _ready(key: _Same) -> "Pool":
    from .nearest import pool_of

    shown = key.demonstrations
    return pool_of([question(entry.messages) for entry in shown], [entry.answer for entry in shown])


@lru_cache(_POOLS)
def _vectors_ready(key: _Same) -> "VectorPool":
    from .nearest import vector_pool_of

    return vector_pool_of([entry.vector for entry in key.demonstrations])
