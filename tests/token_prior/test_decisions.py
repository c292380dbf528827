"""Decision offsets: exact gradients, one best fit, and offsets only where left-out tasks bear them out."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from tfgrpo.token_prior.decisions import (
    Answered,
    decided_rewards,
    fit,
    fits_without,
    learned_offsets,
    likelihood,
    policy_gradient,
    shifted,
)


def toy(seed: int = 0, tasks: int = 12, options: int = 5, *, graded: bool = True) -> Answered:
    drawn = np.random.default_rng(seed)
    logs = np.log(drawn.dirichlet(np.ones(options), tasks))
    rewards = drawn.random((tasks, options)) if graded else np.eye(options)[drawn.integers(options, size=tasks)]
    return Answered(logs, rewards)


def leaning(tasks: int = 40, lean: float = 2.0, seed: int = 1) -> Answered:
    """A model that knows the answer, and says option 0 too readily."""
    drawn = np.random.default_rng(seed)
    answers = np.arange(tasks) % 4
    logits = drawn.normal(size=(tasks, 4)) + 1.5 * np.eye(4)[answers] + np.array([lean, 0, 0, 0])
    return Answered(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True), np.eye(4)[answers])


Slope: TypeAlias = Callable[[Answered, NDArray[np.float64]], tuple[float, NDArray[np.float64], NDArray[np.float64]]]


@pytest.mark.parametrize("what", [policy_gradient, lambda found, b: likelihood(found, b, 0.7)])
def test_gradient_and_curvature_agree_with_finite_differences(what: Slope) -> None:
    found, at, reach = toy(), np.array([0.3, -0.2, 0.5, 0.0, -0.6]), 1e-5
    _, gradient, curvature = what(found, at)
    for place in range(5):
        along = reach * np.eye(5)[place]
        above, below = what(found, at + along), what(found, at - along)
        assert gradient[place] == pytest.approx((above[0] - below[0]) / (2 * reach), abs=1e-6)
        assert curvature[place] == pytest.approx((above[1] - below[1]) / (2 * reach), abs=1e-6)


def test_the_fit_is_where_the_gradient_vanishes_and_nothing_near_is_better() -> None:
    for graded in (True, False):
        found = toy(graded=graded)
        best = fit(found, 0.5)
        assert np.abs(likelihood(found, best, 0.5)[1]).max() < 1e-6
        drawn = np.random.default_rng(3).normal(scale=0.1, size=(50, 5))
        assert all(likelihood(found, best + step, 0.5)[0] < likelihood(found, best, 0.5)[0] for step in drawn)
        assert best.sum() == pytest.approx(0, abs=1e-9)


def test_what_is_fitted_at_once_is_what_would_be_one_by_one() -> None:
    found, parts, ridges = toy(), [np.arange(place, 12, 3) for place in range(3)], (4.0, 0.5)
    for ridge, fitted in zip(ridges, fits_without(found, parts, ridges), strict=True):
        for part, offsets in zip(parts, fitted, strict=True):
            others = Answered(np.delete(found.logs, part, axis=0), np.delete(found.rewards, part, axis=0))
            assert offsets == pytest.approx(fit(others, ridge), abs=1e-8)


def test_the_order_of_options_and_of_tasks_changes_nothing() -> None:
    found = leaning()
    order, tasks = np.array([2, 0, 3, 1]), np.random.default_rng(0).permutation(40)
    same = learned_offsets(Answered(found.logs[tasks][:, order], found.rewards[tasks][:, order]))
    assert same.kept
    assert same.offsets == pytest.approx(learned_offsets(found).offsets[order], abs=1e-8)


def test_a_lean_is_unlearned_and_its_reward_won_back() -> None:
    found, fresh = leaning(), leaning(400, seed=2)
    learned = learned_offsets(found)
    assert learned.kept
    assert learned.offsets[0] < -1
    assert abs(learned.offsets[0]) > 2 * learned.deviations[0]
    none = np.zeros(4)
    assert decided_rewards(fresh, learned.offsets).mean() > decided_rewards(fresh, none).mean() + 0.1
    assert policy_gradient(fresh, learned.offsets)[0] > policy_gradient(fresh, none)[0] + 0.05


def test_where_there_is_nothing_to_learn_hardly_ever_anything_is_kept() -> None:
    kept = 0
    for seed in range(40):
        drawn = np.random.default_rng(seed)
        p = drawn.dirichlet(np.ones(3), 24)
        answers = np.array([drawn.choice(3, p=row) for row in p])  # calibrated: no offset is better than none
        kept += learned_offsets(Answered(np.log(p), np.eye(3)[answers])).kept
    assert kept <= 8


def test_what_is_at_the_edge_is_a_number_all_the_same() -> None:
    with np.errstate(divide="ignore"):
        one = Answered(np.zeros((6, 1)), np.ones((6, 1)))
        never = Answered(np.log(np.array([[0.0, 0.5, 0.5]] * 6)), np.eye(3)[[0, 1, 2, 0, 1, 1]])
        nowhere = Answered(np.full((6, 2), -np.inf), np.eye(2)[[0, 1, 0, 1, 0, 0]])
        flat = Answered(np.log(np.full((6, 2), 0.5)), np.ones((6, 2)))
        empty = Answered(np.zeros((0, 3)), np.zeros((0, 3)))
    for found in (one, never, nowhere, flat, empty):
        learned = learned_offsets(found)
        assert np.isfinite(learned.offsets).all()
        assert np.isfinite([learned.gain, learned.before, learned.after]).all()
        assert np.isfinite(shifted(found.logs, learned.offsets)).all()
    assert not learned_offsets(flat).kept
    assert fit(one, 1.0) == pytest.approx([0.0])
    assert shifted(never.logs, np.array([9.0, 0.0, 0.0]))[0] == pytest.approx([0, 0.5, 0.5])


def test_two_equal_options_get_equal_offsets() -> None:
    found = leaning()
    twice: NDArray[np.int64] = np.array([0, 0, 1, 2, 3])
    offsets = fit(Answered(found.logs[:, twice] - np.log([2, 2, 1, 1, 1]), found.rewards[:, twice]), 1.0)
    assert offsets[0] == pytest.approx(offsets[1])


def test_fifty_options_and_many_tasks_take_less_than_a_second() -> None:
    learned = learned_offsets(toy(tasks=30, options=50, graded=False))
    assert len(learned.offsets) == 50
