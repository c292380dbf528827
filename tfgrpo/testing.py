"""Fakes that ship to users: a model whose answers a function decides, and the same model as an HTTP upstream.

`ScriptedModel` serves tests and documentation; `SimulatedPolicy` is a small exact softmax policy that honours
`logit_bias`, temperature and seed, for statements about known effects. Neither is a language model.
"""

import asyncio
import json
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from .hashing import derive_seed
from .model.events import events
from .model.replies import parse_reply
from .records import JSON, CallKey, ChatBody, Observation, Reply, Task, message_text

if TYPE_CHECKING:
    import socket

    import uvicorn

_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the fake answers to one request."""

    text: str = ""
    finish_reason: str = "stop"
    logprobs: Sequence[Mapping[str, JSON]] | None = None
    """`logprobs.content` entries, when the request asks for them."""
    tool_calls: Sequence[Mapping[str, JSON]] | None = None
    status: int = 200
    """Other than 200: an error with `text` as its message."""
    param: str | None = None
    """The parameter that an error is about."""


Script: TypeAlias = Callable[[ChatBody], "str | Answer"]
Embed: TypeAlias = Callable[[str], "Sequence[float] | Answer"]


def payload(body: ChatBody, answer: Answer) -> dict[str, JSON]:
    """The answer as the JSON body of a chat completion, or of an error."""
    if answer.status != 200:
        error = {"message": answer.text, "type": "fake_error", "param": answer.param, "code": None}
        return {"error": error}
    message: dict[str, JSON] = {"role": "assistant", "content": answer.text}
    if answer.tool_calls:
        message |= {"content": answer.text or None, "tool_calls": list(answer.tool_calls)}
    choice: dict[str, JSON] = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    if answer.logprobs is not None and body.get("logprobs"):
        choice["logprobs"] = {"content": list(answer.logprobs)}
    prompt = sum(len(message_text(entry).split()) for entry in body["messages"])
    completion = len(answer.text.split())
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model", "fake"),
        "choices": [choice],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        },
    }


@dataclass(slots=True)
class ScriptedModel:
    """A model whose answers `script` decides from the request; a Model, and by `app` an OpenAI-compatible upstream.

    Every request body is kept in `requests`, in order of arrival; every HTTP request's headers in `headers`.
    """

    script: Script
    name: str = "fake"
    owner: str = "tfgrpo.testing"
    """`owned_by` in /v1/models: `llamacpp` and `vllm` are treated as what they are."""
    context: int = 0
    """`max_model_len` in /v1/models: tokens of a prompt and its answer, at most; 0: it is not told."""
    tokenizer: Callable[[str], Sequence[int]] = lambda text: [len(word) for word in text.split()]
    """Token ids of a text, for /tokenize."""
    detokenizer: Callable[[int], str] | None = None
    """The text of a token id, for /detokenize; None: there is no such route."""
    embed: Embed | None = None
    """The vector of a text, or an error, for /v1/embeddings; None: there is no such route."""
    embedded: list[list[str]] = field(default_factory=list)
    """The texts of every request for embeddings."""
    requests: list[ChatBody] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def answer(self, body: ChatBody) -> Answer:
        """What the script says to one request."""
        self.requests.append(body)
        said = self.script(body)
        return Answer(said) if isinstance(said, str) else said

    async def __call__(self, body: ChatBody, key: CallKey) -> Reply:
        """Raises ModelError where the script answers with an error status."""
        return parse_reply(json.dumps(payload(body, self.answer(body))))

    async def app(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """The ASGI app: /v1/chat/completions (JSON and SSE), /v1/embeddings, /v1/models, /tokenize, /detokenize.

        /health as well, and an echo elsewhere.
        """
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        self.headers.append(
            {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        )
        raw = b"".join([chunk async for chunk in _body(receive)])
        path, method = scope["path"], scope["method"]
        if method == "POST" and path.endswith("/chat/completions"):
            await self._complete(json.loads(raw), send)
        elif method == "POST" and path.endswith("/embeddings") and self.embed:
            await self._embed(json.loads(raw), self.embed, send)
        elif method == "GET" and path.endswith("/models"):
            room = {"max_model_len": self.context} if self.context else {}
            models = [{"id": self.name, "object": "model", "created": 0, "owned_by": self.owner, **room}]
            await _respond(send, 200, json.dumps({"object": "list", "data": models}).encode())
        elif method == "POST" and path.endswith("/tokenize"):
            text = next((text for name in ("content", "prompt") if (text := json.loads(raw).get(name)) is not None), "")
            await _respond(send, 200, json.dumps({"tokens": list(self.tokenizer(text))}).encode())
        elif method == "POST" and path.endswith("/detokenize") and self.detokenizer:
            text = "".join(map(self.detokenizer, json.loads(raw)["tokens"]))
            await _respond(send, 200, json.dumps({"prompt": text}).encode())
        elif path.endswith("/health"):
            await _respond(send, 200, b'{"status":"ok"}')
        else:
            await _respond(send, 200, raw, content_type=b"application/octet-stream")

    async def _embed(self, body: JSON, embed: Embed, send: _Send) -> None:
        texts = [body["input"]] if isinstance(body["input"], str) else list(body["input"])
        self.embedded.append(texts)
        vectors = [embed(text) for text in texts]
        failed = next((vector for vector in vectors if isinstance(vector, Answer)), None)
        if failed:
            await _respond(send, failed.status, json.dumps(payload(body, failed)).encode())
            return
        found = [{"object": "embedding", "index": place, "embedding": each} for place, each in enumerate(vectors)]
        tokens = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        told = {"object": "list", "model": body["model"], "data": found, "usage": usage}
        await _respond(send, 200, json.dumps(told).encode())

    async def _complete(self, body: ChatBody, send: _Send) -> None:
        answer = self.answer(body)
        whole = payload(body, answer)
        if not body.get("stream") or answer.status != 200:
            await _respond(send, answer.status, json.dumps(whole).encode())
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for event in events(whole, usage=bool((body.get("stream_options") or {}).get("include_usage"))):
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@dataclass(slots=True)
class Strained:
    """A model behind a service under load: answers take time, some requests are refused as one too many, some stall.

    By `app` an upstream like the model's own. What befalls a request is drawn in order of arrival, from `seed`.
    """

    model: ScriptedModel
    seconds: float = 1.0
    """Median of the time that an answer takes, which is log-normal."""
    spread: float = 0.5
    """Standard deviation of its logarithm."""
    busy: float = 0.0
    """Share of requests that are refused with 429."""
    retry_after: float = 1.0
    """Seconds that a refusal asks to wait."""
    stalls: float = 0.0
    """Share of requests whose answer takes `stalled` seconds more."""
    stalled: float = 10.0
    seed: int = 0
    kind: Callable[[bytes], str] = lambda body: ""
    """What `served` calls a request with this body."""
    served: list[tuple[str, float]] = field(default_factory=list)
    """Kind of each request that was answered, and the seconds that it took, in order of arrival."""
    refused: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    _draw: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)

    async def app(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """The ASGI app; only POSTs are under load."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.model.app(scope, receive, send)
            return
        raw = b"".join([chunk async for chunk in _body(receive)])
        if self._draw.random() < self.busy:
            self.refused += 1
            error = payload({}, Answer("too many requests", status=429))
            await _respond(send, 429, json.dumps(error).encode(), headers=[(b"retry-after", str(self.retry_after))])
            return
        seconds = self.seconds * math.exp(self._draw.gauss(0.0, self.spread))
        seconds += self.stalled if self._draw.random() < self.stalls else 0.0
        self.served.append((self.kind(raw), seconds))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(seconds)
            await self.model.app(scope, _again(raw), send)
        finally:
            self.in_flight -= 1


def _again(raw: bytes) -> _Receive:
    """Receives a body that was read before."""

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    return receive


async def _body(receive: _Receive) -> AsyncIterator[bytes]:
    while True:
        event = await receive()
        yield event.get("body", b"")
        if not event.get("more_body"):
            return


async def _respond(
    send: _Send,
    status: int,
    body: bytes,
    content_type: bytes = b"application/json",
    headers: Sequence[tuple[bytes, str]] = (),
) -> None:
    told = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    told += [(name, value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: _Receive, send: _Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return


_COLDEST = 1e-6
"""Stands for temperature 0: the likeliest word for certain."""


@dataclass(frozen=True, slots=True)
class SimulatedPolicy:
    """A script: one-word answers drawn from an exact softmax over a small vocabulary.

    The token id of a word is its place in `words`. `logits` gives the unbiased logits for a prompt (the text of the
    whole request). Reported log-probabilities are at temperature 1 and before the bias, as llama.cpp reports them,
    after it with `after_bias`, and at the temperature of sampling with `after_temperature`. Without `ids` tokens are
    named by their bytes alone, as OpenAI names them; without `logprobs` there are none.
    """

    words: Sequence[str]
    logits: Callable[[str], Sequence[float]]
    after_bias: bool = False
    after_temperature: bool = False
    ids: bool = True
    logprobs: bool = True

    def __call__(self, body: ChatBody) -> Answer:
        """Draws with the request's `seed` and hashes the prompt into it: equal requests get equal answers."""
        prompt = "\n".join(message_text(message) for message in body["messages"])
        raw = list(self.logits(prompt))
        bias = {int(token): value for token, value in (body.get("logit_bias") or {}).items()}
        biased = [logit + bias.get(token, 0.0) for token, logit in enumerate(raw)]
        temperature = float(body.get("temperature", 1.0)) or _COLDEST
        draw = random.Random(derive_seed(body.get("seed"), prompt))
        weights = [math.exp(logprob) for logprob in _log_softmax(biased, temperature)]
        chosen = draw.choices(range(len(raw)), weights)[0]
        reported = _log_softmax(biased if self.after_bias else raw, temperature if self.after_temperature else 1.0)
        ranked = sorted(range(len(raw)), key=lambda token: -reported[token])[: int(body.get("top_logprobs") or 0)]
        entry = self._entry(chosen, reported) | {"top_logprobs": [self._entry(token, reported) for token in ranked]}
        return Answer(self.words[chosen], logprobs=[entry] if self.logprobs else None)

    def _entry(self, token: int, reported: Sequence[float]) -> dict[str, JSON]:
        word = self.words[token]
        named = {"token": word, "bytes": list(word.encode()), "logprob": reported[token]}
        return {"id": token, **named} if self.ids else named


def _log_softmax(logits: Sequence[float], temperature: float) -> list[float]:
    scaled = [logit / temperature for logit in logits]
    top = max(scaled)
    total = top + math.log(sum(math.exp(logit - top) for logit in scaled))
    return [logit - total for logit in scaled]


LAMPS = ("red", "green", "blue")


@dataclass(slots=True)
class StoreRoom:
    """A small deterministic text environment: a box is to be fetched from a store, and how its door opens is not said.

    `press` changes the lamp from red to green, green to blue and blue to red. `turn` opens the door where the lamp is
    green, shuts it where it is blue, and does nothing where it is red. `go` leads through an open door, and `take`, in
    the store, ends with a reward of 1. A task's metadata may say how it begins: the `lamp`, and whether the door is
    `open`; and what the rooms are called: `hall` and `store`.
    """

    lamp: str = "red"
    open: bool = False
    inside: bool = False
    over: bool = False
    rooms: tuple[str, str] = ("hall", "store")

    def reset(self, task: Task, /) -> Observation:
        """The beginning of a task."""
        given = task.metadata
        self.lamp, self.open = str(given.get("lamp", "red")), bool(given.get("open"))
        self.rooms = str(given.get("hall", "hall")), str(given.get("store", "store"))
        self.inside = self.over = False
        return self._shown()

    def step(self, action: str, /) -> Observation:
        """What follows an action; one that is not known changes nothing."""
        word = action.lower().strip(" .!")
        if word == "press":
            self.lamp = LAMPS[(LAMPS.index(self.lamp) + 1) % len(LAMPS)]
        elif word == "turn" and self.lamp != "red":
            self.open = self.lamp == "green"
        elif word == "go" and self.open:
            self.inside = not self.inside
        self.over = word == "take" and self.inside
        return self._shown()

    def clone(self) -> "StoreRoom":
        """Another one in the same state."""
        return replace(self)

    def _shown(self) -> Observation:
        if self.over:
            return Observation("You have the box.", over=True, reward=1.0)
        here, there = self.rooms[self.inside], self.rooms[not self.inside]
        box, door = " A box is here." if self.inside else "", "open" if self.open else "shut"
        return Observation(f"You are in the {here}.{box} The lamp is {self.lamp}. The door to the {there} is {door}.")


@contextmanager
def serving(app: Callable[[_Scope, _Receive, _Send], Awaitable[None]]) -> Iterator[str]:
    """Serve an ASGI app on a free port of 127.0.0.1 in a thread; yields its base URL (`http://127.0.0.1:PORT/v1`)."""
    import socket
    import threading

    import uvicorn

    listener, ended = socket.create_server(("127.0.0.1", 0)), Future[None]()
    config = uvicorn.Config(app, interface="asgi3", log_level="error", lifespan="off")

    def serve() -> None:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve_until(ended, uvicorn.Server(config), listener))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        ended.set_result(None)
        thread.join()
        listener.close()


async def _serve_until(ended: "Future[None]", server: "uvicorn.Server", listener: "socket.socket") -> None:
    """As uvicorn serves, which looks every tenth of a second whether it is to end, and then waits for another."""
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])
    await server.on_tick(0)
    await asyncio.wrap_future(ended)
    for one in server.servers:
        one.close()
    state = server.server_state
    for connection in list(state.connections):
        connection.shutdown()
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            while state.connections or state.tasks:
                await asyncio.sleep(0.005)
