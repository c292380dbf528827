"""Coroutines for callers who do not await them, in scripts and where an event loop runs already, as in notebooks."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_LOOK_SECONDS = 0.5
"""How often a waiting thread wakes: some systems tell it of Ctrl-C only then."""


def blocking(function: Callable[P, Coroutine[Any, Any, T]], name: str) -> Callable[P, T]:
    """The same function under another name, which waits for the result.

    Ctrl-C cancels the work, lets it clean up, and is raised as KeyboardInterrupt.
    """

    @wraps(function)
    def blocked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(function(*args, **kwargs))
        return _in_thread(function(*args, **kwargs))

    blocked.__name__ = blocked.__qualname__ = name
    return blocked


def _in_thread(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that runs in an event loop of its own, in a thread; the loop that runs here stands still."""
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()

    async def main() -> T:
        task = asyncio.create_task(work)
        begun.set_result((asyncio.get_running_loop(), task))
        return await task

    with ThreadPoolExecutor(1, thread_name_prefix="tfgrpo") as pool, _ctrl_c_raises():
        done = pool.submit(copy_context().run, asyncio.run, main())
        try:
            while not wait([done], timeout=_LOOK_SECONDS).done:
                pass
            return done.result()
        except KeyboardInterrupt:
            loop, task = begun.result()
            with suppress(RuntimeError):  # it ended in this moment, and its loop is closed
                loop.call_soon_threadsafe(task.cancel)
            wait([done])
            raise


@contextmanager
def _ctrl_c_raises() -> Iterator[None]:
    """Ctrl-C is a KeyboardInterrupt in here: `asyncio.run` makes it cancel a task, of the loop that stands still."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
