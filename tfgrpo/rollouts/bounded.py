"""Rollouts in bounded context: a long answer is written in chunks, from the question and its own last words.

Delethink (arXiv 2510.06557): the first chunk has C tokens at most; each further one is given the question, the first
100 tokens of the answer and its last m tokens, and may add C - m. So no prompt is longer than the question, 100 and
m, and the cost grows with the length of the answer and not with its square. A limit that the request sets on its answer
is one on the whole of it. How an upstream goes on is `ways_on`'s to say; where it does not, the work is given as text
(InftyThink, 2503.06692), which is another way to prompt.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from ..errors import InputError, ModelError, UpstreamError
from ..hashing import derive_seed
from ..model.tokenizer import Tokenizer
from ..model.upstream import Model, Upstream, reply_route
from ..records import JSON, Backend, CallKey, ChatBody, Prior, Reply, Rollout, Task
from ..surfaces.chat import with_prior
from ..surfaces.surface import question
from .chunk_answers import in_whole, read_completion, reasoned
from .executor import LIMITS, ChatExecutor, longest, manner_for, request_body
from .ways_on import CHAT, COMPLETIONS, ChunkRequest, added, steps_on, unless_reasoned

HEAD = 100
"""Tokens of the answer's beginning that every chunk is given."""
_MOST_ASIDES = 2
"""Questions that come before the request for a chunk."""
NO_TEXT = "a chunk has no text, so the answer cannot go on"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How an answer is cut into chunks."""

    chunk: int
    """Tokens that the first chunk may have (C)."""
    carry: int
    """Tokens of the answer's end that the next one is given (m)."""
    chunks: int
    """At most (I)."""

    def room(self, chunk: int) -> int:
        """Tokens that the chunk of this number, from 0, may add."""
        return self.chunk - (self.carry if chunk else 0)

    def most(self, limit: int | None) -> tuple[int, int]:
        """Chunks and tokens of an answer at most; `limit` is what the request sets on it."""
        tokens = self.chunk + (self.chunks - 1) * self.room(1)
        tokens = tokens if limit is None or limit < 1 else min(tokens, limit)
        return 1 + ceil(max(0, tokens - self.chunk) / self.room(1)), tokens


def bounds_of(given: str) -> Bounds:
    """From CHUNK:CARRY:CHUNKS, as settings have it."""
    return Bounds(*map(int, given.split(":")))


def first_tokens(text: str, tokens: int, count: Callable[[str], int]) -> str:
    """The longest beginning of a text that has so many tokens at most; whole characters."""
    return text[: _most(len(text), lambda size: count(text[:size]) <= tokens)]


def last_tokens(text: str, tokens: int, count: Callable[[str], int]) -> str:
    """The longest end of a text that has so many tokens at most; whole characters."""
    return text[len(text) - _most(len(text), lambda size: count(text[len(text) - size :]) <= tokens) :]


def _most(longest: int, fits: Callable[[int], bool]) -> int:
    """The largest size that fits, by halving; one of size 0 does."""
    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def carried(answer: str, bounds: Bounds, count: Callable[[str], int]) -> str:
    """What of an answer the next chunk is given: all of it, or its beginning and its end, which never overlap."""
    head = first_tokens(answer, HEAD, count)
    return head + last_tokens(answer[len(head) :], bounds.carry, count)


class BoundedExecutor:
    """An Executor whose rollouts are written chunk by chunk, each a journalled call; their usage is that of all."""

    def __init__(self, plain: ChatExecutor, bounds: Bounds, tokenizer: Callable[[], Tokenizer | None]) -> None:
        """The same rollouts as those of `plain`, in chunks.

        Log-probabilities are not asked for: chunks have contexts of their own, and no token prior is learned of them.
        """
        self._plain, self._bounds, self._tokenizer = plain, bounds, tokenizer

    async def __call__(self, task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        """One rollout; its text is that of all chunks, and it ends by length where the last one did."""
        of = self._plain
        seed = derive_seed(of.seed, of.stage, step, task.id, sample)
        asked = request_body(of.frame, of.backend, task, seed)
        key = CallKey(of.run, of.stage, step, task.id, sample)
        body = with_prior(asked, prior, await manner_for(of.model, of.backend, prior, asked["messages"], key))
        if not question(body["messages"]):
            raise InputError(f"{task.id} has no message of a user, which a chunk could be given again")
        included = tuple(experience.id for experience in prior.experiences)
        made = Rollout(task, step, sample, prior.id, included, tuple(body["messages"]))
        (chunks, left), backend = self._bounds.most(longest(of.frame)), of.backend
        for chunk in range(chunks):
            room, spent = min(self._bounds.room(chunk), left), made.usage.completion_tokens
            had = len(made.text)
            try:
                made, backend = await self._chunk(made, body, replace(key, retry=chunk), room, backend)
            except UpstreamError:
                raise
            except ModelError as error:
                return replace(made, error=str(error))
            left -= min(made.usage.completion_tokens - spent or room, room)  # what it goes on from may be counted too
            if made.finish_reason != "length" or left < 1:
                break
            if not made.text:
                return replace(made, error=f"{NO_TEXT}; a model that reasons out of sight goes without --bounded")
            if len(made.text) == had:
                break  # asked the same again, it would add as little
        return replace(made, messages=(*made.messages, {"role": "assistant", "content": made.text}))

    async def _chunk(
        self, made: Rollout, body: ChatBody, key: CallKey, room: int, backend: Backend
    ) -> tuple[Rollout, Backend]:
        """The rollout with one more chunk, of so many tokens at most, and how the next one goes on."""
        work = ""
        asked = {**{name: value for name, value in body.items() if name not in LIMITS}, "max_tokens": room}
        if key.retry:
            work = carried(made.text, self._bounds, self._count(made))
            reply = await _replied(self._plain.model, steps_on(asked, work, backend, made.text), key)
        else:
            reply = await self._plain.model(asked, key)
        text = made.text + added(in_whole(reply.text, reply.finish_reason), work, backend)
        made = replace(made, text=text, finish_reason=reply.finish_reason, usage=made.usage + reply.usage)
        return made, unless_reasoned(backend, reasoned=reasoned(reply.message))

    def _count(self, made: Rollout) -> Callable[[str], int]:
        """How to count tokens: by the tokenizer, else by what the answer's characters have taken so far."""
        if (tokenizer := self._tokenizer()) is not None:
            return lambda text: len(tokenizer.encode(text))
        each = max(1, made.usage.completion_tokens) / max(1, len(made.text))
        return lambda text: round(len(text) * each)


async def _replied(model: Model, steps: Generator[ChunkRequest, JSON, ChunkRequest], key: CallKey) -> Reply:
    """The reply to what the steps come to; what they need first is journalled beside it."""
    told: JSON = None
    beside = replace(key, stage=f"{key.stage} template", retry=key.retry * _MOST_ASIDES)
    while True:
        try:
            asked = steps.send(told)
        except StopIteration as done:
            reply: Reply = await answer_to(model, done.value, key)
            return reply
        told = await answer_to(model, asked, beside)
        beside = replace(beside, retry=beside.retry + 1)


async def answer_to(model: Model, asked: ChunkRequest, key: CallKey) -> Any:
    """The reply to a request, or the JSON of an aside, None where there is none; raises as the model does."""
    if asked.route == CHAT:
        return await model(asked.body, key)
    if not isinstance(model, Upstream):
        raise ModelError(f"{asked.route} is asked of an upstream, and this model is none")
    if asked.is_aside:
        return await model.post(asked.route, asked.body, key)
    return (await model.exchange(asked.body, key, reply_route(COMPLETIONS, read_completion)))[1]
