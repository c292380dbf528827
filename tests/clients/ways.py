"""Every way to make a call by the openai SDK, each a function of a client, for whichever version is installed."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from pydantic import BaseModel

MODEL = "fake"
ASKED: Any = [{"role": "user", "content": "Which queue?"}]
QUESTION: Any = {"type": "predicate", "instructions": "Is it about money?"}

Way: TypeAlias = Callable[[Any], object]
AsyncWay: TypeAlias = Callable[[Any], Awaitable[object]]


class Queue(BaseModel):
    """What is to be parsed."""

    code: str


def chat_of(client: Any) -> Any:
    """Where `parse` and `stream` of chat completions are; older SDKs have them under `beta`."""
    chat = client.chat.completions
    return chat if hasattr(chat, "parse") else client.beta.chat.completions


def _consumed(stream: Any) -> object:
    with stream as events:
        for _ in events:
            pass
        return events


def _raw_streamed(resource: Any, **body: Any) -> object:
    with resource.with_streaming_response.create(model=MODEL, **body) as response:
        response.read()
        return response


CHAT: dict[str, Way] = {
    "chat create": lambda one: one.chat.completions.create(model=MODEL, messages=ASKED),
    "chat stream=True": lambda one: _consumed(one.chat.completions.create(model=MODEL, messages=ASKED, stream=True)),
    "chat stream()": lambda one: _consumed(chat_of(one).stream(model=MODEL, messages=ASKED)),
    "chat parse": lambda one: chat_of(one).parse(model=MODEL, messages=ASKED, response_format=Queue),
    "chat raw": lambda one: one.chat.completions.with_raw_response.create(model=MODEL, messages=ASKED),
    "chat raw streaming": lambda one: _raw_streamed(one.chat.completions, messages=ASKED),
    "chat of with_options": lambda one: one.with_options(timeout=5).chat.completions.create(
        model=MODEL, messages=ASKED
    ),
    "chat of a copy's copy": lambda one: (
        one.copy().copy(max_retries=1).chat.completions.create(model=MODEL, messages=ASKED)
    ),
}
OTHERS: dict[str, Way] = {
    "responses create": lambda one: one.responses.create(model=MODEL, input="Which queue?"),
    "responses with items": lambda one: one.responses.create(model=MODEL, input=ASKED, instructions="Be brief."),
    "responses stream=True": lambda one: _consumed(one.responses.create(model=MODEL, input=ASKED, stream=True)),
    "responses stream()": lambda one: _consumed(one.responses.stream(model=MODEL, input=ASKED)),
    "responses parse": lambda one: one.responses.parse(model=MODEL, input=ASKED, text_format=Queue),
    "responses that go on": lambda one: one.responses.create(model=MODEL, input="Go on", previous_response_id="resp_1"),
    "responses raw": lambda one: one.responses.with_raw_response.create(model=MODEL, input=ASKED),
    "decisions": lambda one: one.decisions.create(model=MODEL, input="An invoice", questions=[QUESTION]),
}
COMPLETION: Way = lambda one: one.completions.create(model=MODEL, prompt="Which queue?")  # noqa: E731
UNTOUCHED: dict[str, Way] = {
    "embeddings": lambda one: one.embeddings.create(model=MODEL, input="Which queue?", encoding_format="float"),
    "multipart": lambda one: one.audio.transcriptions.create(model=MODEL, file=("a.wav", b"RIFF")),
}


def there(ways: dict[str, Way], client: Any) -> dict[str, Way]:
    """Those that the installed SDK has."""
    return {name: way for name, way in ways.items() if name != "decisions" or hasattr(client, "decisions")}


async def _consumed_async(stream: Any) -> object:
    async with stream as events:
        async for _ in events:
            pass
        return events


async def _created_async(stream: Any) -> object:
    return await _consumed_async(await stream)


ASYNC: dict[str, AsyncWay] = {
    "chat create": lambda one: one.chat.completions.create(model=MODEL, messages=ASKED),
    "chat stream=True": lambda one: _created_async(
        one.chat.completions.create(model=MODEL, messages=ASKED, stream=True)
    ),
    "chat stream()": lambda one: _consumed_async(chat_of(one).stream(model=MODEL, messages=ASKED)),
    "chat parse": lambda one: chat_of(one).parse(model=MODEL, messages=ASKED, response_format=Queue),
    "chat raw": lambda one: one.chat.completions.with_raw_response.create(model=MODEL, messages=ASKED),
    "chat of with_options": lambda one: one.with_options(timeout=5).chat.completions.create(
        model=MODEL, messages=ASKED
    ),
    "responses create": lambda one: one.responses.create(model=MODEL, input="Which queue?"),
    "responses stream=True": lambda one: _created_async(one.responses.create(model=MODEL, input=ASKED, stream=True)),
    "responses stream()": lambda one: _consumed_async(one.responses.stream(model=MODEL, input=ASKED)),
    "responses parse": lambda one: one.responses.parse(model=MODEL, input=ASKED, text_format=Queue),
}
