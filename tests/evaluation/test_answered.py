"""What an option is worth on a task, whatever a reward makes of texts that are alike."""

import pytest

from tfgrpo.evaluation.answered import option_rewards, tasks_with_options
from tfgrpo.model.questions import Question
from tfgrpo.records import JSON, Rollout, Task
from tfgrpo.rollouts.rewards.built_in import load_reward


@pytest.mark.parametrize(
    ("options", "answer", "worth"),
    [
        (("1", "1.0", "2"), "1.0", [0.0, 1.0, 0.0]),  # one number for the reward `exact`
        (("Yes", "yes"), "yes", [0.0, 1.0]),
        (("a", "a."), "A", [1.0, 0.0]),
        ((True, False), "yes", [1.0, 0.0]),
        (("a", "b", "c"), ["A", "c", "a"], [1.0, 0.0, 1.0]),  # either is right
    ],
)
@pytest.mark.parametrize("reward", ["exact", "exact-strict"])
async def test_only_the_option_that_the_answer_means_is_right(
    options: tuple[str | bool, ...], answer: JSON, worth: list[float], reward: str
) -> None:
    kind = "predicate" if options[0] is True else "choice"
    question, rewarding = Question(kind, "Which?", options), load_reward(reward)
    (task,) = tasks_with_options([Task("x", answer)], question, rewarding)
    assert await option_rewards(task, question, rewarding) == worth


async def test_a_reward_of_ones_own_scores_each_option_as_if_it_had_been_said() -> None:
    def half(rollout: Rollout) -> float:
        return 0.5 * (rollout.text == "b")

    assert await option_rewards(Task("x", "c"), Question("choice", "Which?", ("a", "b")), half) == [0.0, 0.5]
