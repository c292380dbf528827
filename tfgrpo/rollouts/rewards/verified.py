"""The reward `gym`: each task is scored by the verifier of the family that made it."""

from dataclasses import dataclass

from ...records import Rollout, Task
from ...tasks.gym import GYM_REWARD
from ...tasks.gym.verifier import of_gym, verified
from .reward import BuiltInReward


@dataclass(frozen=True, slots=True)
class GymReward(BuiltInReward):
    """A Reward: what the verifier of the task's family says of the text in the last <answer> tags, or of the whole."""

    name = GYM_REWARD

    def __call__(self, rollout: Rollout, /) -> float:
        """Raises InputError, naming the task, when it is none of reasoning-gym's."""
        return verified(rollout.task, rollout.text)

    def check(self, task: Task) -> None:
        """Raises InputError as the call does."""
        of_gym(task)
