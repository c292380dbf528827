"""How a rollout is scored: what a reward may give, and what becomes of one that fails."""

import asyncio
import math
import threading
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from tests.rollouts.scoring import saying
from tfgrpo.errors import InputError, ModelError, RewardError
from tfgrpo.records import Rollout
from tfgrpo.rollouts.rewards.reward import score


@pytest.mark.parametrize(
    ("value", "reward"),
    [
        (0, 0.0),
        (1, 1.0),
        (0.25, 0.25),
        (True, 1.0),
        (False, 0.0),
        (Fraction(1, 4), 0.25),
        (np.float32(0.5), 0.5),
        (np.bool_(True), 1.0),
        (np.array(0.5), 0.5),
        (1 + 1e-12, 1.0),
        (-1e-12, 0.0),
    ],
)
async def test_numbers_from_0_to_1_are_rewards(value: float, reward: float) -> None:
    scored = await score(lambda rollout: value, saying("text"))
    assert scored == replace(saying("text"), reward=reward)
    assert type(scored.reward) is float


@pytest.mark.parametrize(
    ("value", "reward", "feedback"),
    [((0.5, "too long"), 0.5, "too long"), ((True, ""), 1.0, ""), ((0.25, None), 0.25, "")],
)
async def test_a_reward_may_come_with_feedback(value: tuple[float, str], reward: float, feedback: str) -> None:
    async def given(rollout: Rollout) -> tuple[float, str]:
        return value

    for judge in (lambda rollout: value, given):
        assert await score(judge, saying("text")) == replace(saying("text"), reward=reward, feedback=feedback)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.5, "1.5"),
        (-0.01, "-0.01"),
        (1.001, "1.001"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        pytest.param(10**400, "1000", id="huge"),
        (None, "None"),
        ("1", "'1'"),
        ([1.0], "[1.0]"),
        ((0.5, 0.5), "(0.5, 0.5)"),
        (("0.5", "good"), "'0.5'"),
        ((1.5, "good"), "1.5"),
        (np.array([0.1, 0.2]), "[0.1 0.2]"),
        (1j, "1j"),
    ],
)
async def test_anything_else_spoils_the_rollout_and_says_so(value: float, shown: str) -> None:
    async def given(rollout: Rollout) -> float:
        return value

    rollout = saying("text")
    for reward in (lambda rollout: value, given):
        scored = await score(reward, rollout)
        assert scored.reward is None
        start = f"the reward failed: RewardError: that of task {rollout.task.id} (the question) is {shown}"
        assert str(scored.error).startswith(start)
        assert "; it must be a number from 0 to 1" in str(scored.error)
        assert ("--clip-rewards" in str(scored.error)) == (shown in ("1.5", "-0.01", "1.001", "inf"))


@pytest.mark.parametrize(
    ("value", "reward"), [(1.5, 1.0), (-0.01, 0.0), (math.inf, 1.0), (-math.inf, 0.0), (0.25, 0.25), (-1e-12, 0.0)]
)
async def test_clipping_takes_a_number_outside_for_the_nearer_bound(value: float, reward: float) -> None:
    assert (await score(lambda rollout: value, saying("text"), clip=True)).reward == reward


@pytest.mark.parametrize("value", [math.nan, np.float64("nan"), None, "1", [1.0], 10**400])
async def test_clipping_makes_no_reward_of_what_is_no_number(value: float) -> None:
    scored = await score(lambda rollout: value, saying("text"), clip=True)
    assert scored.reward is None
    assert "it must be a number from 0 to 1" in str(scored.error)


class UnshownError(Exception):
    """One whose text raises too."""

    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("gold"),
        ModelError("the judge\nis away"),
        InputError("not for the run"),
        RewardError("of the user's"),
        AssertionError(),
        UnshownError(),
        SystemExit(3),
        GeneratorExit(),
        StopIteration(1),
        RecursionError(),
        TimeoutError(),
        pytest.param(BaseExceptionGroup("all", [SystemExit(1)]), id="group"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_reward_that_raises_makes_the_rollout_one_with_an_error(error: BaseException) -> None:
    def broken(rollout: Rollout) -> float:
        raise error

    async def broken_later(rollout: Rollout) -> float:
        raise error

    for reward in (broken, broken_later):
        scored = await score(reward, saying("text"))
        assert scored.reward is None
        assert scored.error is not None
        assert scored.error.startswith("the reward failed: ")
        assert "\n" not in scored.error
        assert scored.text == "text"


async def test_a_rollout_with_an_error_is_never_shown_to_the_reward() -> None:
    failed = replace(saying(""), error="no connection")

    def unreachable(rollout: Rollout) -> float:
        raise InputError("asked")

    assert await score(unreachable, failed) is failed


class Hostile:
    """A value that is not what it seems."""

    def __float__(self) -> float:
        raise SystemError("never")

    def __str__(self) -> str:
        raise SystemError("never")


@pytest.mark.parametrize("value", [Hostile(), (0.5, Hostile()), Decimal("sNaN"), object(), b"1", {"reward": 1}, ()])
async def test_a_strange_value_spoils_the_rollout_alone(value: float) -> None:
    scored = await score(lambda rollout: value, saying("text"))
    assert scored.reward is None
    assert str(scored.error).startswith("the reward failed: ")


async def test_a_decimal_is_a_number() -> None:
    assert (await score(lambda rollout: Decimal("0.5"), saying("text"))).reward == 0.5  # pyrefly: ignore[bad-argument-type]


async def test_a_reward_that_takes_too_long_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfgrpo.rollouts.rewards.reward.REWARD_SECONDS", 0.05)
    done = threading.Event()

    def stuck(rollout: Rollout) -> float:
        done.wait()
        return 1.0

    async def stuck_later(rollout: Rollout) -> float:
        await asyncio.Event().wait()
        return 1.0

    try:
        for reward in (stuck, stuck_later):
            assert "it took more than 0.05 s" in str((await score(reward, saying("text"))).error)
    finally:
        done.set()


async def test_the_event_loop_goes_on_beside_a_reward_and_calls_come_one_after_the_other() -> None:
    inside, most, loop = 0, 0, asyncio.get_running_loop()

    def slow(rollout: Rollout) -> float:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        for _ in range(3):  # turns of the loop that it waits for
            turned = threading.Event()
            loop.call_soon_threadsafe(turned.set)
            assert turned.wait(60)
        inside -= 1
        return 1.0

    made = await asyncio.gather(*(score(slow, saying("text")) for _ in range(5)))
    assert [one.reward for one in made] == [1.0] * 5
    assert most == 1


async def test_who_cancels_the_run_cancels_the_reward() -> None:
    begun = asyncio.Event()

    async def endless() -> float:
        begun.set()
        await asyncio.Event().wait()
        return 1.0

    scoring = asyncio.create_task(score(lambda rollout: endless(), saying("text")))
    await begun.wait()
    scoring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scoring


async def test_a_reward_that_cancels_itself_spoils_one_rollout() -> None:
    async def cancelled(rollout: Rollout) -> float:
        raise asyncio.CancelledError

    assert "cancelled" in str((await score(cancelled, saying("text"))).error)
