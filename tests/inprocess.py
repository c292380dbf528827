"""An upstream without a network: the real SDK over an ASGI app or a function, and a journal in memory."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from tfgrpo.model.budget import Budget
from tfgrpo.model.library import http
from tfgrpo.model.tokenizer import Tokenizer
from tfgrpo.model.upstream import Journal, Upstream
from tfgrpo.records import CallKey, Usage
from tfgrpo.settings import Settings
from tfgrpo.testing import _Receive, _Scope, _Send

URL = "http://fake/v1"
App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]
AT_ONCE = {"retry-after-ms": "1"}
"""Headers that make the SDK try again without a pause."""


class MemoryJournal:
    """A Journal that keeps what it is given, in order."""

    def __init__(self) -> None:
        self.kept: dict[CallKey, tuple[str, str, Usage]] = {}

    async def reply(self, key: CallKey, request: str) -> str | None:
        if key not in self.kept:
            return None
        assert self.kept[key][0] == request, f"another request under {key}"
        return self.kept[key][1]

    async def record(self, key: CallKey, request: str, response: str, usage: Usage) -> None:
        assert key not in self.kept, f"{key} was recorded before"
        self.kept[key] = (request, response, usage)


class Server:
    """Answers one after the other, the last one for ever; keeps the requests."""

    def __init__(self, *answers: http.Response | Exception) -> None:
        self.answers, self.requests = list(answers), list[http.Request]()

    def __call__(self, request: http.Request) -> http.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return http.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def bodies(self) -> list[Mapping[str, object]]:
        """The JSON bodies that were sent."""
        return [json.loads(request.content) for request in self.requests]


def completion(text: str = "yes", **more: object) -> http.Response:
    """A chat completion; `more` goes beside `choices`."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    return http.Response(200, json={"choices": [choice], "usage": usage, **more})


def refusal(status: int, message: str = "no", headers: Mapping[str, str] = AT_ONCE, **more: object) -> http.Response:
    """An error as the OpenAI API words it."""
    return http.Response(status, json={"error": {"message": message, **more}}, headers=headers)


@asynccontextmanager
async def upstream(
    server: Server | App,
    *,
    url: str = URL,
    journal: Journal | None = None,
    key: str | None = "sk-test-0123456789abcdef",
    settings: Settings | None = None,
    budget: Budget | None = None,
    tokenizer: Tokenizer | None = None,
    options: str = "--",
) -> AsyncIterator[Upstream]:
    """An Upstream whose requests go to `server`."""
    transport = http.MockTransport(server) if isinstance(server, Server) else http.ASGITransport(app=server)
    async with (
        http.AsyncClient(transport=transport) as client,
        Upstream(
            url,
            api_key=key,
            settings=settings,
            journal=journal,
            budget=budget,
            http_client=client,
            tokenizer=tokenizer,
            options=options,
        ) as made,
    ):
        yield made
