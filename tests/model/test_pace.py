"""Who is let in, when it becomes less, and who waits without a place."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from tfgrpo.errors import UpstreamError
from tfgrpo.model import pace
from tfgrpo.model.pace import Pace, Stalls, hedged


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_are_in_flight_than_asked_for_and_the_lower_rank_goes_first() -> None:
    pace, order, done = Pace(2), list[str](), asyncio.Event()

    async def call(name: str, rank: int) -> None:
        async with pace.place(rank):
            order.append(name)
            assert pace.flying <= 2
            if name.startswith("first"):
                await done.wait()

    calls = [("first a", 1), ("first b", 1), ("rollout 1", 1), ("rollout 2", 1), ("distilling", 0)]
    running = [asyncio.create_task(call(*one)) for one in calls]
    await settled()
    assert order == ["first a", "first b"]
    done.set()
    await asyncio.gather(*running)
    assert order[2:] == ["distilling", "rollout 1", "rollout 2"]
    assert pace.flying == 0


async def test_a_call_that_waits_to_be_tried_again_holds_no_place() -> None:
    pace, order = Pace(1), list[str]()

    async def first() -> None:
        async with pace.place() as place:
            order.append("first")
            await place.pause(0.01, busy=False)
            order.append("first again")

    async def second() -> None:
        async with pace.place():
            order.append("second")

    await asyncio.gather(first(), second())
    assert order == ["first", "second", "first again"]
    assert pace.flying == 0


async def test_a_busy_upstream_gets_half_as_much_and_slowly_more_again() -> None:
    pace = Pace(16)
    for _ in range(4):
        pace.refused(0.0)
    assert pace.limit == 8
    for _ in range(4 * 8):
        pace.answered()
    assert pace.limit == 16
    for _ in range(100):
        pace.answered()
    assert pace.limit == 16, "never more than was asked for"


async def test_a_few_refusals_among_many_answers_say_nothing() -> None:
    pace = Pace(64)
    for number in range(1_000):
        pace.refused(1.0) if number % 20 == 0 else pace.answered()
    assert pace.limit == 64


async def test_refusals_that_come_before_any_answer_are_held_against_what_is_in_flight() -> None:
    pace = Pace(64)
    for _ in range(64):
        await pace.take(1)
    for _ in range(4):
        pace.refused(1.0)
    assert pace.limit == 64
    for _ in range(12):
        pace.refused(0.0)
    assert pace.limit == 32


async def test_nobody_is_let_in_before_the_time_that_a_busy_upstream_names() -> None:
    pace, loop = Pace(4), asyncio.get_running_loop()
    begun = loop.time()
    for _ in range(4):
        pace.refused(0.05)
    async with pace.place():
        assert loop.time() >= begun + 0.05


@pytest.mark.parametrize("let_in", [False, True])
async def test_a_place_is_not_lost_with_a_call_that_is_cancelled(let_in: bool) -> None:
    pace = Pace(1)
    await pace.take(0)
    waiting = asyncio.create_task(pace.take(0))
    await settled()
    if let_in:
        pace.give_back()  # its turn comes, and before it runs it is cancelled
    waiting.cancel()
    await settled()
    if not let_in:
        pace.give_back()
    assert pace.flying == 0
    async with asyncio.timeout(60):
        await pace.take(0)


async def test_the_first_answer_of_two_counts_and_the_other_call_is_ended() -> None:
    ended, told = list[str](), dict[str, asyncio.Event]()
    no, again = ValueError("no"), ValueError("again")

    def event(name: str) -> asyncio.Event:
        return told.setdefault(name, asyncio.Event())

    async def call(name: str, error: Exception | None = None, after: str = "") -> str:
        """`after`: what has to happen before it ends."""
        event(f"{name} begins").set()
        try:
            if after:
                await event(after).wait()
        except asyncio.CancelledError:
            ended.append(name)
            raise
        finally:
            event(f"{name} ends").set()
        if error:
            raise error
        return name

    async def of(
        first: Coroutine[None, None, str], second: Callable[[], Coroutine[None, None, str]], left: float
    ) -> str:
        told.clear()
        return await hedged(first, second, lambda: left)

    assert await of(call("first"), lambda: call("again"), 3600) == "first"
    assert "again begins" not in told
    assert await of(call("slow", after="never"), lambda: call("again"), 0) == "again"
    assert ended == ["slow"]
    assert await of(call("slow", after="again ends"), lambda: call("again", again), 0) == "slow"
    assert await of(call("slow", no, "again begins"), lambda: call("again", after="slow ends"), 0) == "again"
    with pytest.raises(ValueError, match="no"):
        await of(call("slow", no, "again ends"), lambda: call("again", again), 0)
    with pytest.raises(ValueError, match="no"):
        await of(call("first", no), lambda: call("again"), 3600)


async def test_who_is_cancelled_while_two_calls_are_made_is_cancelled_and_both_are_ended() -> None:
    ended, both = list[str](), asyncio.Event()

    async def call(name: str) -> str:
        try:
            if name == "again":
                both.set()
            await asyncio.Event().wait()
            return name
        finally:
            ended.append(name)

    waits = asyncio.create_task(hedged(call("first"), lambda: call("again"), lambda: 0.0))
    await both.wait()
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert ended == ["first", "again"]

    async def at_once() -> str:
        return "again"

    async with asyncio.timeout(60):
        assert await hedged(call("first"), at_once, lambda: 0.0) == "again"
        await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "nothing is left of the interruption"


def test_a_call_is_stalled_after_five_medians_and_few_are_made_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_SURELY", 1.0)
    stalls = Stalls()
    for _ in range(19):
        stalls.took("rollout", 2.0)
    assert stalls.left("rollout", 60.0) > 0, "too few are known"
    for _ in range(21):
        stalls.took("rollout", 2.0)
    assert stalls.left("rollout", 0.0) > 0
    assert stalls.left("rollout", 4.0) == 6.0
    assert stalls.left("rollout", 10.5) == 0.0
    assert stalls.left("distil", 60.0) > 0, "another kind may take longer"
    stalls.repeated()
    assert stalls.left("rollout", 60.0) > 0, "of 40 calls one was made once more"


def test_a_second_event_loop_is_refused_where_it_would_wait_for_ever() -> None:
    pace = Pace(1)

    async def taken() -> None:
        async with pace.place():
            pass

    asyncio.run(taken())
    with pytest.raises(UpstreamError, match="serves one event loop"):
        asyncio.run(taken())


@pytest.mark.parametrize("failed", [False, True])
async def test_two_answers_in_the_same_moment_cancel_nobody(failed: bool) -> None:
    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()

    both = asyncio.Event()

    async def answer(of: "asyncio.Future[str]") -> str:
        if of is second:
            both.set()
        return await of

    waits = asyncio.create_task(hedged(answer(first), lambda: answer(second), lambda: 0.0))
    await both.wait()
    second.set_result("again")
    first.set_exception(ValueError("no")) if failed else first.set_result("first")
    assert await waits == ("again" if failed else "first")
    assert waits.cancelling() == 0
