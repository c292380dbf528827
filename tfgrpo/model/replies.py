"""A server's answers read: chat completions, embeddings, log-probabilities. Only a missing answer is an error."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np
import orjson

from ..errors import ModelError
from ..records import JSON, Reply, TokenTrace, Usage, Vector, message_text
from ..text import shortened
from .tokenizer import NAMED_BY_ID, TokenId

_LONE = re.compile(r"\\u[dD][89a-fA-F]")
_NEVER = -9999.0
"""What OpenAI reports for a token that is too unlikely for a number."""
_ROUNDING = 1e-3
"""A log-probability this far above 0 is 0; one farther is none."""
_MOST_TOKENS = 2**22
"""No vocabulary is larger: tables over all ids stay small."""
_ID, _LOGPROB = itemgetter("id"), itemgetter("logprob")


def parse_reply(response: str, token_id: TokenId | None = None) -> Reply:
    """A chat completion's JSON text as a Reply; raises ModelError when it is not one.

    `token_id` tells the id of a token by its bytes, where the server gives none. Figures that make no sense (usage,
    log-probabilities) are left out: they are no reason to lose a paid answer.
    """
    try:
        payload = loaded(response)
        choice = payload["choices"][0]
        message = {**choice["message"]}
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise ModelError(f"not a chat completion: {shortened(response)!r}") from error
    logprobs = choice.get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    return Reply(
        text=message_text(message),
        message=message,
        finish_reason=str(choice.get("finish_reason") or ""),
        usage=usage_in(payload.get("usage")),
        trace=parse_trace(entries, token_id) if isinstance(entries, list) else None,
        choices=len(payload["choices"]),
    )


_MOST_BYTES_A_TOKEN = 8
"""More of an answer's text than this are not of one token, in the mean of a few answers."""


def parted(response: str) -> list[str]:
    """The choices of a chat completion, each as one of its own; the first one pays for the prompt.

    Of the tokens of all answers each has its part: as many as are listed for it, else one like the other. Some servers
    (llama.cpp) count those of one answer alone, which their texts give away.
    """
    payload = loaded(response)
    choices, told = payload["choices"], payload.get("usage") or {}
    listed = [(one.get("logprobs") or {}).get("content") for one in choices]
    together = usage_in(told)
    each, rest = divmod(together.completion_tokens, len(choices))
    if sum(len(message_text(one["message"]).encode(errors="replace")) for one in choices) > _MOST_BYTES_A_TOKEN * max(
        1, together.completion_tokens
    ):
        each, rest = together.completion_tokens, 0
    found = []
    for place, choice in enumerate(choices):
        known = listed[place]
        answer = len(known) if isinstance(known, list) and known else each + (rest if place == 0 else 0)
        prompt = together.prompt_tokens if place == 0 else 0
        usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
        found.append(json.dumps({**payload, "choices": [{**choice, "index": 0}], "usage": usage}))
    return found


def are_samples(response: str) -> bool:
    """Whether the choices of a chat completion are samples of their own, each with what the first one has."""
    try:
        choices = loaded(response)["choices"]
        texts = {message_text(one["message"]) for one in choices}
        return len(texts) > 1 and len({bool(one.get("logprobs")) for one in choices}) == 1
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return False


@dataclass(frozen=True, slots=True)
class Vectors:
    """What an embedding model made of texts: one vector each, of one length, in their order."""

    vectors: tuple[Vector, ...]
    usage: Usage = field(default_factory=Usage)
    replayed: bool = field(default=False, compare=False)
    """From the journal: no call was made."""


def parse_vectors(response: str, texts: int) -> Vectors:
    """The answer to a request for the embeddings of so many texts; raises ModelError when it is not one.

    Vectors come in the order of the texts, whatever the order in which they were sent; all have one length.
    """
    try:
        payload = json.loads(response)
        by_text = {entry["index"]: _vector(entry["embedding"]) for entry in payload["data"]}
        vectors = tuple(by_text[place] for place in range(texts))
        lengths = {len(vector) for vector in vectors}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError("vectors of several lengths, or of none")
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise ModelError(f"no embeddings: {shortened(response)!r}") from error
    return Vectors(vectors, usage_in(payload.get("usage")))


def _vector(given: JSON) -> Vector:
    """Raises ValueError or TypeError for what is no list of numbers."""
    vector = tuple(float(number) for number in given)
    if not all(map(math.isfinite, vector)):
        raise ValueError("a vector of infinite length")
    return vector


def loaded(response: str) -> JSON:
    """The JSON value; half a surrogate pair in it, which no request could carry on, becomes a question mark.

    Raises ValueError or RecursionError for what is none.
    """
    try:
        return orjson.loads(response)  # which takes a sixth of the time, and refuses some of what is understood here
    except orjson.JSONDecodeError:
        payload = json.loads(response)
    if _LONE.search(response):
        payload = json.loads(json.dumps(payload, ensure_ascii=False).encode(errors="replace"))
    return payload


_MOST_COUNTED = 10**9
"""Of one call: a larger figure is no count, and a few of them would overflow what the store adds up."""


def told_usage(content: bytes) -> Usage:
    """What any answer says that it cost, where it says so in JSON."""
    try:
        payload = json.loads(content)
    except (ValueError, RecursionError):
        payload = None
    return usage_in(payload.get("usage") if isinstance(payload, Mapping) else None)


def usage_in(given: JSON) -> Usage:
    """What one answer cost by its `usage`; no tokens where that counts none."""
    fields = given if isinstance(given, Mapping) else {}
    spent = [fields.get(name) for name in ("prompt_tokens", "completion_tokens")]
    return Usage(1, *(int(count or 0) if _is_count(count) else 0 for count in spent))


def _is_count(given: JSON) -> bool:
    """A whole number of tokens, some servers' 12.0 too."""
    return isinstance(given, int | float) and 0 < given < _MOST_COUNTED and given == int(given)


_TOLD = ("messages", "input", "prompt", "system", "instructions", "tools", "questions")
"""Fields of a request that the model reads."""
_BYTES_A_TOKEN = 4
_DATA = re.compile(r'"data:[^"]*"')


def estimated_usage(body: JSON, message: JSON = None) -> Usage:
    """What a call costs where the server counts nothing: by the bytes of its texts, images left out."""
    sizes = [_bytes({name: body[name] for name in _TOLD if name in body}), _bytes(message) if message else 0]
    return Usage(1, *(-(-size // _BYTES_A_TOKEN) for size in sizes))


def _bytes(value: JSON) -> int:
    return len(_DATA.sub("", json.dumps(value, ensure_ascii=False)).encode(errors="replace"))


def parse_trace(entries: Sequence[JSON], token_id: TokenId | None = None) -> TokenTrace | None:
    """`logprobs.content` as arrays; None where no token's id is known, or no usable log-probability.

    The server's own ids come first; `token_id` tells those of tokens that come without.
    """
    plain = _plain_trace(entries)
    if plain is not None:
        return plain
    pieces: dict[int, bytes] = {}
    found = (_row(entry, token_id, pieces) for entry in entries)
    rows = [row for row in found if row]
    if not rows:
        return None
    width = max(len(row) for row in rows)
    ids = np.array([[*row, *(-1,) * (width - len(row))] for row in rows], dtype=np.int64)
    logprobs = np.array([[*row.values(), *(-np.inf,) * (width - len(row))] for row in rows], dtype=np.float64)
    return TokenTrace(ids, logprobs, pieces)


def _plain_trace(entries: Sequence[JSON]) -> TokenTrace | None:
    """The trace where nothing is odd, in half the time: at each position as many alternatives, the sampled token among
    them, each once, with an id of its own and a number that needs no reading. None: something is."""
    ids: list[int] = []
    logprobs: list[float] = []
    pieces: dict[int, bytes] = {}
    try:
        width = len(entries[0]["top_logprobs"])
        for entry in entries:
            row = [entry, *entry["top_logprobs"]]
            numbers, told = [*map(_ID, row)], [*map(_LOGPROB, row)]
            for number, one in zip(numbers, row, strict=True):
                if number not in pieces:
                    pieces[number] = _piece(one)
            again = numbers.index(numbers[0], 1)
            del numbers[again], told[again]
            if not len({*numbers}) == len(numbers) == width:
                return None
            ids += numbers
            logprobs += told
        if {*map(type, ids)} != {int} or not (min(pieces) >= 0 and max(pieces) < _MOST_TOKENS):
            return None
        found = np.array(logprobs).reshape(len(entries), width)
        if found.dtype != np.float64 or not (found.max() <= 0.0 and found.min() > _NEVER):
            return None
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError):
        return None
    if b"token_id:" in b" ".join(pieces.values()):
        return None  # elsewhere it may be spelled
    return TokenTrace(np.array(ids, dtype=np.int64).reshape(found.shape), found, pieces)


def _row(entry: JSON, token_id: TokenId | None, pieces: dict[int, bytes]) -> dict[int, float]:
    """The log-probabilities at one position by token, that of the sampled one first; empty where that is not usable.

    What its tokens are spelled like goes into `pieces`.
    """
    sampled = _token(entry, token_id)
    row = dict((sampled,) if sampled else ())
    others = entry.get("top_logprobs") if row else None
    given = others if isinstance(others, list) else ()
    for one, listed in zip((entry, *given), (sampled, *(_token(one, token_id) for one in given)), strict=True):
        if listed is None:
            continue
        token, logprob = listed
        if token not in row:
            row[token] = logprob
        known = pieces.get(token)
        if known is None or (known[:9] == b"token_id:" and NAMED_BY_ID.match(known)):
            pieces[token] = _piece(one)  # of a sampled token the bytes are told elsewhere
    return row


def _token(given: JSON, token_id: TokenId | None) -> tuple[int, float] | None:
    """Id and log-probability; None where one of them is missing, or makes no sense."""
    if not isinstance(given, dict):
        return None
    number, logprob = given.get("id"), given.get("logprob")
    if type(number) is int and type(logprob) is float and 0 <= number < _MOST_TOKENS and _NEVER < logprob <= 0.0:
        return number, logprob
    if not (isinstance(logprob, float | int) and logprob <= _ROUNDING):  # false for NaN
        return None
    if number is None and (named := NAMED_BY_ID.match(str(given.get("token")).encode(errors="replace"))):
        number = int(named[1])
    if number is None and token_id is not None:
        number = token_id(_piece(given))
    if not (type(number) is int and 0 <= number < _MOST_TOKENS):
        return None
    return number, -math.inf if logprob <= _NEVER else min(0.0, float(logprob))


def _piece(token: Mapping[str, JSON]) -> bytes:
    """The token's bytes, which need not be UTF-8; its text where the server gives none."""
    try:
        told = token["bytes"]
        return bytes(told if type(told) is list else [*told])
    except (KeyError, TypeError, ValueError):
        return str(token.get("token", "")).encode(errors="replace")
