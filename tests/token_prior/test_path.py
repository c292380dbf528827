"""Rollouts used in every step after their own: of one step alone the old gradient, and worth more later."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.token_choice import BACKEND, FRAME, OTHERS, TASKS, World, attempts, drawn
from tfgrpo.records import Task, TokenBias
from tfgrpo.settings import Settings
from tfgrpo.token_prior.choice import weighed_rollouts
from tfgrpo.token_prior.estimators import TokenLearning
from tfgrpo.token_prior.gradient import Gradient, step_gradient
from tfgrpo.token_prior.path import Reuse, surviving_biases

RARE = World("a label is said too rarely", start=(1.0, -1.0, -9.0), signal=1.5)
COMMON = World("words that are never right are common", start=(0.0, 0.0, 0.0), signal=1.5)


def names(seed: int, labels: list[int]) -> list[Task]:
    return [Task(f"{seed} {place}", answer) for place, answer in enumerate(labels)]


def test_of_one_step_under_its_own_biases_the_gradient_is_what_it_was() -> None:
    rng = np.random.default_rng(3)
    tasks = drawn(COMMON, TASKS, 0.5, rng)
    groups = attempts(tasks, names(3, tasks.labels.tolist()), 0, (), rng)
    whole = step_gradient(groups, {}, FRAME.temperature, BACKEND, Settings())
    made = Reuse(BACKEND, Settings())
    made.add(weighed_rollouts(groups, {}, FRAME.temperature), set(), 0.0)
    found = made.gradient({})
    mixed = [found.tasks.index(task) for task in whole.tasks]
    assert found.tokens.tolist() == whole.tokens.tolist()
    assert found.slope[mixed] == pytest.approx(whole.slope)
    assert found.curvature[mixed] == pytest.approx(whole.curvature)
    others = np.setdiff1d(np.arange(len(found.tasks)), mixed)
    assert not found.slope[others].any(), "flat groups teach nothing"
    assert found.scale == pytest.approx(whole.scale, abs=0.1), "the limit looks at flat groups' positions too"


def test_the_gradient_at_other_biases_is_that_of_their_own_rollouts() -> None:
    """Many rollouts under no bias, weighed, against as many that were made under the bias."""
    settings, rng = Settings(), np.random.default_rng(5)
    tasks = drawn(COMMON, 6, 0.5, rng)
    listed = names(5, tasks.labels.tolist())
    bias = {0: 0.4, 1: 0.2, 4: -0.3}
    biased = [TokenBias(token, b"w", size, 3.0, 9) for token, size in bias.items()]
    first = attempts(tasks, listed, 0, (), rng, size=400)
    second = attempts(tasks, listed, 1, biased, rng, size=400)
    weighed, own = Reuse(BACKEND, settings), Reuse(BACKEND, settings)
    weighed.add(weighed_rollouts(first, {}, FRAME.temperature), set(), 0.0)
    own.add(weighed_rollouts(second, bias, FRAME.temperature), set(), 0.0)
    one, other = weighed.gradient(bias), own.gradient(bias)
    direction = np.corrcoef(one.slope.sum(axis=0), other.slope.sum(axis=0))[0, 1]
    assert direction > 0.9


def gains(world: World, steps: tuple[int, ...], seeds: int) -> list[float]:
    """The mean exact gain of what is learned after so many steps of 160 rollouts, in points."""
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 11])
        tasks, others = drawn(world, TASKS, world.share, rng), drawn(world, OTHERS, world.share, rng)
        learning = TokenLearning((), FRAME, BACKEND, replace(Settings(), seed=seed))
        kept = []
        for step in range(max(steps)):
            learning.learn(
                attempts(tasks, names(seed, tasks.labels.tolist()), step, learning.working, rng), FRAME.temperature
            )
            kept.append(100 * (others.expected(learning.result()) - others.expected(())))
        found.append([kept[step - 1] for step in steps])
    return [float(np.mean(column)) for column in zip(*found, strict=True)]


def test_what_was_learned_is_not_lost_with_more_steps() -> None:
    """Simulated: with left-out paths that did not answer to their own biases the rare label was dropped by 8 steps."""
    two, eight = gains(RARE, (2, 8), 8)
    assert two > 7
    assert eight > two - 1.5


def test_half_of_the_rollouts_reach_nearly_what_all_did() -> None:
    """Simulated: 32.3 points with 640 rollouts before earlier ones were used again."""
    (two,) = gains(COMMON, (2,), 8)
    assert two > 29


def pulls(*by_task: float) -> Gradient:
    """What a step says of one token, by task."""
    slope = np.array(by_task)[:, None]
    names = tuple(f"task {place}" for place in range(len(by_task)))
    return Gradient(np.array([7]), names, slope, np.abs(slope) / 4, 1.0, 0.0)


def test_what_most_tasks_wanted_is_not_lost_because_two_go_on_wanting_it() -> None:
    """Eight pull until they have what they want, two pull on. Gradients alone come to 3.5 effective tasks."""
    steps = [pulls(*[-4.0] * 8), *[pulls(*[0.0] * 6, -3.0, -3.0)] * 10]
    (kept,) = surviving_biases((), steps, {7: b"email"}, Settings())
    assert kept.bias < -1
    assert kept.evidence >= 6
    (first,) = surviving_biases((), steps[:1], {7: b"email"}, Settings())
    assert abs(kept.bias) > abs(first.bias), "they move it further"


def test_what_one_task_alone_moves_far_is_not_kept_for_what_many_moved_a_little() -> None:
    assert surviving_biases((), [pulls(*[0.3] * 8), *[pulls(9.0, *[0.0] * 7)] * 3], {7: b"odd"}, Settings()) == ()
