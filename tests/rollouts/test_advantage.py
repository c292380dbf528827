"""The group-relative advantage, and what a group can teach."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo.records import Group, Rollout, Task
from tfgrpo.rollouts.advantage import advantages, group_kind

rewards = st.lists(st.integers(0, 1000).map(lambda thousandths: thousandths / 1000), min_size=1, max_size=16)
divided = st.booleans()


def group(*given: float | None) -> Group:
    task = Task("?")
    return Group(task, 0, tuple(Rollout(task, 0, place, "", reward=reward) for place, reward in enumerate(given)))


@given(rewards, divided)
def test_advantages_sum_to_zero(given: list[float], divide: bool) -> None:
    assert abs(advantages(np.array(given), divide_by_std=divide).sum()) < 1e-9


@given(rewards, divided, st.floats(-10, 10))
def test_advantages_ignore_a_shift_of_all_rewards(given: list[float], divide: bool, shift: float) -> None:
    found = advantages(np.array(given) + shift, divide_by_std=divide)
    np.testing.assert_allclose(found, advantages(np.array(given), divide_by_std=divide), atol=1e-6)


@given(rewards, divided, st.randoms(use_true_random=False))
def test_advantages_follow_their_rewards_around(given: list[float], divide: bool, shuffler: object) -> None:
    order = list(range(len(given)))
    shuffler.shuffle(order)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    plain = advantages(np.array(given), divide_by_std=divide)
    np.testing.assert_allclose(advantages(np.array(given)[order], divide_by_std=divide), plain[order], atol=1e-9)


@given(rewards, st.floats(0.1, 10))
def test_divided_advantages_ignore_the_rewards_scale_and_undivided_ones_keep_it(
    given: list[float], scale: float
) -> None:
    array = np.array(given)
    np.testing.assert_allclose(advantages(array * scale), advantages(array), atol=1e-6)
    plain = advantages(array, divide_by_std=False)
    np.testing.assert_allclose(advantages(array * scale, divide_by_std=False), plain * scale, atol=1e-9)


@given(rewards)
def test_a_better_rollout_never_has_the_smaller_advantage(given: list[float]) -> None:
    order = np.argsort(given, kind="stable")
    assert (np.diff(advantages(np.array(given))[order]) >= 0).all()


def test_the_formula_by_hand() -> None:
    np.testing.assert_allclose(advantages(np.array([1.0, 0.0, 0.0, 0.0])), [3**0.5, *[-(3**-0.5)] * 3])
    np.testing.assert_allclose(advantages(np.array([1.0, 0.0, 0.0, 0.0]), divide_by_std=False), [0.75, *[-0.25] * 3])


@pytest.mark.parametrize("given", [[0.1] * 7, [1.0], [0.0, 0.0], [0.3, 0.1 + 0.2], []])
def test_a_flat_group_teaches_nothing(given: list[float]) -> None:
    """The spread of `np.array([0.1] * 7)` is above zero, and that of 0.3 and 0.1 + 0.2 too."""
    found = advantages(np.array(given))
    assert found.shape == (len(given),)
    assert not found.any()


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ((1.0, 0.0), "mixed"),
        ((0.5, 0.5001), "mixed"),
        ((1.0, None, 0.0), "mixed"),
        ((1.0, 1.0), "solved"),
        ((1.0, None), "solved"),
        ((0.0, 0.0), "hopeless"),
        ((0.1,) * 7, "flat"),
        ((None, None), "unscored"),
        ((), "unscored"),
    ],
)
def test_each_group_can_teach_or_it_is_said_why_not(given: tuple[float | None, ...], kind: str) -> None:
    assert group_kind(group(*given)) == kind
