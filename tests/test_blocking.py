"""Coroutines waited for: without a loop, in a running one, and with an end that comes early."""

import asyncio
import contextvars
import signal
import threading

import pytest

from tfgrpo.blocking import blocking

NAME = contextvars.ContextVar("name", default="nobody")


async def where(*, fail: bool = False) -> tuple[str, str]:
    """The thread that it runs in, and a context variable."""
    await asyncio.sleep(0)
    if fail:
        raise TimeoutError("late")
    return threading.current_thread().name, NAME.get()


here = blocking(where, "here")


def test_without_a_loop_it_runs_where_it_is_called() -> None:
    assert here() == (threading.current_thread().name, "nobody")
    assert (here.__name__, here.__doc__) == ("here", where.__doc__)


async def test_in_a_running_loop_it_runs_in_a_thread_with_the_callers_context() -> None:
    NAME.set("somebody")
    thread, name = here()
    assert thread.startswith("tfgrpo")
    assert name == "somebody"
    with pytest.raises(TimeoutError, match="late"):
        here(fail=True)


def test_without_a_loop_its_errors_are_the_callers() -> None:
    with pytest.raises(TimeoutError, match="late") as caught:
        here(fail=True)
    assert caught.value.__context__ is None, "a traceback tells of nothing else"


async def test_ctrl_c_in_a_running_loop_cancels_it_and_waits_until_it_has_cleaned_up() -> None:
    cleaned = []

    async def work() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(True)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        blocking(work, "work")()
    assert cleaned == [True]
    assert signal.getsignal(signal.SIGINT) == before


def test_in_another_thread_it_works_without_signals() -> None:
    found = []

    async def main() -> None:
        found.append(here())

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    thread.join()
    assert found[0][0].startswith("tfgrpo")
