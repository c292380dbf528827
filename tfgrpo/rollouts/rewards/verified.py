"""The rewards `gym` and `harbor`: each task is scored by the verifier that it comes with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import InputError
from ...records import Rollout, Task
from ...tasks.gym import GYM_REWARD
from ...tasks.gym.verifier import of_gym, verified
from ...tasks.harbor import HARBOR_REWARD, harbor_folder
from .reward import BuiltInReward, Score


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


@dataclass(frozen=True, slots=True)
class HarborReward(BuiltInReward):
    """A Reward: what the verifier of a task of Harbor's gave the trial that an agent of its made."""

    name = HARBOR_REWARD

    def __call__(self, rollout: Rollout, /) -> Score:
        """The reward named so, or the only one; raises InputError for a rollout that no agent of Harbor's made."""
        try:
            told = json.loads(rollout.text)
            rewards: Mapping[str, float] = told["rewards"]
        except (ValueError, TypeError, KeyError) as error:
            raise InputError("reward harbor is for rollouts of Harbor's agents: --agent harbor:NAME") from error
        found = rewards.get("reward", next(iter(rewards.values())) if len(rewards) == 1 else None)
        if found is None:
            raise InputError(f"the verifier gives {', '.join(sorted(rewards))}, and none of them is named reward")
        return float(found), str(told.get("failure", ""))

    def check(self, task: Task) -> None:
        """Raises InputError as the call does."""
        harbor_folder(task)
