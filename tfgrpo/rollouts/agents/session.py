"""Sessions: the model calls of an agent in one rollout, biased, recorded, and found again when a run is resumed."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

from ...errors import ModelError, UpstreamError
from ...hashing import content_id, derive_seed
from ...model.upstream import Upstream
from ...records import JSON, Backend, CallKey, ChatBody, Frame, Message, Prior, Reply
from ...surfaces.chat import with_prior
from ...surfaces.surface import manner_of
from ..request import sampling
from .agent import DEFAULT_MODEL

_STREAMING = ("stream", "stream_options")


@dataclass(frozen=True, slots=True)
class Call:
    """One call that an agent made."""

    retry: int
    """The last part of its key."""
    request: str
    """The hash of its body, the last part of its name in the journal."""
    messages: tuple[Message, ...]
    """As the agent sent them."""
    reply: Reply


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every call that agents make in a run."""

    upstream: Upstream
    frame: Frame
    """Model and sampling settings; the rest of a request is the agent's own."""
    backend: Backend
    seed: int
    top_logprobs: int = 0

    def body(self, asked: ChatBody, prior: Prior, seed: int, task: str) -> ChatBody:
        """The agent's request as it is sent: with the prior and with the run's sampling settings.

        The token prior, and the log-probabilities that it is learned from, are for the run's model alone.
        """
        fields = {name: value for name, value in asked.items() if name not in _STREAMING}
        named = fields.get("model") or DEFAULT_MODEL
        model = self.frame.model if named == DEFAULT_MODEL else named
        ours = model == self.frame.model
        plain = {**fields, "model": model, **sampling(self.frame, self.backend, seed)}
        if ours and self.top_logprobs and self.backend.logprobs:
            own = fields.get("top_logprobs")
            most = max(own, self.top_logprobs) if isinstance(own, int) else self.top_logprobs
            plain |= {"logprobs": True, "top_logprobs": most}
        return with_prior(plain, prior, manner_of(self.backend, task, biased=ours))


class Session:
    """An agent's calls in one rollout, in the order in which they came.

    The key of a call is made from what the agent asks and how often it has asked that before, not from its place: calls
    made at once may come in any order, and an agent that asks something else when a run is resumed meets no other
    call's answer. What it asks again is replayed, the rest is sampled anew.
    """

    def __init__(self, terms: Terms, prior: Prior, key: CallKey) -> None:
        self._terms, self._prior, self._key = terms, prior, key
        self._asked, self._arrived = Counter[str](), 0
        self._calls: dict[int, Call] = {}
        self.stopped: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
        """Gets the error, when a call shows that the run itself cannot go on."""
        self.failed: str | None = None
        """How its last call failed, if it did: an agent may break down over what is the upstream's fault."""

    def close(self) -> None:
        """Ask no more of `stopped`."""
        if not self.stopped.cancel():
            self.stopped.exception()

    @property
    def model(self) -> str:
        """The model of the run."""
        return self._terms.frame.model

    @property
    def calls(self) -> tuple[Call, ...]:
        """Those that were answered."""
        return tuple(self._calls[number] for number in sorted(self._calls))

    async def complete(self, asked: ChatBody) -> dict[str, JSON]:
        """The chat completion for a request of the agent's, whole; raises ModelError, or what `stopped` gets."""
        self.failed = None
        try:
            return await self._complete(asked)
        except Exception as error:
            self.failed = str(error)
            only_this = isinstance(error, ModelError) and not isinstance(error, UpstreamError)
            if not only_this and not self.stopped.done():
                self.stopped.set_exception(error)
            raise

    async def _complete(self, asked: ChatBody) -> dict[str, JSON]:
        content = content_id("asked", asked)
        retry = derive_seed(content, self._asked[content])
        self._asked[content] += 1
        number, self._arrived = self._arrived, self._arrived + 1
        key = replace(self._key, retry=retry)
        seed = derive_seed(self._terms.seed, key.stage, key.step, key.task, key.sample, retry)
        body = self._terms.body(asked, self._prior, seed, key.task)
        response, reply = await self._terms.upstream.exchange(body, key)
        if asked.get("logit_bias"):
            reply = replace(reply, trace=None)  # sampled under biases that learning does not know
        self._calls[number] = Call(retry, content_id("request", body), tuple(asked["messages"]), reply)
        return _as_asked(json.loads(response), asked)


def read_request(content: bytes) -> ChatBody:
    """The body of a request for a chat completion; raises ValueError, which says why it is none."""
    text = content.decode()
    body = json.loads(text, parse_constant=_no_number)
    if not isinstance(body, dict):
        raise ValueError("the body is no JSON object")
    messages = body.get("messages")
    if not (isinstance(messages, list) and messages and all(isinstance(entry, dict) for entry in messages)):
        raise ValueError("messages must be a list of chat messages")
    whole: ChatBody = json.loads(json.dumps(body, ensure_ascii=False).encode(errors="replace"))  # no half surrogates
    return whole


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _as_asked(payload: Mapping[str, JSON], asked: ChatBody) -> dict[str, JSON]:
    """The response without what the agent did not ask for."""
    fields = {name: value for name, value in payload.items() if not name.startswith("tfgrpo_")}
    if not asked.get("logprobs"):
        unwanted = ("logprobs",)
        fields["choices"] = [{k: v for k, v in choice.items() if k not in unwanted} for choice in fields["choices"]]
    return fields
