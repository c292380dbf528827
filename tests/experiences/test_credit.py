"""Effects are measured on SIMULATED policies whose truth is known."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo.experiences.credit import chance_of_help, effect_interval, estimate, rollouts_needed, to_keep, to_retire
from tfgrpo.records import Backend, Effect, Experience, Group, Origin, Rollout, Task, TokenTrace
from tfgrpo.settings import Settings
from tfgrpo.token_prior.choice import said_at

SETTINGS = Settings()
TASKS = tuple(Task(f"task {number}") for number in range(24))
EIGHT = tuple(Experience(f"When {number}, act.") for number in range(8))
TRUTH = np.array([0.1, 0.1, -0.1, 0.0, 0.0, 0.0, 0.0, 0.0])


def one_group(task: Task, step: int, shown: Sequence[Sequence[str]], rewards: Sequence[float | None]) -> Group:
    attempts = [
        Rollout(task, step, sample, "prior", tuple(ids), reward=reward)
        for sample, (ids, reward) in enumerate(zip(shown, rewards, strict=True))
    ]
    return Group(task, step, tuple(attempts))


def simulated(
    experiences: Sequence[Experience],
    rate: Callable[[int, np.ndarray[tuple[int], np.dtype[np.bool_]]], float],
    *,
    groups: int,
    seed: int = 0,
    inclusion: float = 0.5,
) -> list[Group]:
    """Groups of 8 over 24 tasks; `rate` gives the chance of a reward of 1 from the task and what was shown."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(groups):
        step, place = divmod(number, len(TASKS))
        shown = rng.random((8, len(experiences))) < inclusion
        rewards = [float(rng.random() < rate(place, row)) for row in shown]
        ids = [[entry.id for entry, there in zip(experiences, row, strict=True) if there] for row in shown]
        made.append(one_group(TASKS[place], step, ids, rewards))
    return made


def table(seed: int, spread: float = 0.0) -> tuple[list[Group], tuple[Effect, ...]]:
    """200 groups (1,600 rollouts) of eight experiences, 2 at +10 points, 1 at -10, 5 at nothing, and their effects."""
    effects = TRUTH + spread * np.random.default_rng([seed, 1]).standard_normal((len(TASKS), len(EIGHT)))
    centre = 0.5 - effects.mean(axis=0).sum() / 2
    groups = simulated(EIGHT, lambda place, row: float(centre + row @ effects[place]), groups=200, seed=seed)
    return groups, estimate(groups, EIGHT, SETTINGS)


def test_known_effects_are_found_and_covered_on_a_simulated_policy() -> None:
    runs = [table(seed) for seed in range(20)]
    means = np.array([[effect.mean for effect in effects] for _, effects in runs])
    covered = [
        low <= truth <= high
        for _, effects in runs
        for truth, (low, high) in zip(TRUTH, map(effect_interval, effects), strict=True)
    ]
    kept = [{effect.experience for effect in to_keep(effects, SETTINGS)} for _, effects in runs]
    assert np.abs(means.mean(axis=0) - TRUTH).max() < 0.025
    assert 0.91 <= np.mean(covered) <= 0.99
    assert sum({EIGHT[0].id, EIGHT[1].id} <= names for names in kept) >= 16
    assert sum(len(names & {entry.id for entry in EIGHT[3:]}) for names in kept) <= 9  # of 100
    assert not any(EIGHT[2].id in names for names in kept)
    retired = [{effect.experience for effect in to_retire(groups, EIGHT, SETTINGS)} for groups, _ in runs]
    assert sum(EIGHT[2].id in names for names in retired) >= 18


def test_intervals_cover_the_mean_when_effects_differ_from_task_to_task() -> None:
    experiences = EIGHT[:3]
    truth, covered, plain = np.array([0.1, 0.0, -0.1]), [], []
    for seed in range(20):
        # Two points +-0.2 around the mean: pass rates stay in [0, 1], so that the means are exact.
        signs = np.random.default_rng([seed, 2]).choice([-0.2, 0.2], size=(len(TASKS), 3))
        effects = truth + signs

        def rate(place: int, row: np.ndarray[tuple[int], np.dtype[np.bool_]], effects: np.ndarray = effects) -> float:
            return float(0.5 + (row - 0.5) @ effects[place])

        for effect, value in zip(
            estimate(simulated(experiences, rate, groups=200, seed=seed), experiences, SETTINGS), truth, strict=True
        ):
            low, high = effect_interval(effect)
            covered.append(low <= value <= high)
            plain.append(abs(effect.mean - value) <= 1.96 * 0.5 / np.sqrt(1600 * 0.25 * 7 / 8))
    assert 0.91 <= np.mean(covered) <= 0.99
    assert np.mean(plain) < 0.88, "without clustering by task this simulation would not be covered"


def test_flat_groups_count_because_leaving_them_out_inflates_effects() -> None:
    groups = simulated(EIGHT[:1], lambda _, row: 0.85 + 0.1 * row[0], groups=600, seed=3)
    mixed = [group for group in groups if np.ptp(group.rewards) > 0]
    (every,), (only_mixed,) = estimate(groups, EIGHT[:1], SETTINGS), estimate(mixed, EIGHT[:1], SETTINGS)
    assert len(mixed) < len(groups)
    assert abs(every.mean - 0.1) < 0.03
    assert only_mixed.mean > 1.15 * every.mean


def test_an_experience_without_evidence_has_the_effect_of_the_prior() -> None:
    (effect,) = estimate([], EIGHT[:1], SETTINGS, run="run_1", step=3)
    assert effect == Effect(EIGHT[0].id, "run_1", 3, 0.0, SETTINGS.effect_scale, 0)
    assert chance_of_help(effect) == 0.5


def test_flat_groups_alone_give_no_verdict() -> None:
    groups = simulated(EIGHT[:2], lambda *_: 0.0, groups=48)
    effects = estimate(groups, EIGHT[:2], SETTINGS)
    assert [effect.mean for effect in effects] == [0.0, 0.0]
    assert to_retire(groups, EIGHT[:2], SETTINGS) == to_keep(effects, SETTINGS) == ()


def test_rollouts_without_reward_are_left_out_and_lone_ones_carry_nothing() -> None:
    one = EIGHT[0].id
    scored = one_group(TASKS[0], 0, [[one], [], [one], []], [1.0, 0.0, None, None])
    lone = one_group(TASKS[1], 0, [[one], []], [1.0, None])
    (effect,) = estimate([scored, lone], EIGHT[:1], SETTINGS)
    assert effect.evidence == 2
    assert effect.mean > 0
    assert estimate([lone], EIGHT[:1], SETTINGS)[0].evidence == 0


def helpful_on(helped: int, of: int) -> list[Group]:
    """Groups of as many tasks, on the first of which the first experience is worth everything, on the rest nothing."""
    shown = [[EIGHT[0].id], [EIGHT[0].id], [], []]
    rewards = [[1.0, 1.0, 0.0, 0.0] if number < helped else [1.0, 0.0, 1.0, 0.0] for number in range(of)]
    return [one_group(TASKS[number], 0, shown, rewards[number]) for number in range(of)]


def test_source_tasks_are_left_out_of_an_experiences_own_estimate() -> None:
    groups = helpful_on(2, of=6)
    written_there = replace(EIGHT[0], origin=Origin(tasks=(TASKS[0].id, TASKS[1].id)))
    (effect,) = estimate(groups, [written_there], SETTINGS)
    assert (effect.mean, effect.evidence) == (0.0, 16)
    (naive,) = estimate(groups, EIGHT[:1], SETTINGS)
    assert naive.mean > 0.05
    assert naive.evidence == 24


def test_an_experience_written_from_most_tasks_is_measured_on_all() -> None:
    groups = helpful_on(6, of=6)
    sources = tuple(task.id for task in TASKS[:6])
    half, most = (replace(EIGHT[0], origin=Origin(tasks=sources[:number])) for number in (3, 4))
    assert estimate(groups, [half], SETTINGS)[0].evidence == 12
    assert estimate(groups, [most], SETTINGS)[0].evidence == 24


def test_of_two_experiences_that_hurt_only_together_one_stays() -> None:
    groups = simulated(EIGHT[:2], lambda _, row: 0.7 - 0.4 * (row[0] and row[1]), groups=200, seed=5)
    alone = [effect for effect in estimate(groups, EIGHT[:2], SETTINGS) if chance_of_help(effect) < 0.1]
    retired = to_retire(groups, EIGHT[:2], SETTINGS)
    assert len(alone) == 2
    assert len(retired) == 1


def test_a_harmful_experience_is_retired_and_a_helpful_one_is_not() -> None:
    groups = simulated(EIGHT[:2], lambda _, row: 0.5 + 0.2 * row[0] - 0.2 * row[1], groups=72, seed=1)
    assert [effect.experience for effect in to_retire(groups, EIGHT[:2], SETTINGS)] == [EIGHT[1].id]
    kept = to_keep(estimate(groups, EIGHT[:2], SETTINGS), SETTINGS)
    assert [effect.experience for effect in kept] == [EIGHT[0].id]


def test_a_retired_experience_still_explains_the_rollouts_that_were_shown_it() -> None:
    groups = simulated(EIGHT[:2], lambda _, row: 0.3 + 0.4 * row[1], groups=48, seed=2)
    asked_of_both = estimate(groups, EIGHT[:2], SETTINGS)[0]
    assert estimate(groups, EIGHT[:1], SETTINGS)[0] == asked_of_both


@given(st.permutations(range(12)), st.floats(0, 0.4))
def test_order_of_groups_and_a_shift_of_a_groups_rewards_change_nothing(order: list[int], shift: float) -> None:
    groups = simulated(EIGHT[:3], lambda _, row: 0.3 + 0.3 * row[0], groups=12)
    moved = [
        replace(group, rollouts=tuple(replace(entry, reward=(entry.reward or 0) + shift) for entry in group.rollouts))
        for group in groups
    ]
    plain = estimate(groups, EIGHT[:3], SETTINGS)
    assert estimate([groups[number] for number in order], EIGHT[:3], SETTINGS) == plain
    for one, other in zip(estimate(moved, EIGHT[:3], SETTINGS), plain, strict=True):
        assert one.mean == pytest.approx(other.mean, abs=2e-6)
        assert one.sd == pytest.approx(other.sd, abs=2e-6)


@pytest.mark.parametrize(("inclusion", "rollouts"), [(0.5, 686), (0.95, 3606)])
def test_rollouts_needed_agrees_with_the_arithmetic_of_the_design(inclusion: float, rollouts: int) -> None:
    assert rollouts_needed(0.1, inclusion) == rollouts


def test_an_experience_that_makes_half_of_the_wrong_rollouts_fail_is_not_kept() -> None:
    """Left out in place of 0, it would look like a gain of ten points, whoever names the failure."""

    def kept(error: str | None) -> int:
        found = 0
        for seed in range(10):
            rng = np.random.default_rng([seed, 4])
            groups = simulated(EIGHT[:1], lambda *_: 0.5, groups=100, seed=seed)
            crashed = [
                replace(group, rollouts=tuple(_crashed(one, error, rng.random()) for one in group.rollouts))
                for group in groups
            ]
            found += len(to_keep(estimate(crashed, EIGHT[:1], SETTINGS), SETTINGS))
        return found

    assert kept("the agent failed: ValueError: no") <= 1
    for lost in ("127.0.0.1:1 answered 503: busy", "cannot reach 127.0.0.1:1: timed out"):
        assert kept(lost) <= 1
    assert kept(None) >= 8, "as missing, it would be"


def test_an_outage_is_held_against_nobody() -> None:
    """It takes whole rollouts whatever they were shown, right ones and wrong ones: effects are as without them."""
    groups, _ = table(3)
    rng = np.random.default_rng(5)
    for whole_groups in (True, False):
        struck = []
        for group in groups:
            gone = np.full(8, rng.random() < 0.1) if whole_groups else rng.random(8) < 0.1
            made = [
                replace(one, reward=None, error=BUSY) if away else one
                for one, away in zip(group.rollouts, gone, strict=True)
            ]
            struck.append(replace(group, rollouts=tuple(made)))
        left = [replace(group, rollouts=group.scored) for group in struck]
        assert estimate(struck, EIGHT, SETTINGS) == estimate(left, EIGHT, SETTINGS)


BUSY = "127.0.0.1:1 answered 503: busy"


def _crashed(rollout: Rollout, error: str | None, luck: float) -> Rollout:
    """A wrong rollout that was shown the experience fails half of the time."""
    falls = bool(rollout.included) and rollout.reward == 0 and luck < 0.5
    return replace(rollout, reward=None, error=error) if falls else rollout


def test_wrong_answers_without_probabilities_do_not_make_an_experience_look_good() -> None:
    """It changes nothing; where it is shown, half of the wrong answers come without log-probabilities."""
    rng, entry, backend = np.random.default_rng(3), EIGHT[0], Backend(logit_bias="honoured", logprobs=True)
    order = np.array([[0, 1], [1, 0]])
    traces = [TokenTrace(order[[said]], np.log([[0.5, 0.5]]), {0: b"a", 1: b"b"}) for said in range(2)]
    groups = []
    for task in TASKS:
        made = []
        for sample in range(32):
            shown, right, luck = rng.random() < 0.5, rng.random() < 0.5, rng.random()
            trace = None if shown and not right and luck < 0.5 else traces[right]
            ids = (entry.id,) if shown else ()
            made.append(Rollout(task, 0, sample, "prior", ids, reward=float(right), trace=trace))
        groups.append(Group(task, 0, tuple(made)))
    told, left, count = said_at(groups, {}, 0.7, 0.3, backend)
    assert 0.1 < left / count < 1
    (effect,) = estimate(told, [entry], SETTINGS)
    assert abs(effect.mean) < 0.1
    assert not to_keep([effect], SETTINGS)


def test_the_last_look_speaks_of_productions_temperature() -> None:
    """Shown it, a model says the right word more often at 0.7, and never at 0: it helps there and hurts here."""
    words, backend = 10, Backend(logit_bias="honoured", logprobs=True, token_ids=True)
    plain, shown = np.array([1.0, *[0.5] * 9]), np.array([2.0, 2.4, *[-5.0] * 8])
    rng, groups, entry = np.random.default_rng(1), [], EIGHT[0]

    def rollout(task: Task, step: int, sample: int) -> Rollout:
        included = rng.random() < 0.5
        logits = shown if included else plain
        chances = np.exp(logits / 0.7) / np.exp(logits / 0.7).sum()
        said = int(rng.choice(words, p=chances))
        order = np.array([[said, *(word for word in range(words) if word != said)]])
        reported = np.log(np.exp(logits) / np.exp(logits).sum())[order]
        trace = TokenTrace(order, reported, {word: b"w%d" % word for word in range(words)})
        ids = (entry.id,) if included else ()
        return Rollout(task, step, sample, "prior", ids, reward=float(said == 0), trace=trace)

    for step in range(4):
        groups += [Group(task, step, tuple(rollout(task, step, sample) for sample in range(8))) for task in TASKS]
    assert to_keep(estimate(groups, [entry], SETTINGS), SETTINGS), "at the temperature of learning it helps"
    steps = [[group for group in groups if group.step == step] for step in range(4)]
    for wanted, low, high in ((0.0, -1.0, -0.7), (0.3, -0.3, -0.05), (0.7, 0.1, 0.3)):
        made = [said_at(step, {}, 0.7, wanted, backend) for step in steps]
        told = [group for of_step, *_ in made for group in of_step]
        (effect,) = estimate(told, [entry], SETTINGS)
        assert low < effect.mean < high, wanted
        assert bool(to_keep([effect], SETTINGS)) == (wanted == 0.7)
    assert said_at([], {}, 0.7, 0.0, backend) == ([], 0, 0)
