"""Messages to be routed by SIMULATED policies with known effects, and how a run learns from them, without a network.

The SDK is left out of most runs: it takes a third of their time, and the tests of `model` and `clients` go through it.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.inprocess import App
from tfgrpo.learning.plan import Plan
from tfgrpo.learning.result import LearningResult
from tfgrpo.learning.run import carry_out
from tfgrpo.model.budget import Budget
from tfgrpo.model.connection import Connection
from tfgrpo.model.library import http
from tfgrpo.model.posts import PostedAnswer
from tfgrpo.model.upstream import Upstream
from tfgrpo.observer import Silent
from tfgrpo.records import ChatBody, Frame, Task, message_text
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy, serving

WORDS = ("The", "billing", "technical", "sales", "I")
TOPICS = {"invoice": "billing", "crash": "technical", "offer": "sales"}


def talkative(prompt: str) -> list[float]:
    """Logits of a policy that mostly starts to talk, and leans towards the right label when it does not."""
    logits = [2.5, 0.3, 0.1, 0.2, 2.0]
    for token, topic in enumerate(TOPICS, start=1):
        logits[token] += 1.5 * (topic in prompt)
    return logits


TASKS = tuple(
    Task(f"message {number} about {topic}", label) for number, (topic, label) in enumerate(list(TOPICS.items()) * 4)
)
SMALL = Settings(steps=2, race=False, group_size=4, concurrency=8, experiences=False)


def plan(settings: Settings = SMALL, tasks: tuple[Task, ...] = TASKS) -> Plan:
    return Plan(tasks, load_reward("exact"), "exact", Frame("fake", "Route it."), settings=settings)


class Straight:
    """Stands for a Connection's `Posts`: an ASGI app is asked, and nothing is between."""

    def __init__(self, app: App, key: str) -> None:
        self._app, self._headers = app, [(b"authorization", f"Bearer {key}".encode())]
        self._paths: dict[str, str] = {}

    async def answer(self, url: str, headers: object, content: bytes, most: int) -> PostedAnswer:
        """What comes back, whatever its status; what the app raises is a lost connection."""
        if url not in self._paths:
            self._paths[url] = http.URL(url).path
        sent = list[Any]()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": self._paths[url], "headers": self._headers}
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            raise http.ConnectError(str(error)) from error
        whole = b"".join(message.get("body", b"") for message in sent)
        return PostedAnswer(url, sent[0]["status"], sent[0]["headers"], whole)

    def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def upstream(
    model: ScriptedModel, store: Store, settings: Settings = SMALL, budget: Budget | None = None, *, sdk: bool = False
) -> AsyncIterator[Upstream]:
    """An upstream that the model answers for; with `sdk` through the SDK, as calls go outside of tests."""
    transport = http.ASGITransport(app=model.app)
    async with (
        http.AsyncClient(transport=transport) as client,
        Upstream("http://fake/v1", settings=settings, journal=store, http_client=client, budget=budget) as calls,
    ):
        if not sdk:
            _straighten(calls._connection, model.app)
        yield calls


def _straighten(connection: Connection, app: App) -> None:
    if connection._posts:
        connection._posts.close()
    connection._posts = Straight(app, connection._client.api_key)  # pyrefly: ignore[bad-assignment]  # as its own


@contextmanager
def served(app: App) -> Iterator[str]:
    """Where an app is served; what this process learns and measures there goes straight to it, without the SDK."""
    made = Connection.__init__

    def make(self: Connection, *given: Any, **more: Any) -> None:
        made(self, *given, **more)
        if self.base_url.rstrip("/") == url:
            _straighten(self, app)

    with serving(app) as url, pytest.MonkeyPatch.context() as patched:
        patched.setattr(Connection, "__init__", make)
        yield url


async def run(
    model: ScriptedModel, path: Path, settings: Settings = SMALL, *, fresh: bool = False, sdk: bool = False
) -> LearningResult:
    with Store(path) as store:
        async with upstream(model, store, settings, sdk=sdk) as calls:
            return await carry_out(plan(settings), store, calls, Silent(), fresh=fresh)


def simulated() -> ScriptedModel:
    return ScriptedModel(SimulatedPolicy(WORDS, talkative))


def failing_after(calls: int, answer: Answer) -> ScriptedModel:
    """The simulated policy until so many calls have been answered, then an error."""
    policy, count = SimulatedPolicy(WORDS, talkative), [0]

    def script(body: ChatBody) -> Answer:
        count[0] += 1
        return policy(body) if count[0] <= calls else answer

    return ScriptedModel(script)


ADVICE = "When a message is routed, answer with the label alone."
NOISE = "When a message is long, read it twice before anything else."
HARM = "When in doubt, write a friendly greeting first."


def distilling(effects: dict[str, float], base: float = 0.4) -> Callable[[ChatBody], str]:
    """A model that proposes all the texts, and whose chance of a right answer moves by each one's known effect."""

    def script(body: ChatBody) -> str:
        texts = "\n".join(message_text(message) for message in body["messages"])
        if "<attempts>" in texts or "<proposals>" in texts:
            sources = ["P1", "P2", "P3", "P4", "P5", "P6"]
            return json.dumps([{"operation": "ADD", "text": text, "target": "", "from": sources} for text in effects])
        chance = base + sum(effect for text, effect in effects.items() if text in texts)
        right = next((label for topic, label in TOPICS.items() if topic in texts), "billing")
        return right if body["seed"] % 1000 < 1000 * chance else "The message"

    return script
