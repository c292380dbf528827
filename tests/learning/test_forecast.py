"""The forecast of a run, on SIMULATED learners whose curve is known, and where it stops a run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.forecast import drawn, simulate
from tests.routing import plan, simulated, upstream
from tests.stories import group_of
from tfgrpo.learning.curves import Span
from tfgrpo.learning.forecast import Course, course, forecast, forecast_line, predicted
from tfgrpo.learning.run import carry_out
from tfgrpo.observer import Silent
from tfgrpo.records import Task
from tfgrpo.settings import Settings
from tfgrpo.store import Store

ONE, OTHER, LOST = (Task(name) for name in ("one", "other", "lost"))


def seen(*rewards: float, error: float = 0.01) -> Course:
    return Course(np.arange(len(rewards), dtype=np.float64) * 100, np.array(rewards), error, 100 * len(rewards))


def test_a_course_counts_the_rollouts_before_each_step_and_keeps_what_rests_as_it_was() -> None:
    groups = [
        group_of(ONE, 0, (1.0, 0.0)),
        group_of(OTHER, 0, (1.0, 1.0)),
        group_of(LOST, 0, (None, None)),
        group_of(ONE, 1, (1.0, 1.0)),
        group_of(ONE, 2, (0.0, None)),
        group_of(OTHER, 2, (0.0, 0.0)),
    ]
    found = course(groups)
    assert found.rollouts.tolist() == [0, 6, 8]
    assert found.rewards.tolist() == [0.75, 1.0, 0.0]
    assert found.total == 12


def test_the_error_is_the_spread_that_neither_task_nor_step_explains() -> None:
    rng = np.random.default_rng(1)
    learner = replace(drawn("flat", 6, rng), start=0.5, top=0.5)
    errors = [course(learner.groups(6, rng)).error for _ in range(20)]
    rates = learner.rates(0.5)
    assert np.mean(errors) == pytest.approx(np.sqrt((rates * (1 - rates)).mean() / 8 / 30), rel=0.05)


@pytest.mark.parametrize("kind", ["any", "small", "flat"])
def test_eighty_percent_intervals_hold_what_simulated_learners_come_to(kind: str) -> None:
    assert simulate(kind, 4, 20, seed=3).share >= 0.65  # of 20; the benchmark says 75% of thousands


def test_a_curve_that_is_nearly_over_is_identified_and_one_that_still_rises_is_not() -> None:
    curve = [0.2, *(0.2 + 0.6 / (1 + (50 / rollouts) ** 2) for rollouts in range(100, 800, 100))]
    over = forecast(seen(*curve, error=0.004))
    assert over is not None
    assert over.asymptote is not None
    assert over.asymptote.low <= 0.8 <= over.asymptote.high
    assert over.flat
    rising = forecast(seen(0.2, 0.3, 0.4, 0.5, 0.6))
    assert rising is not None
    assert (rising.asymptote, rising.flat) == (None, False)
    assert "asymptote not identified" in forecast_line(rising)
    assert rising.doubled is not None
    assert rising.doubled.median > 0.65
    assert predicted(seen(0.2, 0.3, 0.4, 0.5, 0.6), 1_000) == rising.doubled


def test_a_steep_curve_that_has_levelled_off_is_held_by_its_interval() -> None:
    def reward(rollouts: float) -> float:
        return 0.2 + 0.7 / (1 + (576 / rollouts) ** 4) if rollouts else 0.2

    curve = [reward(240 * step) for step in range(8)]
    found = forecast(Course(np.arange(8, dtype=np.float64) * 240, np.array(curve), 0.011, 8 * 240))
    assert found is not None
    assert found.doubled is not None
    assert found.doubled.low <= reward(2 * 8 * 240) <= found.doubled.high


def test_rewards_that_fall_are_said_and_not_fitted_and_two_steps_are_too_few() -> None:
    fallen = forecast(seen(0.6, 0.5, 0.4, 0.3))
    assert fallen is not None
    assert (fallen.fell, fallen.doubled, fallen.flat) == (True, None, True)
    assert "falls" in forecast_line(fallen)
    assert forecast(seen(0.6, 0.5)) is None
    wobbling = forecast(seen(0.5, 0.51, 0.5, 0.49, error=0.03))
    assert wobbling is not None
    assert isinstance(wobbling.doubled, Span)


class Noted(Silent):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("keep_going", [False, True])
async def test_a_run_ends_where_nothing_is_left_to_learn_unless_it_is_to_keep_going(
    tmp_path: Path, keep_going: bool
) -> None:
    settings = Settings(steps=4, race=False, group_size=8, experiences=False, rest_tasks=False, keep_going=keep_going)
    with Store(tmp_path / "t.db") as store:
        async with upstream(simulated(), store, settings) as calls:
            wanted = replace(plan(settings), reward=lambda rollout: 1.0)
            learned = await carry_out(wanted, store, calls, Noted())
    assert len(learned.steps) == (4 if keep_going else 2)
    assert any("nothing is left to learn" in note for note in learned.notes) is not keep_going


async def test_a_run_tells_its_forecast_after_each_step_and_ends_where_it_is_flat(tmp_path: Path) -> None:
    """With one task solved at once, nothing is left to gain."""
    settings = Settings(
        steps=6, race=False, group_size=6, experiences=False, stop_when_flat=True, rest_tasks=False, keep_going=True
    )
    watching = Noted()
    with Store(tmp_path / "t.db") as store:
        async with upstream(simulated(), store, settings) as calls:
            wanted = replace(plan(settings), reward=lambda rollout: 1.0)
            learned = await carry_out(wanted, store, calls, watching)
    told = [line for line in watching.lines if "forecast: mean reward" in line]
    assert len(told) == len(learned.steps) - 2
    assert len(learned.steps) < 6
    assert any("more rollouts are unlikely to pay" in note for note in learned.notes)
