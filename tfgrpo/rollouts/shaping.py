"""Overlong shaping: a rollout that comes near its token limit earns less. Pure."""

from dataclasses import replace

from ..records import Rollout
from ..settings import Settings


def penalty(tokens: int, longest: int, cache: int) -> float:
    """What a rollout of so many completion tokens loses, in reward units, from 0 to -1 (DAPO, arXiv 2503.14476).

    0 up to longest - cache; (longest - cache - L) / cache from there to longest; -1 beyond.
    """
    return max(-1.0, min(0.0, (longest - cache - tokens) / cache))


def shaped(rollout: Rollout, settings: Settings) -> Rollout:
    """The rollout with its penalty taken off its reward, which stays at 0 or above: a wrong answer cannot earn less.

    Its length is that of all completions, of an agent all its calls'; one without a reward stays as it is.
    """
    if rollout.reward is None or settings.overlong is None:
        return rollout
    longest, cache = map(int, settings.overlong.split(":"))
    less = penalty(rollout.usage.completion_tokens, longest, cache)
    return replace(rollout, reward=max(0.0, rollout.reward + less))
