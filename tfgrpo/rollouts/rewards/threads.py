"""Threads for what may block or never end: the event loop goes on beside it, and no exit waits for it."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
A = TypeVar("A")
_turns: "WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]" = WeakKeyDictionary()


async def in_turn(function: Callable[[A], T], argument: A) -> T:
    """What a function gives, run in a thread after those before it: code that knows of no threads stays right."""
    turn = _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    async with turn:
        return await in_thread(function, argument)


async def in_thread(function: Callable[[A], T], argument: A) -> T:
    """What a function gives, run in a thread of its own; one that is waited for no longer goes on unseen."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[T | None, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def settle(outcome: tuple[T | None, BaseException | None]) -> None:
        if not future.done():
            future.set_result(outcome)

    def work() -> None:
        try:
            outcome: tuple[T | None, BaseException | None] = (context.run(function, argument), None)
        except BaseException as error:  # SystemExit too: it would end this thread alone, and nobody would hear of it
            outcome = (None, error)
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=work, name="tfgrpo reward", daemon=True).start()
    value, error = await future
    if isinstance(error, KeyboardInterrupt | asyncio.CancelledError):  # raised by the function: nobody interrupts it
        raise RuntimeError(f"it raised {type(error).__name__}")
    if error is not None:
        raise error
    return value  # pyrefly: ignore[bad-return]  # without an error it is a T, which may be None too
