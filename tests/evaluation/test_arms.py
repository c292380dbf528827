"""Differences between arms against hand-computed cases, their intervals, and what is left out and said so."""

from collections.abc import Mapping

import numpy as np
import pytest

from tfgrpo.errors import InputError, RewardError
from tfgrpo.evaluation.arms import Evaluation, best_constant, compare_arms
from tfgrpo.evaluation.difference import paired_difference
from tfgrpo.hashing import derive_seed
from tfgrpo.observer import Silent
from tfgrpo.records import JSON, Experience, Prior, Rollout, Task
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.rollouts.rewards.reward import Reward

EXACT = load_reward("exact")
FROZEN, LEARNED = Prior(), Prior((Experience("Answer with one word."),))
ARMS = {"frozen": FROZEN, "learned": LEARNED}
WORDS = ("The", "billing", "sales")


class Notes(Silent):
    """An Observer that keeps what it is told."""

    def __init__(self) -> None:
        self.stages, self.notes, self.rollouts = list[tuple[str, int]](), list[str](), list[Rollout]()

    def stage(self, name: str, rollouts: int, groups: int = 0) -> None:
        self.stages.append((name, rollouts))

    def landed(self, rollout: Rollout) -> None:
        self.rollouts.append(rollout)

    def note(self, line: str) -> None:
        self.notes.append(line)


class Texts:
    """An Executor that answers from a table of (task input, sample); None is a failed call."""

    def __init__(self, said: Mapping[str, tuple[str | None, ...]]) -> None:
        self.said = said

    async def __call__(self, task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        text = self.said[task.prompt][sample]
        error = None if text is not None else "the call failed"
        return Rollout(task, step, sample, prior.id, text=text or "", error=error)


async def compare(
    frozen: Mapping[str, tuple[str | None, ...]],
    learned: Mapping[str, tuple[str | None, ...]],
    answers: Mapping[str, JSON],
    reward: Reward = EXACT,
    observer: Notes | None = None,
) -> Evaluation:
    tasks = [Task(text, answer) for text, answer in answers.items()]
    repeats = len(next(iter(frozen.values())))
    return await compare_arms(
        {"frozen": Texts(frozen), "learned": Texts(learned)},
        ARMS,
        tasks,
        reward,
        repeats=repeats,
        seed=0,
        observer=observer or Notes(),
    )


# Arms


async def test_the_difference_is_that_of_the_means_by_task() -> None:
    """Task a: 1/2 -> 1; b: 0 -> 1/2; c: 1 -> 1/2; d: 1 -> 1."""
    observer = Notes()
    found = await compare(
        {"a": ("x", "-"), "b": ("-", "-"), "c": ("x", "x"), "d": ("y", "y")},
        {"a": ("x", "x"), "b": ("x", "-"), "c": ("x", "-"), "d": ("y", "y")},
        {"a": "x", "b": "x", "c": "x", "d": "y"},
        observer=observer,
    )
    assert (found.tasks, found.repeats, found.lost_tasks, found.failed, found.first_error) == (4, 2, 0, 0, None)
    assert found.means == {"frozen": 0.625, "learned": 0.75}
    assert found.difference.mean == 0.125
    assert (found.difference.wins, found.difference.losses, found.difference.ties) == (2, 1, 1)
    assert (found.constant, found.constant_mean) == ("x", 0.75)
    assert observer.stages == [("evaluate", 16)]
    assert len(observer.rollouts) == 16
    assert found.as_json()["difference"]["mean"] == 0.125
    assert found.as_json()["differences"].keys() == {"learned - frozen"}
    assert found.pass_at_k == {"frozen": 0.75, "learned": 1.0}
    said = {arm: [(rollout.task.prompt, rollout.text) for rollout in made] for arm, made in found.rollouts.items()}
    assert said["frozen"][:4] == [("a", "x"), ("a", "-"), ("b", "-"), ("b", "-")]
    assert [len(made) for made in found.rollouts.values()] == [8, 8]


async def test_three_arms_are_compared_two_by_two_the_last_and_the_first_at_the_head() -> None:
    answers = {"a": "x", "b": "x", "c": "x", "d": "x"}
    said = {
        "frozen": {task: ("-",) for task in answers},
        "written": {task: ("x" if task == "a" else "-",) for task in answers},
        "learned": {task: ("x" if task != "d" else "-",) for task in answers},
    }
    priors = {**ARMS, "written": Prior((Experience("Answer."),))}
    found = await compare_arms(
        {arm: Texts(texts) for arm, texts in said.items()},
        {arm: priors[arm] for arm in said},
        [Task(text, answer) for text, answer in answers.items()],
        EXACT,
        repeats=1,
        seed=0,
        observer=Notes(),
    )
    assert found.means == {"frozen": 0.0, "written": 0.25, "learned": 0.75}
    assert [(name, one.mean, one.wins) for name, one in found.differences.items()] == [
        ("learned - frozen", 0.75, 3),
        ("learned - written", 0.5, 2),
        ("written - frozen", 0.25, 1),
    ]
    assert found.difference == found.differences["learned - frozen"]


async def test_only_the_full_reward_solves_a_task() -> None:
    found = await compare(
        {"a": ("x", "y")}, {"a": ("y", "y")}, {"a": 1}, lambda rollout: 0.5 if rollout.text == "y" else 1.0
    )
    assert found.pass_at_k == {"frozen": 1.0, "learned": 0.0}


async def test_rewards_outside_the_range_are_clipped_where_that_is_asked_for() -> None:
    tasks = [Task("a", "x"), Task("b", "x")]
    said = Texts({"a": ("x",), "b": ("-",)})
    found = await compare_arms(
        {"frozen": said, "learned": said},
        ARMS,
        tasks,
        lambda rollout: 3.0 if rollout.text == "x" else -1.0,
        repeats=1,
        seed=0,
        observer=Notes(),
        clip=True,
    )
    assert (found.means["learned"], found.constant_mean) == (0.5, 1.0)


async def test_a_task_that_one_arm_never_scored_is_lost_to_both() -> None:
    found = await compare(
        {"a": ("x", None), "b": ("x", "x"), "c": (None, None), "d": ("-", "-")},
        {"a": ("-", "x"), "b": (None, None), "c": ("x", "x"), "d": ("x", "x")},
        {"a": "x", "b": "x", "c": "x", "d": "x"},
    )
    assert (found.tasks, found.lost_tasks, found.failed, found.first_error) == (2, 2, 5, "the call failed")
    assert found.means == {"frozen": 0.5, "learned": 0.75}
    assert found.difference.mean == 0.25


async def test_the_constant_is_measured_on_the_tasks_that_are_compared() -> None:
    found = await compare(
        {"a": (None,), "b": (None,), "c": ("y",), "d": ("y",), "e": ("x",)},
        {"a": ("x",), "b": ("x",), "c": ("y",), "d": ("y",), "e": ("x",)},
        {"a": "x", "b": "x", "c": "y", "d": "y", "e": "x"},
    )
    assert found.constant == "y"
    assert found.constant_mean == pytest.approx(2 / 3)


async def test_nothing_to_compare_is_an_error_that_says_why() -> None:
    with pytest.raises(InputError, match="no task could be compared: the call failed"):
        await compare({"a": (None,)}, {"a": ("x",)}, {"a": "x"})
    with pytest.raises(InputError, match="no task could be compared: no tasks"):
        await compare_arms({}, ARMS, [], EXACT, repeats=1, seed=0, observer=Notes())


async def test_a_reward_that_fails_loses_rollouts_and_one_out_of_range_stops() -> None:
    def picky(rollout: Rollout) -> float:
        if rollout.text == "-":
            raise ValueError("cannot read it")
        return 1.0

    found = await compare(
        {"a": ("-", "x"), "b": ("x", "x")}, {"a": ("x", "x"), "b": ("x", "x")}, {"a": 1, "b": 1}, picky
    )
    assert (found.failed, found.tasks) == (1, 2)
    assert "cannot read it" in (found.first_error or "")
    with pytest.raises(RewardError, match="is 2"):
        await compare({"a": ("x",)}, {"a": ("x",)}, {"a": "x"}, lambda rollout: 2.0)


# Intervals


def test_the_interval_of_one_gain_among_twenty_is_that_of_the_binomial() -> None:
    """Resampled gains are binomial(20, 1/20) / 20: 36% are 0, 92.5% at most 2/20, 98.4% at most 3/20."""
    found = paired_difference(np.array([1.0] + [0.0] * 19), seed=3)
    assert (found.mean, found.low, round(found.high, 9)) == (0.05, 0.0, 0.15)
    assert (found.wins, found.losses, found.ties) == (1, 0, 19)


def test_an_interval_has_the_width_of_the_normal_one_where_that_holds() -> None:
    differences = np.random.default_rng(0).normal(0.1, 0.3, size=400)
    found = paired_difference(differences, seed=0)
    reach = 1.96 * differences.std() / 20
    assert found.low == pytest.approx(differences.mean() - reach, abs=0.003)
    assert found.high == pytest.approx(differences.mean() + reach, abs=0.003)


@pytest.mark.parametrize("constant", [-0.5, 0.0, 0.25])
def test_equal_differences_leave_no_doubt(constant: float) -> None:
    found = paired_difference(np.full(7, constant), seed=0)
    assert (found.mean, found.low, found.high) == (constant, constant, constant)
    assert (found.wins, found.losses, found.ties) == (7 * (constant > 0), 7 * (constant < 0), 7 * (constant == 0))


def test_an_interval_is_the_same_for_the_same_seed() -> None:
    differences = np.linspace(-1, 1, 9) ** 3
    assert paired_difference(differences, 1) == paired_difference(differences, 1)


class Drawn:
    """An Executor that is right with a probability of its own on every task."""

    def __init__(self, chances: Mapping[str, float], seed: str) -> None:
        self.chances, self.seed = chances, seed

    async def __call__(self, task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        right = derive_seed(self.seed, task.id, sample) < self.chances[task.id] * 2**31
        return Rollout(task, step, sample, prior.id, text="x" if right else "-")


async def test_the_interval_covers_the_mean_effect_over_tasks_like_these() -> None:
    """200 evaluations of 24 tasks drawn at random; effects differ between tasks, 0.1 in the mean."""
    tasks = [Task(f"task {number}", "x") for number in range(24)]
    rng, covered = np.random.default_rng(1), 0
    for run in range(200):
        base = rng.uniform(0.2, 0.6, size=24)
        effects = rng.uniform(-0.2, 0.4, size=24)
        chances = [
            {task.id: float(chance) for task, chance in zip(tasks, some, strict=True)}
            for some in (base, base + effects)
        ]
        executors = {arm: Drawn(chance, f"{run} {arm}") for arm, chance in zip(ARMS, chances, strict=True)}
        found = await compare_arms(executors, ARMS, tasks, EXACT, repeats=2, seed=run, observer=Silent())
        covered += found.difference.low <= 0.1 <= found.difference.high
    assert 0.89 <= covered / 200 <= 0.98


# The best constant answer


@pytest.mark.parametrize(
    ("answers", "best"),
    [
        (["x", "y", "x"], ("x", 2 / 3)),
        (["y", "x", "x", "y"], ("x", 0.5)),
        (["x", "y", "z"], None),
        ([7, 7, "8"], ("7", 2 / 3)),
        ([True, True, False], ("true", 2 / 3)),
        ([["x"], ["x"]], None),
        ([None, None], None),
        ([], None),
    ],
)
async def test_the_best_constant_answer_is_one_that_repeats(
    answers: list[JSON], best: tuple[str, float] | None
) -> None:
    tasks = [Task(f"task {number}", answer) for number, answer in enumerate(answers)]
    assert await best_constant(tasks, EXACT) == best
