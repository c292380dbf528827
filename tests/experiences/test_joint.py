"""What experiences do together, on SIMULATED policies whose truth is known."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tfgrpo.experiences.credit import (
    chance_of_help,
    counting_tasks,
    effect_interval,
    estimate,
    joint_effect,
    to_keep,
    to_keep_together,
)
from tfgrpo.experiences.dealing import included
from tfgrpo.experiences.library import Library, judged_together
from tfgrpo.records import Decision, Experience, Group, Origin, Rollout, Task
from tfgrpo.settings import Settings

SETTINGS = Settings()
TASKS = tuple(Task(f"task {number}") for number in range(16))
SIX = tuple(Experience(f"When {number}, act.") for number in range(6))


def simulated(
    rate: Callable[[Sequence[Experience]], float], *, steps: int = 3, seed: int = 0, entries: Sequence[Experience] = SIX
) -> list[Group]:
    """Groups of 8 over 16 tasks, shown what the product shows; `rate` is the chance of a reward of 1."""
    rng, settings, made = np.random.default_rng(seed), replace(SETTINGS, seed=seed), []
    for step in range(steps):
        for task in TASKS:
            attempts = []
            for sample in range(8):
                shown = included(entries, (), settings, task=task.id, step=step, sample=sample)
                reward = float(rng.random() < rate(shown))
                ids = tuple(entry.id for entry in shown)
                attempts.append(Rollout(task, step, sample, "prior", ids, reward=reward))
            made.append(Group(task, step, tuple(attempts)))
    return made


def any_is_enough(shown: Sequence[Experience]) -> float:
    return 0.45 if shown else 0.0


def test_where_any_one_is_enough_single_effects_miss_what_the_joint_one_sees() -> None:
    alone, together, covered = [], [], []
    for seed in range(20):
        groups = simulated(any_is_enough, seed=seed)
        alone.append(len(to_keep(estimate(groups, SIX, SETTINGS), SETTINGS)))
        low, high = effect_interval(joint_effect(groups, SIX, SETTINGS).effect)
        covered.append(low <= 0.45 <= high)
        together.append(to_keep_together(groups, SIX, SETTINGS) is not None)
    assert np.mean(alone) < 3  # of six that all do it
    assert sum(together) >= 18
    assert sum(covered) >= 15  # the prior draws it towards 0


def test_two_that_work_only_together_are_kept_together() -> None:
    groups = simulated(lambda shown: 0.6 if {SIX[0], SIX[1]} <= set(shown) else 0.1, steps=4)
    joint = to_keep_together(groups, SIX[:2], SETTINGS, run="run_1", step=3)
    assert joint is not None
    assert joint.members == joint.kept == (SIX[0].id, SIX[1].id)
    assert (joint.effect.run, joint.effect.step) == ("run_1", 3)


def test_useless_ones_are_not_kept_together() -> None:
    passed = sum(to_keep_together(simulated(lambda _: 0.5, seed=seed), SIX, SETTINGS) is not None for seed in range(30))
    assert passed <= 1


def test_harmful_ones_are_not_kept_together() -> None:
    groups = simulated(lambda shown: 0.3 if shown else 0.7)
    assert effect_interval(joint_effect(groups, SIX, SETTINGS).effect)[1] < 0
    assert to_keep_together(groups, SIX, SETTINGS) is None


def test_what_others_do_is_not_put_to_the_members_account() -> None:
    """Only the last one, no member, does anything; it is in its half of the rollouts, and never in a control."""
    differences = []
    for seed in range(10):
        groups = simulated(lambda shown: 0.2 + 0.5 * (SIX[5] in shown), seed=seed)
        differences.append(joint_effect(groups, SIX[:5], SETTINGS).effect.mean)
    assert abs(np.mean(differences)) < 0.05


def test_an_experience_does_not_count_on_its_own_source_tasks() -> None:
    sources = tuple(task.id for task in TASKS[:4])
    entries = tuple(Experience(entry.text, origin=Origin(tasks=sources)) for entry in SIX)
    groups = [
        replace(group, rollouts=tuple(replace(each, reward=float(bool(each.included))) for each in group.rollouts))
        for group in simulated(lambda _: 0.5, entries=entries)
        if group.task.id in sources
    ]
    rest = [group for group in simulated(lambda _: 0.5, entries=entries) if group.task.id not in sources]
    assert joint_effect(groups + rest, SIX, SETTINGS).effect.mean > 0.1  # without sources they would count
    assert (
        joint_effect(groups + rest, entries, SETTINGS).effect.evidence
        < joint_effect(groups + rest, SIX, SETTINGS).effect.evidence
    )


def test_what_most_tasks_taught_counts_on_all() -> None:
    tasks = [task.id for task in TASKS]
    some, most = (Experience("When asked, act.", origin=Origin(tasks=tuple(tasks[:n]))) for n in (4, 9))
    assert counting_tasks(some, tasks) == set(tasks[4:])
    assert counting_tasks(most, tasks) == set(tasks)


def test_one_that_no_rollout_was_shown_is_no_member() -> None:
    joint = to_keep_together(simulated(any_is_enough, entries=SIX[:5]), SIX, SETTINGS)
    assert joint is not None
    assert joint.members == tuple(entry.id for entry in SIX[:5])
    assert SIX[5].id not in joint.kept


def test_a_member_that_looks_harmful_by_itself_is_not_kept() -> None:
    groups = simulated(lambda shown: any_is_enough(shown[:-1]) - 0.1 * (SIX[5] in shown), steps=4)
    joint = to_keep_together(groups, SIX, SETTINGS)
    assert joint is not None
    assert joint.members == tuple(entry.id for entry in SIX)
    assert SIX[5].id not in joint.kept
    assert len(joint.kept) >= 3


@pytest.mark.parametrize("members", [(), SIX[:1]])
def test_fewer_than_two_are_never_kept_together(members: Sequence[Experience]) -> None:
    assert to_keep_together(simulated(any_is_enough), members, SETTINGS) is None


def test_without_evidence_nothing_is_said() -> None:
    joint = joint_effect([], SIX, SETTINGS)
    assert (joint.effect.mean, joint.effect.evidence, chance_of_help(joint.effect)) == (0.0, 0, 0.5)


def test_the_decision_tells_the_joint_effect() -> None:
    library = Library(SIX[:2]).decided(*(Decision(entry.id, "on trial", "", "rule", "run_1", 0) for entry in SIX[:2]))
    joint = to_keep_together(simulated(any_is_enough, entries=SIX[:2]), SIX[:2], SETTINGS, run="run_1", step=2)
    assert joint is not None
    kept = judged_together(library, joint)
    assert kept.having("kept") == SIX[:2]
    (why,) = {decision.why for decision in kept.standing.values()}
    assert why.startswith("judged together with 1 other: +")
