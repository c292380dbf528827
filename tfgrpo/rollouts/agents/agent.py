"""What an agent is: anything that answers a task by calling a model at a given base URL."""

import asyncio
import inspect
import os
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import Protocol, TypeVar

import openai

from ...errors import AgentError, InputError
from ...plugins import is_named, load_function
from ...records import JSON, Task
from ...text import shortened

T = TypeVar("T")

KEY = "sk-tfgrpo"
"""Stands in for the upstream's key, which no agent needs: the endpoint knows an attempt by its base URL."""
DEFAULT_MODEL = "default"
"""As the model of an agent's request: the model of the run."""
_TOLD = 300
"""Characters of what an agent said about its failure."""
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_SECRET = re.compile(r"(?<=\bBearer )\S+|\b(?:sk|pk|rk|ghp|gho|xox[abp])[-_][\w-]{8,}|(?<=://)[^\s/@]+(?=@)")
_SHORTEST_SECRET = 8


@dataclass(frozen=True, slots=True)
class ModelAddress:
    """Where one attempt calls its model."""

    base_url: str
    model: str
    """The model of the run."""


class Agent(Protocol):
    """Answers a task with calls to the place that it is given."""

    name: str
    """What the run remembers it by."""

    async def __call__(self, task: Task, place: ModelAddress) -> JSON:
        """Its answer; raises AgentError when it fails."""
        ...


class FunctionAgent:
    """A function of the user's, sync or async, from a client and a task to an answer.

    It is given an `openai.OpenAI`, or an `openai.AsyncOpenAI` if it is async. A sync function runs in a thread of its
    own, which nothing can end from outside: after a timeout its calls are refused.
    """

    def __init__(self, name: str) -> None:
        """Raises InputError for what is no such function."""
        self.name = name
        self._function: Callable[[object, Task], JSON] = load_function(name, "agent", "a client", "the task")
        called = getattr(self._function, "__call__", None)  # noqa: B004 - of an object that can be called
        self._is_async = inspect.iscoroutinefunction(self._function) or inspect.iscoroutinefunction(called)

    async def __call__(self, task: Task, place: ModelAddress) -> JSON:
        """As the Protocol says."""
        if not self._is_async:
            return await _in_thread(lambda: self._run(task, place))
        direct = openai.DefaultAsyncHttpx2Client(trust_env=False, verify=False)  # no TLS here: no certificates to load
        async with openai.AsyncOpenAI(
            base_url=place.base_url, api_key=KEY, max_retries=0, http_client=direct
        ) as client:
            try:
                answer: Awaitable[JSON] = self._function(client, task)
                return await answer
            except Exception as error:  # the user's code may raise anything
                raise _failed(error) from error

    def _run(self, task: Task, place: ModelAddress) -> JSON:
        direct = openai.DefaultHttpx2Client(trust_env=False, verify=False)
        with openai.OpenAI(base_url=place.base_url, api_key=KEY, max_retries=0, http_client=direct) as client:
            try:
                return self._function(client, task)
            except Exception as error:  # the user's code may raise anything
                raise _failed(error) from error


def _failed(error: Exception) -> AgentError:
    return AgentError(f"the agent failed: {type(error).__name__}: {told(str(error))}")


async def _in_thread(work: Callable[[], T]) -> T:
    """In a daemon thread, which may outlast us: a function that never returns must not keep the process alive."""
    done: Future[T] = Future()

    def run() -> None:
        if done.set_running_or_notify_cancel():
            try:
                done.set_result(work())
            except BaseException as error:  # handed over, as concurrent.futures does
                done.set_exception(error)

    Thread(target=run, name="tfgrpo-agent", daemon=True).start()
    return await asyncio.wrap_future(done)


def told(text: str) -> str:
    """The end of what an agent said, fit for an error: one short line, without what looks like a secret."""
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, "***")
    line = shortened(_SECRET.sub("***", text[-10 * _TOLD :]), 10 * _TOLD)
    return line if len(line) <= _TOLD else f"…{line[-_TOLD:]}"


def load_agent(function: str | None, command: str | None) -> Agent | None:
    """The agent that one of the two names, if any; raises InputError for both, and as the agents do."""
    from .command import CommandAgent

    if function is not None and command is not None:
        raise InputError("--agent and --command both name what makes the attempts; give one of them")
    if function is not None and not is_named(function):
        raise InputError(f"--agent {shortened(function)}: it must be module:function; a program goes with --command")
    if function is not None:
        return FunctionAgent(function)
    return CommandAgent(command) if command is not None else None
