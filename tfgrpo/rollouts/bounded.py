"""Rollouts in bounded context: a long answer is written in chunks, from the question and its own last words.

Delethink (arXiv 2510.06557): the first chunk has C tokens at most; each further one is given the question, the first
100 tokens of the answer and its last m tokens, and may add C - m. So no prompt is longer than the question, 100 and
m, and the cost grows with the length of the answer and not with its square. A limit that the request sets on its answer
is one on the whole of it. Where the upstream goes on from an
assistant's message (llama.cpp, vLLM) it is given as such; elsewhere as text (InftyThink, 2503.06692), which is
another way to prompt.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from ..errors import InputError, ModelError, UpstreamError
from ..hashing import derive_seed
from ..model.tokenizer import Tokenizer
from ..prompts import template
from ..records import JSON, Backend, CallKey, ChatBody, Message, Prior, Rollout, Task, message_text
from ..surfaces.chat import with_prior
from ..surfaces.surface import question
from .executor import LIMITS, ChatExecutor, longest, manner_for, request_body

HEAD = 100
"""Tokens of the answer's beginning that every chunk is given."""
_VLLM: Mapping[str, JSON] = {"continue_final_message": True, "add_generation_prompt": False}
NO_TEXT = "a chunk has no text, so the answer cannot go on"
GOES_ON = ("llama.cpp", "vllm")
"""Upstreams that go on from an assistant's message."""


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


def going_on(body: ChatBody, work: str, backend: Backend, answer: str) -> ChatBody:
    """The request for the next chunk of an answer so far, of which this was carried over."""
    messages: Sequence[Message] = body["messages"]
    if backend.kind in GOES_ON:
        more = _VLLM if backend.kind == "vllm" else {}
        return {**body, **more, "messages": [*messages, {"role": "assistant", "content": work}]}
    place = max(at for at, message in enumerate(messages) if message.get("role") == "user")
    told = template("goes_on").render(
        question=message_text(messages[place]), work=work, gap=", without its middle part" if work != answer else ""
    )
    held = messages[place].get("content")
    others = [part for part in held if not _is_text(part)] if isinstance(held, list) else []
    content = [*others, {"type": "text", "text": told}] if others else told  # images stay what they are
    return {**body, "messages": [*messages[:place], {**messages[place], "content": content}, *messages[place + 1 :]]}


def _is_text(part: JSON) -> bool:
    return isinstance(part, str) or (isinstance(part, Mapping) and part.get("type") == "text")


def added(said: str, work: str, backend: Backend) -> str:
    """What a chunk adds: vLLM goes on; llama.cpp begins with the work, as one may that is told it as text."""
    if backend.kind == "vllm":
        return said
    begun = next((given for given in (work, work.rstrip(), work.strip()) if given and said.startswith(given)), "")
    return said[len(begun) :]


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
        chunks, left = self._bounds.most(longest(of.frame))
        for chunk in range(chunks):
            room, spent = min(self._bounds.room(chunk), left), made.usage.completion_tokens
            try:
                made = await self._chunk(made, body, replace(key, retry=chunk), room)
            except UpstreamError:
                raise
            except ModelError as error:
                return replace(made, error=str(error))
            left -= min(made.usage.completion_tokens - spent or room, room)  # what it goes on from may be counted too
            if made.finish_reason != "length" or left < 1:
                break
            if not made.text:
                return replace(made, error=f"{NO_TEXT}; a model that reasons out of sight goes without --bounded")
        return replace(made, messages=(*made.messages, {"role": "assistant", "content": made.text}))

    async def _chunk(self, made: Rollout, body: ChatBody, key: CallKey, room: int) -> Rollout:
        """The rollout with one more chunk, of so many tokens at most."""
        asked, work = body, ""
        if key.retry:
            work = carried(made.text, self._bounds, self._count(made))
            asked = going_on(body, work, self._plain.backend, made.text)
        fields = {name: value for name, value in asked.items() if name not in LIMITS}
        reply = await self._plain.model({**fields, "max_tokens": room}, key)
        text = added(reply.text, work, self._plain.backend)
        return replace(made, text=made.text + text, finish_reason=reply.finish_reason, usage=made.usage + reply.usage)

    def _count(self, made: Rollout) -> Callable[[str], int]:
        """How to count tokens: by the tokenizer, else by what the answer's characters have taken so far."""
        if (tokenizer := self._tokenizer()) is not None:
            return lambda text: len(tokenizer.encode(text))
        each = max(1, made.usage.completion_tokens) / max(1, len(made.text))
        return lambda text: round(len(text) * each)
