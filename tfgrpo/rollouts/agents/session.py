"""Sessions: the model calls of an agent in one rollout, biased, recorded, and found again when a run is resumed."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from ...errors import ModelError, UpstreamError
from ...hashing import content_id, derive_seed
from ...model.connection import Relayed
from ...model.pace import asked_once, is_asked_once
from ...model.replies import loaded
from ...model.upstream import Route, Upstream, reply_route
from ...records import JSON, Backend, CallKey, ChatBody, Frame, Message, Prior, Reply, Usage, message_text
from ...surfaces.chat import CHAT, is_system
from ...surfaces.sureness import SURENESS_ALTERNATIVES, RememberedAnswers
from ...surfaces.surface import Manner, Sureness, Surface, manner_of
from ...surfaces.triggers import waits_for_sureness
from ...text import shortened
from ..executor import manner_for, sampling, telling
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
    """What the agent said in it and before it, as chat messages."""
    reply: Reply
    surface: Surface = CHAT
    sureness: Sureness | None = None
    """Of the reply, where a trigger looks at it."""
    vector: str = ""
    """Of what it asks, where the prior chooses demonstrations by vectors."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every call that agents make in a run."""

    upstream: Upstream
    frame: Frame
    """Model and sampling settings; the rest of a request is the agent's own."""
    backend: Backend
    seed: int
    top_logprobs: int = 0

    def body(self, asked: ChatBody, prior: Prior, seed: int, of: Manner, surface: Surface = CHAT) -> ChatBody:
        """The agent's request as it is sent: with the prior and with the run's sampling settings.

        The token prior, and the log-probabilities that it is learned from, are for the run's model alone. So are those
        that a trigger looks at. `of` names the task, and tells how sure the answer before was and the request's vector.
        """
        fields = {name: value for name, value in asked.items() if name not in _STREAMING}
        named = fields.get("model") or DEFAULT_MODEL
        model = self.frame.model if named == DEFAULT_MODEL else named
        ours = model == self.frame.model
        plain = {**fields, "model": model, **self._sampling(surface, seed)}
        wanted = self.top_logprobs or SURENESS_ALTERNATIVES * waits_for_sureness(prior)
        if surface is CHAT and ours and wanted and self.backend.logprobs:
            own = fields.get("top_logprobs")
            plain |= telling(self.backend, max(own, wanted) if isinstance(own, int) else wanted)
        manner = manner_of(self.backend, of.exclude, biased=ours)._replace(sureness=of.sureness, vector=of.vector)
        return surface.enter(plain, surface.part_of(prior, manner), manner)

    def _sampling(self, surface: Surface, seed: int) -> Mapping[str, JSON]:
        """The run's settings as a surface has them: only chat completions take a seed."""
        if surface is CHAT:
            return sampling(self.frame, self.backend, seed)
        top_p = {"top_p": self.frame.top_p} if self.frame.top_p != 1 else {}
        return {"temperature": self.frame.temperature, **top_p}


def recorded_route(surface: Surface) -> Route[Reply] | None:
    """Where calls of a surface go, and how their responses are read; None: as calls of chats."""
    return None if surface is CHAT else reply_route(surface.route, lambda response: _reply(surface, response))


def _reply(surface: Surface, response: str) -> Reply:
    """Raises ModelError for what is no response of the surface."""
    try:
        payload = loaded(response)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"no JSON: {shortened(response)!r}") from error
    message = surface.answer(payload) if surface.answer else None
    if message is None:
        raise ModelError(f"no answer by {surface.route}: {shortened(response)!r}")
    told = surface.told(payload)
    return Reply(
        message_text(message), message, told.finish_reason, Usage(1, told.prompt_tokens, told.completion_tokens)
    )


class Session:
    """An agent's calls in one rollout, in the order in which they came.

    The key of a call is made from what the agent asks and how often it has asked that before, not from its place: calls
    made at once may come in any order, and an agent that asks something else when a run is resumed meets no other
    call's answer. What it asks again is replayed, the rest is sampled anew.
    """

    def __init__(self, terms: Terms, prior: Prior, key: CallKey) -> None:
        self._terms, self._prior, self._key, self._once = terms, prior, key, is_asked_once()
        self._asked, self._arrived = Counter[str](), 0
        self._calls: dict[int, Call] = {}
        self._answers = RememberedAnswers()
        self._threads: dict[str, tuple[Message, ...]] = {}
        """What was said up to each response that another request may go on from."""
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

    async def complete(self, asked: ChatBody, surface: Surface = CHAT) -> dict[str, JSON]:
        """The response to a request of the agent's, whole; raises ModelError, or what `stopped` gets."""
        self.failed = None
        try:
            return await self._complete(asked, surface)
        except Exception as error:
            self.failed = str(error)
            only_this = isinstance(error, ModelError) and not isinstance(error, UpstreamError)
            if not only_this:
                self.stop(error)
            raise

    async def relay(self, asked: Relayed) -> Relayed:
        """The answer to what is no call of a model that could have a prior; raises as `complete` does.

        Nothing of it is recorded, and a failure of it is the agent's to deal with.
        """
        try:
            return await self._terms.upstream.relay(asked, self.model)
        except ModelError as error:
            self.failed = str(error)
            raise
        except Exception as error:
            self.stop(error)
            raise

    def stop(self, error: Exception) -> None:
        """The run itself cannot go on."""
        if not self.stopped.done():
            self.stopped.set_exception(error)

    async def _complete(self, asked: ChatBody, surface: Surface) -> dict[str, JSON]:
        content = content_id("asked", *((asked,) if surface is CHAT else (surface.name, asked)))
        retry = derive_seed(content, self._asked[content])
        self._asked[content] += 1
        number, self._arrived = self._arrived, self._arrived + 1
        key = replace(self._key, retry=retry)
        seed = derive_seed(self._terms.seed, key.stage, key.step, key.task, key.sample, retry)
        heeds = surface is CHAT and waits_for_sureness(self._prior)
        sureness = self._answers.before(asked["messages"]) if heeds else None
        of = await manner_for(self._terms.upstream, self._terms.backend, self._prior, surface.asked(asked), key)
        body = self._terms.body(asked, self._prior, seed, of._replace(sureness=sureness), surface)
        response, reply = await self._exchanged(body, key, surface)
        if asked.get("logit_bias"):
            reply = replace(reply, trace=None)  # sampled under biases that learning does not know
        said = self._said(asked, surface)
        heard = self._answers.hear(asked["messages"], response) if heeds else None
        self._calls[number] = Call(retry, content_id("request", body), said, reply, surface, heard, of.vector)
        payload = json.loads(response)
        if surface is CHAT:
            return _as_asked(payload, asked)
        self._threads[str(payload.get("id"))] = (*said, reply.message)
        return {name: value for name, value in payload.items() if not name.startswith("tfgrpo_")}

    async def _exchanged(self, body: ChatBody, key: CallKey, surface: Surface) -> tuple[str, Reply]:
        try:
            with asked_once(self._once):  # the agent asks from elsewhere
                return await self._terms.upstream.exchange(body, key, recorded_route(surface))
        except UpstreamError as error:
            if surface is CHAT or " answered 404" not in str(error):
                raise
            raise UpstreamError(f"{error}; the agent calls {surface.route}, which this upstream may not have") from None

    def _said(self, asked: ChatBody, surface: Surface) -> tuple[Message, ...]:
        """What the agent said in a request, after what it said in those that this one goes on from."""
        messages: Sequence[Message] = surface.transcript(asked) if surface.transcript else ()
        before = self._threads.get(str(asked.get("previous_response_id")), ())
        leading = tuple(message for message in messages if is_system(message))
        return (*leading, *before[len([one for one in before if is_system(one)]) :], *messages[len(leading) :])


def read_request(content: bytes, surface: Surface = CHAT) -> ChatBody:
    """The body of a request; raises ValueError, which says why it is none of the surface."""
    text = content.decode()
    body = json.loads(text, parse_constant=_no_number)
    if not isinstance(body, dict):
        raise ValueError("the body is no JSON object")
    if not surface.fits(body):
        lacking = "messages must be a list of chat messages" if surface is CHAT else "it lacks what the API wants"
        raise ValueError(lacking)
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
