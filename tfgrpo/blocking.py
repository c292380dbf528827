"""Coroutines for callers who do not await them, in scripts and where an event loop runs already, as in notebooks."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_LOOK_SECONDS = 0.2
"""How often a waiting thread looks whether it was interrupted."""


def blocking(function: Callable[P, Coroutine[Any, Any, T]], name: str) -> Callable[P, T]:
    """The same function under another name, which waits for the result.

    Ctrl-C cancels the work, lets it clean up, and is raised as KeyboardInterrupt.
    """

    @wraps(function)
    def blocked(*args: P.args, **kwargs: P.kwargs) -> T:
        wait_for = _in_thread if _runs_a_loop() else asyncio.run
        return wait_for(function(*args, **kwargs))

    blocked.__name__ = blocked.__qualname__ = name
    return blocked


def _runs_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_thread(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that runs in an event loop of its own, in a thread; the loop that runs here stands still."""
    begun: Future[Callable[[], object]] = Future()

    async def main() -> T:
        task = asyncio.create_task(work)
        begun.set_result(partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel))
        return await task

    with _told_of_ctrl_c() as interrupted, ThreadPoolExecutor(1, thread_name_prefix="tfgrpo") as pool:
        done = pool.submit(copy_context().run, asyncio.run, main())
        while not (wait([done], timeout=_LOOK_SECONDS).done or interrupted.is_set()):
            pass
        if interrupted.is_set():
            with suppress(RuntimeError):  # it ended in this moment, and its loop is closed
                begun.result()()
        try:
            return done.result()
        except asyncio.CancelledError:
            if interrupted.is_set():
                raise KeyboardInterrupt from None
            raise


@contextmanager
def _told_of_ctrl_c() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C in here; `asyncio.run` makes it cancel a task of the loop that stands still.

    A second one is a KeyboardInterrupt at once.
    """
    told, before = threading.Event(), signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield told
        return

    def tell(*_: object) -> None:
        told.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, tell)
    try:
        yield told
    finally:
        signal.signal(signal.SIGINT, before)
