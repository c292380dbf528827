"""An agent that is a function of the user's."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

import openai

from ...errors import AgentError
from ...plugins import check_function, load_function, name_of
from ...records import JSON, Task
from .agent import KEY, ModelAddress, last_words

T = TypeVar("T")


class FunctionAgent:
    """A function of the user's, sync or async, from a client and a task to an answer.

    It is given an `openai.OpenAI`, or an `openai.AsyncOpenAI` if it is async. A sync function runs in a thread of its
    own, which nothing can end from outside: after a timeout its calls are refused.
    """

    def __init__(self, function: str | Callable[[Any, Task], JSON]) -> None:
        """The function, or its name as `module:function`; raises InputError for what is no such function."""
        takes = "a client", "the task"
        if isinstance(function, str):
            self.name, self.function = function, load_function(function, "agent", *takes)
        else:
            check_function(function, "agent", *takes)
            self.name, self.function = name_of(function), function
        called = getattr(self.function, "__call__", None)  # noqa: B004 - of an object that can be called
        self._is_async = inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(called)

    async def __call__(self, task: Task, place: ModelAddress) -> JSON:
        """As the Protocol says."""
        if not self._is_async:
            return await _in_thread(lambda: self._run(task, place))
        direct = openai.DefaultAsyncHttpxClient(trust_env=False, verify=False)  # no TLS here: no certificates to load
        async with openai.AsyncOpenAI(
            base_url=place.base_url, api_key=KEY, max_retries=0, http_client=direct
        ) as client:
            try:
                answer: Awaitable[JSON] = self.function(client, task)
                return await answer
            except Exception as error:  # the user's code may raise anything
                raise _failed(error) from error

    def _run(self, task: Task, place: ModelAddress) -> JSON:
        direct = openai.DefaultHttpxClient(trust_env=False, verify=False)
        with openai.OpenAI(base_url=place.base_url, api_key=KEY, max_retries=0, http_client=direct) as client:
            try:
                return self.function(client, task)
            except Exception as error:  # the user's code may raise anything
                raise _failed(error) from error


def _failed(error: Exception) -> AgentError:
    return AgentError(f"the agent failed: {type(error).__name__}: {last_words(str(error))}")


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
