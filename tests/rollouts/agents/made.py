"""Rollouts by agents, on a scripted upstream, and the programs that make them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from tests.inprocess import MemoryJournal, upstream
from tfgrpo.model.budget import Budget
from tfgrpo.model.upstream import Journal
from tfgrpo.records import (
    Backend,
    CallKey,
    ChatBody,
    Experience,
    Frame,
    Message,
    Prior,
    Rollout,
    Task,
    TokenBias,
    Usage,
)
from tfgrpo.rollouts.agents import Agent
from tfgrpo.rollouts.executor import Executor
from tfgrpo.rollouts.group import executors
from tfgrpo.settings import Settings
from tfgrpo.testing import Answer, ScriptedModel

TASK = Task("Which queue? My card was charged twice.", "billing")
PRIOR = Prior((Experience("When asked for a queue, answer with its name."),), (TokenBias(1, b"billing", 2.0, 3.0, 4),))
BACKEND = Backend("llama.cpp", "honoured", token_ids=True, logprobs=True)
FRAME = Frame("fake", temperature=0.9)
POSTS = """
import json, os, sys, urllib.error, urllib.request
def post(path, **body):
    headers = {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    url, sent = os.environ["OPENAI_BASE_URL"] + path, {"model": os.environ["TFGRPO_MODEL"], **body}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(sent).encode(), headers)) as response:
        return response.read().decode()
def ask(messages, **more):
    return post("/chat/completions", messages=messages, **more)
"""
"""How a program asks without the SDK, which takes ten times as long to load."""
URLLIB = f"""{POSTS}
said = json.loads(ask([{{"role": "user", "content": sys.argv[1]}}]))["choices"][0]["message"]["content"]
"""
PRINTS = URLLIB + "print(said)"
TOOLS = f"""{POSTS}
tools = [{{"type": "function", "function": {{"name": "look_up", "parameters": {{"type": "object"}}}}}}]
messages = [{{"role": "system", "content": "Use the tool."}}, {{"role": "user", "content": sys.argv[1]}}]
while True:
    reply = json.loads(ask(messages, tools=tools))["choices"][0]["message"]
    messages.append(reply)
    if not reply.get("tool_calls"):
        break
    for call in reply["tool_calls"]:
        found = "found: " + call["function"]["arguments"]
        messages.append({{"role": "tool", "tool_call_id": call["id"], "content": found}})
print(reply["content"])
"""
"""What `SDK` does."""
SDK = """
import sys, openai
client = openai.OpenAI()
tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
messages = [{"role": "system", "content": "Use the tool."}, {"role": "user", "content": sys.argv[1]}]
while True:
    reply = client.chat.completions.create(model="default", messages=messages, tools=tools).choices[0].message
    messages.append(reply)
    if not reply.tool_calls:
        break
    for call in reply.tool_calls:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "found: " + call.function.arguments})
print("thinking aloud", file=sys.stderr)
print(reply.content)
"""


class Program(Protocol):
    """Makes an agent of the source of a Python program."""

    def __call__(self, source: str, words: str = "{input}", /) -> Agent: ...


@asynccontextmanager
async def rolling(
    agent: Agent,
    model: ScriptedModel,
    settings: Settings | None = None,
    *,
    journal: Journal | None = None,
    budget: Budget | None = None,
    backend: Backend = BACKEND,
) -> AsyncIterator[Executor]:
    settings = settings or Settings()
    journal = journal or MemoryJournal()
    async with (
        upstream(model.app, journal=journal, settings=settings, budget=budget) as calls,
        executors(agent, calls, settings, journal) as make,
    ):
        yield make(FRAME, backend, run="run_1", stage="rollout", seed=3, top_logprobs=5)


async def rolled(
    agent: Agent,
    model: ScriptedModel,
    settings: Settings | None = None,
    *,
    task: Task = TASK,
    prior: Prior = PRIOR,
    journal: Journal | None = None,
    budget: Budget | None = None,
) -> Rollout:
    async with rolling(agent, model, settings, journal=journal, budget=budget) as executor:
        return await executor(task, prior, 2, 5)


def always(answer: str | Answer = "billing") -> ScriptedModel:
    return ScriptedModel(lambda _: answer)


def tool_user(body: ChatBody) -> str | Answer:
    """Calls a tool once, then answers with what it found."""
    results = [message for message in body["messages"] if message["role"] == "tool"]
    if results:
        return f"billing, {results[-1]['content']}"
    function = {"name": "look_up", "arguments": '{"word": "charge"}'}
    return Answer("", tool_calls=[{"id": "call_1", "type": "function", "function": function}])


def said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


class Cut(MemoryJournal):
    """Was killed before any rollout was over."""

    async def record(self, key: CallKey, request: str, response: str, usage: Usage) -> None:
        if not key.stage.endswith("outcome"):
            await super().record(key, request, response, usage)
