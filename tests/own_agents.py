"""Agents as users write them, loaded by name."""

import asyncio
import threading
from typing import Any, cast

import openai

from tfgrpo.records import Task, message_text

RUNS: list[str] = []
"""The tasks that were rolled out, in order."""
release = threading.Event()
"""Ends `stuck`."""
over = threading.Event()
"""What `stuck` asks after that has been answered, or refused."""


def route(client: openai.OpenAI, task: Task) -> str:
    """One call, in the calling thread."""
    RUNS.append(task.id)
    reply = client.chat.completions.create(model="default", messages=[{"role": "user", "content": task.prompt}])
    return reply.choices[0].message.content or ""


async def route_async(client: openai.AsyncOpenAI, task: Task) -> str:
    """Two calls at once, of which the second counts."""
    asked = [f"first thoughts about {task.prompt}", task.prompt]
    made = [
        client.chat.completions.create(model="fake", messages=[{"role": "user", "content": text}], temperature=0)
        for text in asked
    ]
    replies = await asyncio.gather(*made)
    return replies[1].choices[0].message.content or ""


def streams(client: openai.OpenAI, task: Task) -> str:
    """One call, whose answer comes in parts."""
    asked: Any = {"model": "default", "messages": [{"role": "user", "content": task.prompt}], "stream": True}
    parts, usage = list[str](), None
    for chunk in client.chat.completions.create(**asked, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        parts += [choice.delta.content or "" for choice in chunk.choices]
    assert len(parts) > 2 and usage and usage.completion_tokens == 3, (parts, usage)
    return "".join(parts)


def converses(client: openai.OpenAI, task: Task) -> str:
    """Two turns by the Responses API, of which the second is streamed."""
    first = client.responses.create(model="default", instructions="Route it.", input=task.prompt)
    more: Any = {"instructions": "Route it.", "input": "Sure?", "previous_response_id": first.id}
    with client.responses.stream(model="default", **more) as stream:
        return stream.get_final_response().output_text


def asks_beside(client: openai.OpenAI, task: Task) -> str:
    """Asks for vectors, words that were said and a list of files before it asks its model."""
    vectors = client.embeddings.create(model="small", input=[task.prompt], encoding_format="float")
    heard = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"RIFF", "audio/wav"))
    client.get("/files", cast_to=object, options={"params": {"after": "x y"}})
    asked = f"{vectors.data[0].embedding} {heard.text}"
    return client.responses.create(model="default", input=asked).output_text


def returns_none(client: openai.OpenAI, task: Task) -> None:
    """Forgets its answer."""
    route(client, task)


def returns_object(client: openai.OpenAI, task: Task) -> dict[str, str]:
    """JSON is an answer."""
    return {"label": route(client, task)}


def returns_client(client: openai.OpenAI, task: Task) -> object:
    """No text and no JSON."""
    route(client, task)
    return client


def calls_nobody(client: openai.OpenAI, task: Task) -> str:
    """Never asks the model."""
    return "billing"


def crashes(client: openai.OpenAI, task: Task) -> str:
    """Fails after its call, and says too much."""
    route(client, task)
    raise ValueError("no luck\nwith sk-live-0123456789abcdef")


def stuck(client: openai.OpenAI, task: Task) -> str:
    """Never returns by itself; what it asks afterwards is refused."""
    route(client, task)
    release.wait()
    try:
        return route(client, task)
    finally:
        over.set()


async def stuck_async(client: openai.AsyncOpenAI, task: Task) -> str:
    """Never returns."""
    await asyncio.Event().wait()
    return ""


async def sort_message(client: openai.AsyncOpenAI, task: Task) -> str:
    """The demo's job as an agent does it: it writes its own prompt, and tidies the answer."""
    shots = [*task.messages[:-1]]
    asked = {"role": "user", "content": message_text(task.messages[-1])}
    system = {"role": "system", "content": "Sort support messages by topic, in one word: delivery, payment or login."}
    reply = await client.chat.completions.create(
        model="default", messages=cast(Any, [system, *shots, asked]), max_tokens=8
    )
    return (reply.choices[0].message.content or "").strip()


async def looks_up(client: openai.AsyncOpenAI, task: Task) -> str:
    """Lets the model call a tool that knows the label."""
    tools: Any = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
    messages: list[Any] = [{"role": "user", "content": task.prompt}]
    for _ in range(3):
        reply = await client.chat.completions.create(model="fake", messages=messages, tools=tools)
        said = reply.choices[0].message
        if not said.tool_calls:
            break
        messages.append(said.model_dump(exclude_none=True))
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": f"the label is {task.answer}"}
            for call in said.tool_calls
        ]
    return said.content or ""
