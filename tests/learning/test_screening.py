"""The parts of a prior tried on another model: what goes wrong is told in its own words."""

from dataclasses import dataclass, replace

from tfgrpo.learning.screening import Screening
from tfgrpo.model.upstream import Upstream
from tfgrpo.observer import Silent
from tfgrpo.records import Backend, CallKey, Frame, Prior, Rollout, Run, Task
from tfgrpo.rollouts.rewards.matchers import AnswerReward, exact
from tfgrpo.settings import Settings
from tfgrpo.token_prior.listing import ListedAnswers, Listing


@dataclass(frozen=True)
class Failing(AnswerReward):
    """A reward that fails on some texts."""

    def __call__(self, rollout: Rollout, /) -> float:
        return 1 / len(rollout.text)


class Unlisted(Listing):
    """A model whose answers are not listed after all."""

    async def answers(
        self, task: Task, prior: Prior, temperature: float, key: CallKey, *, calls: int
    ) -> ListedAnswers | None:
        return None


async def sampled(task: Task, prior: Prior, step: int, sample: int) -> Rollout:
    return Rollout(task, step, sample, prior.id, text=prior.instruction or "")


async def test_what_a_reward_raises_is_told_where_answers_would_be_listed() -> None:
    tasks, frame = [Task("a", "b"), Task("c", "d")], Frame("m", request={"max_tokens": 4})
    run = Run("learn", "default", frame, {}, tuple(task.id for task in tasks), "failing", None)
    arms = {"bare": Prior(), "told": Prior(instruction="x")}
    settings = replace(Settings(), call_retries=0)
    async with Upstream("http://127.0.0.1:9/v1", settings=settings) as nobody:
        reward = Failing("failing", exact)
        screening = Screening(nobody, run, Backend("vllm", logprobs=True, token_ids=True), reward, settings=settings)
        assert screening.listing is not None
        screening.listing = Unlisted(nobody, frame, Backend(), reward)
        found = await screening.measured(arms, tasks, dict.fromkeys(arms, sampled), Silent())
    assert found.first_error == "the reward failed: ZeroDivisionError: division by zero"
    assert found.means == {"bare": 0.0, "told": 1.0}
