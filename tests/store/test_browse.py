"""What people look through: runs, steps, arms, groups and rollouts a page at a time, and traffic in counts."""

from dataclasses import replace

import pytest

from tests.store.test_migrations import CALL, PRIOR, RUN, TASK, VARIANT, WORTH, populate
from tfgrpo.errors import StoreError
from tfgrpo.records import Group, Rollout, Usage
from tfgrpo.store import Store, StorePath
from tfgrpo.store.browse import ArmRow, StepRow


def test_a_run_is_told_while_it_goes_on_and_its_rollouts_a_page_at_a_time(place: StorePath) -> None:
    rewards = [0.25, None, 0.75]
    later = tuple(
        Rollout(TASK, 1, n, PRIOR.id, text="long " * 1_000, reward=reward, variant=VARIANT.id)
        for n, reward in enumerate(rewards)
    )
    with Store(place) as store:
        populate(store)
        store.add_group(RUN.id, Group(TASK, 1, later))
        (row,) = store.latest_runs("math")
        assert store.latest_runs(limit=1) == (row,)
        assert (row.id, row.model, row.status, row.tasks, row.usage) == (RUN.id, "m", "running", 1, Usage())
        assert store.latest_runs("other") == ()
        found = store.so_far(RUN.id)
        frozen, raced = found.arms
        assert store.so_far(RUN.id, found) == found
        assert store.so_far(RUN.id, replace(found, groups=7)) == found  # groups were made anew since
        assert found.steps == (StepRow(0, 1, 1, 1, 1.0), StepRow(1, 1, 3, 2, 0.5))
        assert store.steps_of(RUN.id) == (0, 1)
        assert raced == ArmRow(VARIANT.id, VARIANT.source, 31, 3, 2, 0.5, 1)
        assert (frozen.source, frozen.rollouts, frozen.mean) == ("frozen", 0, None)
        (whole,) = store.priors_so_far(RUN.id)
        assert (whole.id, whole.rollouts, whole.scored) == (PRIOR.id, 4, 3)
        assert store.latest_group_times(RUN.id) == tuple(sorted(store.latest_group_times(RUN.id)))
        first, second = store.group_page(RUN.id)
        assert (first.step, second.step, second.rollouts) == (0, 1, 3)
        assert store.group_page(RUN.id, limit=1, offset=1) == store.group_page(RUN.id, step=1) == (second,)
        assert store.group_row(second.id) == (RUN.id, second)
        shown = store.rollout_rows([first.id, second.id], shown=4, limit=2, offset=1)
        assert [(one.group, one.sample, one.text, one.reward) for one in shown] == [
            (second.id, 1, "long", None), (second.id, 2, "long", 0.75),
        ]  # fmt: skip
        assert store.one_rollout(second.id, 2) == later[2]
        assert store.rollout_rows([], shown=4) == ()
        for ask in (lambda: store.group_row(99), lambda: store.one_rollout(second.id, 9)):
            with pytest.raises(StoreError, match="there is no"):
                ask()


def test_traffic_is_counted_without_its_shadows_and_of_feedback_the_latest(place: StorePath) -> None:
    calls = [replace(CALL, id=f"inf_{n}", status=200 + 300 * (n == 1), added=0.5 - 0.1 * n) for n in range(1, 4)]
    told = [replace(WORTH, inference="inf_1", reward=0.0), replace(WORTH, inference="inf_1", reward=1.0)]
    with Store(place) as store:
        store.add_calls_in_use([*calls, replace(CALL, id="inf_9", shadow_of="inf_1")], told)
        assert store.status_counts("math", "") == ((200, 2), (500, 1))
        assert store.latest_added("math") == pytest.approx((0.2, 0.3, 0.4))
        (found,) = store.reward_counts("math", "")
        assert (found.variant, found.told, found.mean) == (WORTH.variant, 1, 1.0)
        assert (store.status_counts("math", "9"), store.reward_counts("math", "9")) == ((), ())
