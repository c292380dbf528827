from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo.records import Rollout, Task, Usage
from tfgrpo.rollouts.shaping import penalty, shaped
from tfgrpo.settings import Settings

LIMITED = Settings(overlong="100:40")


@pytest.mark.parametrize(
    ("tokens", "less"), [(0, 0), (60, 0), (61, -1 / 40), (80, -0.5), (100, -1), (101, -1), (9_999, -1)]
)
def test_the_penalty_grows_over_the_last_tokens(tokens: int, less: float) -> None:
    assert penalty(tokens, 100, 40) == less


@pytest.mark.parametrize(
    ("reward", "tokens", "left"), [(1.0, 60, 1.0), (1.0, 80, 0.5), (1.0, 100, 0.0), (0.3, 80, 0.0), (0.0, 100, 0.0)]
)
def test_it_is_taken_off_the_reward_which_stays_at_0_or_above(reward: float, tokens: int, left: float) -> None:
    rollout = Rollout(Task("a"), 0, 0, "p", reward=reward, usage=Usage(1, 500, tokens))
    assert shaped(rollout, LIMITED) == replace(rollout, reward=left)
    assert shaped(rollout, Settings()) == rollout


def test_a_rollout_without_a_reward_stays_as_it_is() -> None:
    rollout = Rollout(Task("a"), 0, 0, "p", error="no", usage=Usage(1, 0, 500))
    assert shaped(rollout, LIMITED) == rollout


@given(st.floats(0, 1), st.integers(0, 10_000))
def test_rewards_stay_between_0_and_1(reward: float, tokens: int) -> None:
    left = shaped(Rollout(Task("a"), 0, 0, "p", reward=reward, usage=Usage(1, 0, tokens)), LIMITED).reward
    assert left is not None
    assert 0 <= left <= reward
