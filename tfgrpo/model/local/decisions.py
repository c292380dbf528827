"""Decisions by the embedded model: how probable each option of a question is, when it can say nothing else.

An option is said token by token. Wherever options part ways, one call tells how probable each way is among those that
still lead to an option, and an option's probability is the product along its way. What all options share costs nothing
and a long option loses nothing by its length; one that begins another ends with the end of the turn. The prompt is
`prompts/decision.md` as the system message before an input that is one text, and in the last turn of a user where it is
a conversation.

llama.cpp lists only the likeliest tokens. With one large bias on all that are wanted, and none else kept, the
probabilities that it reports after sampling are just those among the wanted: the bias cancels. It reports none where
it said half a character, as of an emoji; then it is made to say a sign of ASCII, and what is left to the wanted is
shared as before.
"""

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from secrets import token_hex
from string import ascii_letters, digits, punctuation
from typing import TypeAlias
from urllib.parse import urlsplit

from ...errors import InputError, ModelError
from ...prompts import template
from ...records import JSON, Message, Option
from ..questions import Question, instructions_text, option_text, other_than_text, parse_questions, read_alike

_BIAS = 100.0
"""Nats: enough that no other token is left."""
_BEFORE_ALL = 40.0
"""Nats, more than those: enough to be said in place of what is wanted, of which a float still tells the shares."""
_SECONDS = 300.0
_KEPT = 4_096
"""Texts whose tokens are kept."""

Tokens: TypeAlias = tuple[int, ...]
Branch: TypeAlias = Callable[[Tokens, Sequence[int]], Mapping[int, float]]
"""The probability of each token after some others, among these alone."""


def option_probabilities(ways: Sequence[Tokens], branch: Branch) -> list[float]:
    """The probability of each way, as `branch` tells it wherever they part; equal ways share theirs."""
    found = [1.0] * len(ways)
    together: list[tuple[Tokens, Sequence[int]]] = [((), range(len(ways)))]
    while together:
        begun, places = together.pop()
        depth = len(begun)
        following: dict[int, list[int]] = {}
        for place in places:
            if len(ways[place]) > depth:
                following.setdefault(ways[place][depth], []).append(place)
        if not following:
            for place in places:
                found[place] /= len(places)
            continue
        told = branch(begun, list(following)) if len(following) > 1 else dict.fromkeys(following, 1.0)
        for token, below in following.items():
            for place in below:
                found[place] *= told[token]
        further = [((*begun, token), below) for token, below in following.items() if len(below) > 1]
        together.extend(reversed(further))
    return found


@dataclass
class Decider:
    """Answers requests for decisions by a llama.cpp server."""

    root: str
    """Its URL, without /v1."""
    model: str
    slots: int = 1
    """Questions that are asked at once."""
    _tokens: dict[str, Tokens] = field(default_factory=dict)
    _there: threading.local = field(default_factory=threading.local)

    def decide(self, body: JSON) -> dict[str, JSON]:
        """The response to a request; raises InputError for a request that is none, ModelError where none comes."""
        if not isinstance(body, Mapping):
            raise InputError("the request must be a JSON object with model, input and questions")
        questions, told = parse_questions(body.get("questions")), input_messages(body.get("input"))
        for place, one in enumerate(body["questions"]):
            _text(one["instructions"], f"questions[{place}].instructions")
            if (alike := read_alike(questions[place])) is not None:
                raise InputError(f"questions[{place}] has two options that the embedded model reads as {alike!r}")
        with ThreadPoolExecutor(self.slots) as pool:
            decided = list(pool.map(lambda question: self._connected(question, told), questions))
        read, said = sum(one[1] for one in decided), sum(one[2] for one in decided)
        usage = {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": said,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + said,
        }
        return {"model": self.model, "answers": [one[0] for one in decided], "usage": usage}

    def _connected(self, question: Question, told: Sequence[Message]) -> tuple[dict[str, JSON], int, int]:
        """As `_answer`, over a connection of its own."""
        with closing(HTTPConnection(urlsplit(self.root).netloc, timeout=_SECONDS)) as connection:
            self._there.connection = connection
            return self._answer(question, told)

    def _answer(self, question: Question, told: Sequence[Message]) -> tuple[dict[str, JSON], int, int]:
        """The answer, the tokens that were read for it, and those that were said."""
        prompt = self._prompt(_asking(told, question))
        calls = 0

        def branch(begun: Tokens, wanted: Sequence[int]) -> Mapping[int, float]:
            nonlocal calls
            calls += 1
            return self._among((*prompt, *begun), wanted)

        ways = [(*self._tokenized(option_text(option)), self._end) for option in question.options]
        shares = option_probabilities(ways, branch)
        return answer_json(question, shares), len(prompt), max(1, calls)

    def _prompt(self, turns: Sequence[Message]) -> Tokens:
        """A conversation as the template writes it; the signs of the template are characters in what was said."""
        said = "\n".join(str(turn["content"]) for turn in turns)
        if self._with_signs(said) == self._tokenize(said, parse_special=False):
            return self._with_signs(self._templated(turns), begins=True)
        texts = {token_hex(16): str(turn["content"]) for turn in turns}
        marked = [{**turn, "content": mark} for turn, mark in zip(turns, texts, strict=True)]
        tokens: Tokens = ()
        for part in re.split(f"({'|'.join(texts)})", self._templated(marked)):
            tokens += self._tokenized(texts[part]) if part in texts else self._with_signs(part, begins=not tokens)
        return tokens

    def _templated(self, turns: Sequence[Message]) -> str:
        return str(self._post("/apply-template", {"messages": turns})["prompt"])

    def _among(self, before: Tokens, wanted: Sequence[int]) -> Mapping[int, float]:
        listed = self._listed(before, dict.fromkeys(wanted, _BIAS))
        if listed is None:
            signs = (self._tokenized(sign)[0] for sign in ascii_letters + digits + punctuation)
            said = next((sign for sign in signs if sign not in wanted), self._end)
            listed = self._listed(before, {**dict.fromkeys(wanted, _BIAS), said: _BIAS + _BEFORE_ALL})
        if listed is None:
            raise ModelError("the embedded model told no probabilities")
        told = {entry["id"]: float(entry["prob"]) for entry in listed}
        shares = {token: told.get(token, 0.0) for token in wanted}
        total = sum(shares.values()) or 1.0
        return {token: share / total for token, share in shares.items()}

    def _listed(self, before: Tokens, biases: Mapping[int, float]) -> Sequence[Mapping[str, JSON]] | None:
        """What may be said next, of these tokens alone; None where what was said is no whole character."""
        body = {
            "prompt": list(before),
            "n_predict": 1,
            "n_probs": len(biases),
            "post_sampling_probs": True,
            "samplers": ["top_k", "temperature"],
            "temperature": 1.0,
            "top_k": len(biases),
            "logit_bias": [[token, bias] for token, bias in biases.items()],
            "cache_prompt": True,
        }
        listed = self._post("/completion", body).get("completion_probabilities")
        return listed[0]["top_probs"] if listed else None

    @cached_property
    def _end(self) -> int:
        """The token that ends an answer, by the model's own template."""
        said, again = token_hex(16), "?"
        turns = [("user", again), ("assistant", said), ("user", again)]  # an answer that comes last has no end yet
        text = self._templated([{"role": role, "content": content} for role, content in turns])
        return self._with_signs(text.partition(said)[2].lstrip())[0]

    def _tokenized(self, text: str) -> Tokens:
        """The tokens of a text, in which nothing is a sign of the template."""
        if (known := self._tokens.get(text)) is None:
            known = self._tokenize(text, parse_special=False)
            if len(self._tokens) < _KEPT:
                self._tokens[text] = known
        return known

    def _with_signs(self, text: str, *, begins: bool = False) -> Tokens:
        """The tokens of a text that may hold the template's signs; `begins`: before it stands nothing."""
        return self._tokenize(text, parse_special=True, add_special=begins)

    def _tokenize(self, text: str, **how: bool) -> Tokens:
        return tuple(self._post("/tokenize", {"content": text, "add_special": False, **how})["tokens"])

    def _post(self, path: str, body: JSON) -> JSON:
        """What the server answers; raises InputError for what it refuses, ModelError where it does not answer."""
        connection: HTTPConnection = self._there.connection
        try:
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, HTTPException, ValueError) as error:
            raise ModelError(f"the embedded model did not answer ({type(error).__name__})") from error
        if response.status != 200:
            message = answer.get("error", {}).get("message") if isinstance(answer, Mapping) else None
            raise InputError(f"the embedded model refuses the request: {message or response.status}")
        return answer


def answer_json(question: Question, shares: Sequence[float]) -> dict[str, JSON]:
    """An answer as the decisions API gives it; levels are counted from 0, and confidence is the largest probability."""
    if question.kind == "predicate":
        return {"type": "predicate", "name": question.name, "probability": shares[0]}
    likeliest = max(range(len(shares)), key=lambda place: (shares[place], -place))
    beside = {"type": question.kind, "name": question.name, "confidence": shares[likeliest]}
    told: Sequence[tuple[Option, float]] = list(zip(question.options, shares, strict=True))
    if question.kind == "choice":
        listed = [{"value": option, "probability": share} for option, share in told]
        return {**beside, "choice": question.options[likeliest], "probabilities": listed}
    levels = [{"label": label, "value": place, "probability": share} for place, (label, share) in enumerate(told)]
    return {**beside, "score": sum(place * share for place, share in enumerate(shares)), "probabilities": levels}


def input_messages(given: JSON) -> list[Message]:
    """A request's input as chat messages; raises InputError for what is none, and for what is no text."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list):
        raise InputError("input must be a text or a list of messages")
    return [_message(item, f"input[{place}]") for place, item in enumerate(given)]


def _message(item: JSON, where: str) -> Message:
    kind = item.get("type", "message") if isinstance(item, Mapping) else None
    if kind in ("function_call", "custom_tool_call"):
        return {"role": "assistant", "content": f"{item.get('name')}({item.get('arguments', item.get('input'))})"}
    if kind in ("function_call_output", "custom_tool_call_output"):
        return {"role": "user", "content": _text(item.get("output"), f"{where}.output")}
    if kind != "message" or item.get("role") not in ("user", "assistant", "system", "developer"):
        raise InputError(f"{where} must be a message with a role, or a call of a tool, or what one gave")
    role = "system" if item["role"] == "developer" else item["role"]
    return {"role": role, "content": _text(item.get("content"), f"{where}.content")}


def _text(content: JSON, where: str) -> str:
    text = instructions_text(content)
    if text is None:
        raise InputError(f"{where} must be a text, or a list of parts of text")
    if (kind := other_than_text(content)) is not None:
        raise InputError(f"{where} holds a part of type {kind}; the embedded model reads text alone")
    return text


def _asking(told: Sequence[Message], question: Question) -> list[Message]:
    """A text as a chat would be asked about it, the question in the system message; a conversation, at its end."""
    asked = template("decision").render(instructions=question.instructions, options=_options_told(question))
    roles = [turn["role"] for turn in told]
    if roles in (["user"], ["system", "user"]):
        before = [str(turn["content"]) for turn in told[:-1]]
        return [{"role": "system", "content": "\n\n".join([*before, asked])}, told[-1]]
    if roles[-1:] == ["user"]:
        return [*told[:-1], {"role": "user", "content": f"{told[-1]['content']}\n\n{asked}"}]
    return [*told, {"role": "user", "content": asked}]


def _options_told(question: Question) -> str:
    """In a line; one a line where something is said of them, or a line would not tell where one ends."""
    names = [option_text(option) for option in question.options]
    if not any(question.described) and not any("," in name or "\n" in name for name in names):
        return f" {', '.join(names)}."
    described = question.described or ("",) * len(names)
    return "".join(f"\n- {name}{f': {said}' if said else ''}" for name, said in zip(names, described, strict=True))
