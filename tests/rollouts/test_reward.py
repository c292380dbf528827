"""How a rollout is scored: what a reward may give, and what becomes of one that fails."""

import math
from dataclasses import replace
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
        ("1", "1"),
        ([1.0], "[1.0]"),
        ((0.5, 0.5), "(0.5, 0.5)"),
        (("0.5", "good"), "0.5"),
        ((1.5, "good"), "1.5"),
        (np.array([0.1, 0.2]), "[0.1 0.2]"),
        (1j, "1j"),
    ],
)
async def test_anything_else_ends_the_run_with_the_task_and_the_value(value: float, shown: str) -> None:
    async def given(rollout: Rollout) -> float:
        return value

    rollout = saying("text")
    for reward in (lambda rollout: value, given):
        with pytest.raises(RewardError) as caught:
            await score(reward, rollout)
        start = f"the reward of task {rollout.task.id} (the question) is {shown}"
        assert str(caught.value).startswith(start)
        assert "; it must be a number from 0 to 1" in str(caught.value)
        assert ("--clip-rewards" in str(caught.value)) == (shown in ("1.5", "-0.01", "1.001", "inf"))


@pytest.mark.parametrize(
    ("value", "reward"), [(1.5, 1.0), (-0.01, 0.0), (math.inf, 1.0), (-math.inf, 0.0), (0.25, 0.25), (-1e-12, 0.0)]
)
async def test_clipping_takes_a_number_outside_for_the_nearer_bound(value: float, reward: float) -> None:
    assert (await score(lambda rollout: value, saying("text"), clip=True)).reward == reward


@pytest.mark.parametrize("value", [math.nan, np.float64("nan"), None, "1", [1.0], 10**400])
async def test_clipping_makes_no_reward_of_what_is_no_number(value: float) -> None:
    with pytest.raises(RewardError, match="it must be a number from 0 to 1"):
        await score(lambda rollout: value, saying("text"), clip=True)


@pytest.mark.parametrize("error", [KeyError("gold"), ModelError("the judge\nis away"), AssertionError()])
async def test_a_reward_that_raises_makes_the_rollout_one_with_an_error(error: Exception) -> None:
    def broken(rollout: Rollout) -> float:
        raise error

    async def broken_later(rollout: Rollout) -> float:
        raise error

    for reward in (broken, broken_later):
        scored = await score(reward, saying("text"))
        assert scored.reward is None
        assert scored.error is not None
        assert scored.error.startswith(f"the reward failed: {type(error).__name__}: ")
        assert "\n" not in scored.error
        assert scored.text == "text"


async def test_a_rollout_with_an_error_is_never_shown_to_the_reward() -> None:
    failed = replace(saying(""), error="no connection")

    def unreachable(rollout: Rollout) -> float:
        raise InputError("asked")

    assert await score(unreachable, failed) is failed
