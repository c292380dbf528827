"""Differences between arms against hand-computed cases, their intervals, and what is left out and said so."""

from collections.abc import Mapping
from itertools import combinations_with_replacement
from math import comb

import numpy as np
import pytest
from numpy.typing import NDArray

from tfgrpo.errors import InputError
from tfgrpo.evaluation.arms import Evaluation, best_constant, compare_arms
from tfgrpo.evaluation.difference import Difference, paired_difference
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

    def __init__(self, said: Mapping[str, tuple[str | None, ...]], error: str = "cannot reach it") -> None:
        self.said, self.error = said, error

    async def __call__(self, task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        text = self.said[task.prompt][sample]
        error = None if text is not None else self.error
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
    assert (found.tasks, found.lost_tasks, found.failed, found.first_error) == (2, 2, 5, "cannot reach it")
    assert found.means == {"frozen": 0.5, "learned": 0.75}
    assert found.difference.mean == 0.25


async def test_what_one_arm_fails_at_by_itself_counts_against_it() -> None:
    """Of four tasks the learned arm crashes on two that the frozen one solves; on one more both crash."""
    answers = {"a": "x", "b": "x", "c": "x", "d": "x", "e": "x"}
    said = {
        "frozen": Texts({"a": ("x",), "b": ("x",), "c": ("-",), "d": ("-",), "e": (None,)}, "the agent failed: here"),
        "learned": Texts(
            {"a": (None,), "b": (None,), "c": ("x",), "d": ("-",), "e": (None,)}, "the agent failed: there"
        ),
    }
    tasks = [Task(text, answer) for text, answer in answers.items()]
    found = await compare_arms(said, ARMS, tasks, EXACT, repeats=1, observer=Notes())
    assert found.means == {"frozen": 0.5, "learned": 0.25}
    assert (found.tasks, found.lost_tasks, found.failed) == (4, 1, 4)
    assert found.failures == {"frozen": 1, "learned": 3}


async def test_what_is_lost_to_the_upstream_under_one_arm_alone_counts_against_it() -> None:
    """Both are right half of the time, and the upstream fails at what the one would get wrong: no gain."""
    tasks = {f"task {number}": "x" for number in range(16)}
    answered = {task: ("x", "-") for task in tasks}
    lost = {task: ("x", None) for task in tasks}
    found = await compare(answered, lost, tasks)
    assert (found.difference.mean, found.failures["learned"], found.lost_tasks) == (0.0, 16, 0)
    both = await compare(lost, lost, tasks)
    assert (both.means, both.failures) == ({"frozen": 1.0, "learned": 1.0}, {"frozen": 0, "learned": 0})


async def test_an_outage_is_blamed_on_no_arm_wherever_it_falls() -> None:
    """Both arms are right each time; a third of the calls, as they follow each other, finds nobody there."""
    tasks = [Task(f"task {number}", "x") for number in range(16)]
    for begins in (0, 43, 84):
        asked = list[str]()

        async def answer(
            task: Task, prior: Prior, step: int, sample: int, asked: list[str] = asked, begins: int = begins
        ) -> Rollout:
            asked.append(prior.id)
            error = "cannot reach it" if begins < len(asked) <= begins + 43 else None
            return Rollout(task, step, sample, prior.id, text="" if error else "x", error=error)

        arms = {"frozen": answer, "learned": answer}
        found = await compare_arms(arms, ARMS, tasks, EXACT, repeats=4, observer=Notes())
        assert (len(asked), found.means) == (128, {"frozen": 1.0, "learned": 1.0})
        assert found.failures == {"frozen": 0, "learned": 0}


async def test_the_constant_is_measured_on_the_tasks_that_are_compared() -> None:
    found = await compare(
        {"a": (None,), "b": (None,), "c": ("y",), "d": ("y",), "e": ("x",)},
        {"a": ("x",), "b": ("x",), "c": ("y",), "d": ("y",), "e": ("x",)},
        {"a": "x", "b": "x", "c": "y", "d": "y", "e": "x"},
    )
    assert found.constant == "y"
    assert found.constant_mean == pytest.approx(2 / 3)


async def test_nothing_to_compare_is_an_error_that_says_why() -> None:
    with pytest.raises(InputError, match="no task could be compared: cannot reach it"):
        await compare({"a": (None,)}, {"a": ("x",)}, {"a": "x"})
    with pytest.raises(InputError, match="no task could be compared: no tasks"):
        await compare_arms({}, ARMS, [], EXACT, repeats=1, observer=Notes())


async def test_a_reward_that_fails_loses_rollouts_and_one_out_of_range_too() -> None:
    def picky(rollout: Rollout) -> float:
        if rollout.text == "-":
            raise ValueError("cannot read it")
        return 1.0

    found = await compare(
        {"a": ("-", "x"), "b": ("x", "x")}, {"a": ("x", "x"), "b": ("x", "x")}, {"a": 1, "b": 1}, picky
    )
    assert (found.failed, found.tasks, found.failures) == (1, 2, {"frozen": 1, "learned": 0})
    assert found.means["frozen"] == 0.75
    assert "cannot read it" in (found.first_error or "")
    with pytest.raises(InputError, match=r"no task could be compared: the reward failed: RewardError: .* is 2"):
        await compare({"a": ("x",)}, {"a": ("x",)}, {"a": "x"}, lambda rollout: 2.0)


# Intervals


def differences(gains: NDArray[np.float64], rollouts: int = 1) -> list[tuple[Difference, int]]:
    """Those of each row of gains, and how many rows have them: those that are alike but for the order of tasks."""
    rows, times = np.unique(np.sort(gains, axis=1), axis=0, return_counts=True)
    return [(paired_difference(row, rollouts=rollouts), int(count)) for row, count in zip(rows, times, strict=True)]


def coverage(found: list[tuple[Difference, int]], truth: float) -> float:
    held = sum(count for one, count in found if one.low <= truth <= one.high)
    return held / sum(count for _, count in found)


@pytest.mark.parametrize(("tasks", "repeats"), [(5, 4), (8, 4), (12, 8), (24, 4), (48, 2)])
def test_an_interval_over_tasks_covers_as_often_as_it_says(tasks: int, repeats: int) -> None:
    """3,000 simulated runs: rewards of 0 or 1, pass rates evenly spread, effects of 10 points with sd 20 by task."""
    rng = np.random.default_rng([tasks, 3])
    frozen = rng.random((3_000, tasks))
    learned = np.clip(frozen + rng.normal(0.1, 0.2, frozen.shape), 0, 1)
    truth = float((learned - frozen).mean())
    gains = (rng.binomial(repeats, learned) - rng.binomial(repeats, frozen)) / repeats
    assert 0.93 <= coverage(differences(gains, repeats), truth) <= 0.97


def test_an_interval_is_that_of_students_t() -> None:
    """Mean 0.1, standard deviation 0.2 (by n - 1), t with 4 degrees of freedom 2.776."""
    found = paired_difference(np.array([-0.1, -0.1, 0.1, 0.3, 0.3]))
    assert (found.wins, found.losses, found.ties) == (3, 2, 0)
    assert (found.low, found.high) == pytest.approx((0.1 - 2.776 * 0.2 / 5**0.5, 0.1 + 2.776 * 0.2 / 5**0.5), abs=1e-3)
    wider = paired_difference(np.array([-0.1, -0.1, 0.1, 0.3, 0.3]), 0.99)
    assert wider.high - 0.1 == pytest.approx(4.604 * 0.2 / 5**0.5, abs=1e-3)
    assert paired_difference(np.array([0.4])) == Difference(0.4, -1.0, 1.0, 1, 0, 0), "one task says nothing of others"


@pytest.mark.parametrize(("tasks", "most"), [(5, 1.0), (8, 0.99), (12, 0.97), (24, 0.97), (48, 0.97)])
def test_an_interval_covers_with_a_single_rollout_a_task_too(tasks: int, most: float) -> None:
    """As above; with few tasks there are few intervals that it can be. Student's covers 85% at 5 tasks."""
    rng = np.random.default_rng([tasks, 4])
    frozen = rng.random((3_000, tasks))
    learned = np.clip(frozen + rng.normal(0.1, 0.2, frozen.shape), 0, 1)
    truth = float((learned - frozen).mean())
    found = differences((rng.binomial(1, learned) - rng.binomial(1, frozen)).astype(float))
    assert 0.93 <= coverage(found, truth) <= most
    assert all(one.low <= one.mean <= one.high for one, _ in found)


@pytest.mark.parametrize(("tasks", "least", "most"), [(5, 0.915, 1.0), (8, 0.92, 1.0), (24, 0.92, 0.985)])
def test_an_interval_covers_where_all_tasks_are_alike(tasks: int, least: float, most: float) -> None:
    """Counted, not drawn: single rollouts at pass rates of 5 to 95%. Student's t covers 64% at 5 tasks, at worst."""
    rates = np.arange(1, 20) / 20
    counts = [(won, lost) for won in range(tasks + 1) for lost in range(tasks + 1 - won)]
    gains = [np.repeat([1.0, -1.0, 0.0], [won, lost, tasks - won - lost]) for won, lost in counts]
    found = [paired_difference(row) for row in gains]
    ways = np.array([comb(tasks, won) * comb(tasks - won, lost) for won, lost in counts])
    for low, high in combinations_with_replacement(rates, 2):
        win, lose = high * (1 - low), low * (1 - high)
        chances = [win**won * lose**lost * (1 - win - lose) ** (tasks - won - lost) for won, lost in counts]
        covered = [one.low - 1e-9 <= high - low <= one.high + 1e-9 for one in found]
        assert high - low > 0.6 or least <= ways * chances @ covered <= most, (low, high)


def test_tasks_that_are_all_won_or_tied_once_leave_doubt() -> None:
    """Of five ties d is refuted above where (5 d)^2 = 1.96^2 x 4 d (1 - d): at 3.073 / 8.073, a chance of 9%."""
    found = paired_difference(np.zeros(5))
    assert (found.low, found.high) == pytest.approx((-0.3807, 0.3807), abs=1e-3)
    for few in (1, 2, 4):
        two = paired_difference(np.ones(few))
        assert (two.mean, two.low, two.high, two.few) == (1.0, -1.0, 1.0, True), "as few refute nothing"
    won = paired_difference(np.ones(5))
    assert not won.few
    assert (won.mean, won.low, won.high) == pytest.approx((1.0, 1 - 2 * 0.3807, 1.0), abs=1e-3)


def test_equal_differences_of_few_rollouts_leave_the_doubt_of_one_more() -> None:
    """As if one of four rollouts of one task had come out otherwise: a standard deviation of 1/4 / sqrt(5)."""
    found = paired_difference(np.full(5, 0.25), rollouts=4)
    assert found.high - 0.25 == pytest.approx(2.776 / 4 / 5, abs=1e-3)
    unequal = paired_difference(np.full(5, 0.5), rollouts=[2, 4, 2, 4, 2])  # where not all could be scored: on average
    assert unequal.high - 0.5 == pytest.approx(2.776 * 0.4 / 5, abs=1e-3)


@pytest.mark.parametrize("constant", [-0.5, 0.25])
def test_equal_differences_leave_no_doubt(constant: float) -> None:
    found = paired_difference(np.full(7, constant))
    assert (found.mean, found.low, found.high) == (constant, constant, constant)
    assert (found.wins, found.losses, found.ties) == (7 * (constant > 0), 7 * (constant < 0), 7 * (constant == 0))


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
