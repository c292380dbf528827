"""Rollouts that say a text, and what a built-in reward gives them."""

import asyncio

from tfgrpo.records import JSON, Rollout, Task
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.rollouts.rewards.reward import score


def saying(text: str, answer: JSON = None) -> Rollout:
    """A rollout that ended in a text."""
    return Rollout(Task("the question", answer), step=0, sample=0, prior="prior_0", text=text)


def reward_of(name: str, text: str, answer: JSON) -> float | None:
    """What a built-in reward gives a text under an answer."""
    return asyncio.run(score(load_reward(name), saying(text, answer))).reward
