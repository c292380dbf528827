"""The upstream: one model call, bounded, paid for, and journalled before anything is derived from it."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from ..errors import ModelError, UpstreamError
from ..hashing import content_id
from ..records import JSON, CallKey, ChatBody, Reply, Usage, backend_key
from ..settings import Settings
from ..text import counted
from .budget import Budget
from .connection import Connection, Relayed
from .library import http
from .pace import LAST, LOOKS, Alike, Pace, Place, Stalls, handed, hedged, is_asked_once
from .questions import Answers, parse_answers
from .replies import Vectors, estimated_usage, parse_reply, parse_vectors, parted, told_usage
from .tokenizer import Tokenizer, TokenNames

_OURS = "tfgrpo_"
"""What fields begin with that a journalled response has beside the server's; what that put there is left out."""
_DROPPED = f"{_OURS}dropped"
"""Field of a journalled response: what had to be dropped to get it, and why, so that a resumed run knows too."""

_ALONG = f"{_OURS}along"
"""Field of a journalled response: it came along with another one, by the same request (`n`), and was no call itself."""

_TWICE = f"{_OURS}twice"
"""Field of a journalled response: it was asked for twice, and both calls may have to be paid for."""

_TOLD = (_DROPPED, _ALONG, _TWICE)

_ESTIMATED = f"{_OURS}usage"
"""Field of a journalled response: its tokens as they were estimated, where the server counted none."""


_REPEATABLE = "/chat/completions"
"""Where a call made twice is the same as once: other routes may keep what is said, or use tools of the server. Here too
several answers may come by one request."""


class Journal(Protocol):
    """Where completed calls are committed before anything is derived from them."""

    async def reply(self, key: CallKey, request: str) -> str | None:
        """The response committed for this key, if any; `request` is the hash of the request."""
        ...

    async def record(self, key: CallKey, request: str, response: str, usage: Usage) -> None:
        """Commit one response; returns when it is safe on disk."""
        ...


@dataclass(frozen=True, slots=True)
class JournalledCalls:
    """A run's calls in its journal. Not kept: a call whose key names no run, and any call where there is no journal."""

    journal: Journal | None

    async def committed(self, key: CallKey, request: str) -> str | None:
        """The response committed for a key, if any; `request` is the hash of the request."""
        return await self.journal.reply(key, request) if self.journal and key.run else None

    async def commit(self, key: CallKey, request: str, response: str, usage: Usage) -> None:
        """Commit one response where it is to be kept."""
        if self.journal and key.run:
            await self.journal.record(key, request, response, usage)


def as_committed(response: str, dropped: Mapping[str, str], calls: int) -> str:
    """The response with what was dropped to get it, and with how many calls it was, where that is not one."""
    counted_as = {_ALONG: True} if calls == 0 else {_TWICE: True} if calls == 2 else {}
    told: dict[str, JSON] = {**({_DROPPED: dropped} if dropped else {}), **counted_as}
    if not told and _OURS not in response:
        return response
    fields: JSON = json.loads(response)
    if not isinstance(fields, dict):
        return response
    return json.dumps({**{name: held for name, held in fields.items() if name not in _TOLD}, **told})


def dropped_for(response: str) -> Mapping[str, str]:
    """What had to be dropped to get a committed response, and why."""
    found: Mapping[str, str] = json.loads(response).get(_DROPPED, {}) if _DROPPED in response else {}
    return found


def with_estimate(response: str, usage: Usage) -> str:
    """The response with an estimate of what it cost, so that a resumed run counts the same."""
    counts = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
    return json.dumps({**json.loads(response), _ESTIMATED: counts})


def estimate_for(response: str) -> Usage:
    """What a committed response was estimated to cost; no tokens where nothing was estimated."""
    return Usage(1, **json.loads(response).get(_ESTIMATED, {}))


def calls_for(response: str) -> int:
    """The calls that a committed response was: none where it came along with another one, two where it was asked for
    twice."""
    if not (_ALONG in response or _TWICE in response):
        return 1
    fields = json.loads(response)
    return 0 if fields.get(_ALONG) else 2 if fields.get(_TWICE) else 1


class Model(Protocol):
    """Any function from a chat request to a reply; the key says for which place in the run it is made."""

    async def __call__(self, body: ChatBody, key: CallKey) -> Reply:
        """Raises ModelError for one call that failed, UpstreamError when none can succeed."""
        ...


class _Told(NamedTuple):
    """What was answered to a request."""

    response: str
    lacking: Mapping[str, str]
    """Which of the body's parameters were dropped to get it, and why."""
    calls: int = 1
    """None where it came with the answer to another call, by the same request; two where it was asked for twice, and
    the other answer may have to be paid for too."""


R = TypeVar("R", Reply, Vectors, Answers)


def _counted(reply: R, calls: int) -> tuple[R, Usage]:
    """The reply as that of so many calls, and what they cost; of the second of two it is not told, so as the first."""
    if calls == 0:
        reply = replace(reply, usage=replace(reply.usage, calls=0))
    return reply, reply.usage + reply.usage if calls == 2 else reply.usage


@dataclass(frozen=True, slots=True)
class Route(Generic[R]):
    """Where a request goes, and how its answer is read."""

    path: str
    gives: str
    """What its answer is, for errors."""
    read: Callable[[str], R]
    """From the response's text; raises ModelError for what is no such answer."""


def reply_route(path: str, read: Callable[[str], Reply]) -> Route[Reply]:
    """Another route whose answers are replies, and how they are read."""
    return Route(path, f"answer by {path}", read)


class Upstream:
    """One OpenAI-compatible endpoint; a Model that keeps count.

    `settings.concurrency` calls are in flight at most, fewer while it is busy; rollouts let all else go
    first, and what is asked twice comes last. What is
    journalled is not asked again, and counts again; the budget pays for new calls alone. How its errors are told, what
    it rejects and what it is asked again are the Connection's to say. Calls whose key names no run are not journalled.
    """

    def __init__(
        self,
        base_url: str | None,
        *,
        api_key: str | None = None,
        settings: Settings | None = None,
        journal: Journal | None = None,
        budget: Budget | None = None,
        http_client: http.AsyncClient | None = None,
        tokenizer: Tokenizer | None = None,
        options: str = "--",
    ) -> None:
        """Raises InputError for a base URL that is none, UpstreamError where there is no usable key.

        `options` is what the options that name this endpoint begin with, for errors: `--distiller-`.
        """
        settings = settings or Settings()
        self._connection = Connection(base_url, api_key, settings, http_client=http_client, options=options)
        self.call_seconds = settings.call_timeout
        """How long one call may take."""
        self.journalled = JournalledCalls(journal)
        self._budget = budget
        self._hedge, self._stalls, self.pace = settings.hedge, Stalls(), Pace(settings.concurrency)
        """How many calls are in flight."""
        self.wants_several, self.several = settings.several, False
        """Whether rollouts that are asked alike are to be asked in one request, and whether that was seen to work."""
        self._alike = Alike[_Told]()
        self.name = self._connection.name
        """Host and port, for people."""
        self.key = backend_key(self._connection.base_url)
        """The base URL as the store knows it."""
        self.usage = Usage()
        self.adapted = self._connection.adapted
        """What it was seen to take: how requests to it are changed, and why."""
        self.dropped = self.adapted.dropped
        """Parameters that it rejects, and how that was seen; they are left out of further requests."""
        self.tokenizer = tokenizer
        """Tells the ids of tokens that come without; `probe` finds one for models of OpenAI's."""
        self._names = TokenNames(self.post)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def __call__(self, body: ChatBody, key: CallKey) -> Reply:
        """The committed reply for this key when there is one, else a new one, committed; raises BudgetEnded instead."""
        return (await self.exchange(body, key))[1]

    async def exchange(self, body: ChatBody, key: CallKey, route: Route[Reply] | None = None) -> tuple[str, Reply]:
        """As the call, with the response's JSON text before the reply; maybe by another route than that of chats."""
        response, reply = await self._exchange(route or self._chat, body, key)
        return response, await self._names.named(reply, key.run)

    async def embed(self, model: str, texts: Sequence[str], key: CallKey) -> Vectors:
        """The vectors of texts, in their order, by an embedding model here; under the same terms as the call."""
        route = Route(
            "/embeddings", f"embeddings of {counted(len(texts), 'text')}", lambda told: parse_vectors(told, len(texts))
        )
        return (await self._exchange(route, {"model": model, "input": list(texts)}, key))[1]

    async def decide(self, body: JSON, key: CallKey) -> Answers:
        """The answers to the questions of a request for decisions; under the same terms as the call."""
        asked = len(body["questions"])
        route = Route("/decisions", "decisions", lambda told: parse_answers(told, asked))
        return (await self._exchange(route, body, key))[1]

    async def replay(self, key: CallKey, request: str, route: Route[Reply] | None = None) -> tuple[str, Reply] | None:
        """What `exchange` gave when it was committed for this key, if it was; `request` is the hash of the body."""
        found = await self._replay(route or self._chat, key, request)
        return (found[0], await self._names.named(found[1], key.run)) if found else None

    async def get(self, path: str, key: CallKey) -> JSON:
        """The JSON at a path beside the chat route (`/models`), or None where there is none."""
        return await self._aside(path, None, key)

    async def post(self, path: str, body: JSON, key: CallKey) -> JSON:
        """The JSON answer to a POST at the server's root (`/tokenize`), or None where there is none."""
        return await self._aside(path, body, key, self._connection.root)

    async def relay(self, asked: Relayed, model: str) -> Relayed:
        """The answer to what is asked beside a model (embeddings, files, ...), whatever it is; ModelError for none.

        A POST counts as a call, with the tokens that its answer tells of, at the price of `model`. Nothing is
        journalled: who needs it again asks again.
        """
        async with self.pace.place(True) as place:
            if self._budget and asked.method == "POST":
                self._budget.admit()
            answer = await self._connection.relay(asked, place.pause)
        if self._budget and asked.method == "POST":
            self._budget.charge(model, told_usage(answer.content))
        return answer

    @property
    def _chat(self) -> Route[Reply]:
        token_id = self.tokenizer.id_of if self.tokenizer else None
        return Route("/chat/completions", "chat completion", lambda told: parse_reply(told, token_id))

    async def _exchange(self, route: Route[R], body: JSON, key: CallKey) -> tuple[str, R]:
        request = content_id("request", body)
        known = await self._replay(route, key, request)
        if known is not None:
            return known
        several = self.several and key.stage == "rollout" and route.path == _REPEATABLE
        alike = content_id("alike", {**body, "seed": 0}) if several else ""
        turn = self._alike.joined(alike) if alike else None
        if turn is not None and (told := await turn) is not None:
            return await self._taken(route, body, key, request, told)
        try:
            async with self.pace.place(key.stage == "rollout") as place:
                if self._budget:
                    self._budget.admit()
                told = await self._asked_for_all(route.path, body, place, key.stage, alike if turn is None else "")
                self.pace.answered()
                return await self._taken(route, body, key, request, told)  # until it is committed it is in flight
        finally:
            if turn is None:
                handed(self._alike.taken(alike), ())

    async def _taken(self, route: Route[R], body: JSON, key: CallKey, request: str, told: _Told) -> tuple[str, R]:
        """What was answered, read, paid for and committed."""
        response, lacking, calls = told
        reply, committed = self._parsed(route, response), as_committed(response, lacking, calls)
        if not reply.usage.tokens:  # else no ceiling on tokens or money would ever end the run
            said = reply.message if isinstance(reply, Reply) else None
            reply = replace(reply, usage=estimated_usage(body if calls else {}, said))
            committed = with_estimate(committed, reply.usage)
        reply, paid = _counted(reply, calls)
        if self._budget:
            for _ in range(max(1, calls)):
                self._budget.charge(body["model"], reply.usage)
        await self.journalled.commit(key, request, committed, paid)
        self.usage += paid
        return response, reply

    async def _asked_for_all(self, path: str, body: JSON, place: Place, kind: str, alike: str) -> _Told:
        """An answer for this call, and one for each that asks alike and waits, by one request (`n`).

        Where that is refused, or gives too few, those without one ask for themselves.
        """
        if alike:
            await asyncio.sleep(0)  # those begun with it come
        turns = self._alike.taken(alike)
        if not turns:
            return await self._asked(path, body, place, kind)
        try:
            response, lacking, calls = await self._asked(path, {**body, "n": 1 + len(turns)}, place, kind)
            first, *others = parted(response)
        except (ModelError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
            if isinstance(error, UpstreamError):
                handed(turns, ())
                raise
            self.several = False
            handed(turns, ())
            return await self._asked(path, body, place, kind)
        except BaseException:
            handed(turns, ())
            raise
        handed(turns, [_Told(one, lacking, 0) for one in others])
        return _Told(first, lacking, calls)

    async def _asked(self, path: str, body: JSON, place: Place, kind: str) -> _Told:
        """What the Connection's `complete` gives; asked once more where that takes long and a place stands empty."""
        first = self._connection.complete(path, body, place.pause)
        if self._hedge == 0 or path != _REPEATABLE or is_asked_once():
            return _Told(*await first)
        repeated = list[str]()

        async def again() -> tuple[str, Mapping[str, str]]:
            if not self._may_repeat:  # who waits here would wait for the places of those that wait for it
                raise ModelError("no place stands empty, or as many calls were made once more as may be")
            async with self.pace.place(LAST):
                if self._budget:
                    self._budget.admit()
                self._stalls.repeated()
                repeated.append(path)
                return await self._connection.complete(path, body, self._not_again)

        def left() -> float:
            waits = self._stalls.left(kind, place.seconds) if self._hedge is None else self._hedge - place.seconds
            return waits if waits > 0 or self._may_repeat else LOOKS

        told = await hedged(first, again, left)
        if place.held:
            self._stalls.took(kind, place.seconds)
        return _Told(*told, 1 + bool(repeated))

    @property
    def _may_repeat(self) -> bool:
        return self.pace.spare and (self._hedge is not None or self._stalls.may_repeat)

    async def _not_again(self, seconds: float, *, busy: bool) -> None:
        """Instead of a pause: what was made once more is not tried again, the first one is still under way."""
        if busy:
            self.pace.refused(seconds)
        raise ModelError("a call that was made once more was refused")

    async def _replay(self, route: Route[R], key: CallKey, request: str) -> tuple[str, R] | None:
        known = await self.journalled.committed(key, request)
        if known is None:
            return None
        reply = replace(route.read(known), replayed=True)
        if not reply.usage.tokens:
            reply = replace(reply, usage=estimate_for(known))
        reply, paid = _counted(reply, calls_for(known))
        self.adapted.learn(dropped_for(known))
        self.usage += paid
        return known, reply

    async def _aside(self, path: str, body: JSON, key: CallKey, root: str = "") -> JSON:
        """Journalled like any call, so that a resumed run takes the upstream for what it was, on another port too."""
        request = content_id("request", path, body)
        known = await self.journalled.committed(key, request)
        if known is not None:
            return json.loads(known)
        answer = await self._connection.ask(root + path, body)
        await self.journalled.commit(key, request, json.dumps(answer), Usage())
        return answer

    def _parsed(self, route: Route[R], response: str) -> R:
        try:
            return route.read(response)
        except ModelError:
            raise self._connection.failures.unreadable(response, route.gives) from None
