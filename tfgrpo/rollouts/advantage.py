"""The group-relative advantage, and the kinds of groups by what they can teach. Pure."""

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..records import Group
from ..settings import FLAT

GroupKind: TypeAlias = Literal["mixed", "solved", "hopeless", "flat", "unscored"]
"""A mixed group can teach; the others are all right, all wrong, all alike in between, or without any reward."""


def advantages(rewards: NDArray[np.float64], *, divide_by_std: bool = True) -> NDArray[np.float64]:
    """(r - mean) / std within one group, shape (G,); a flat group teaches nothing (GRPO, arXiv 2402.03300).

    With `divide_by_std` off, r - mean (Dr. GRPO, arXiv 2503.20783). The standard deviation is the population's.
    """
    if rewards.size == 0:
        return np.zeros_like(rewards)
    mean, spread = float(rewards.mean()), float(rewards.std())
    if spread < FLAT:
        return np.zeros_like(rewards)
    return (rewards - mean) / (spread if divide_by_std else 1.0)


def group_kind(group: Group) -> GroupKind:
    """Whether a group can teach, or why not."""
    rewards = group.rewards
    if rewards.size == 0:
        return "unscored"
    if float(rewards.std()) >= FLAT:
        return "mixed"
    if rewards[0] >= 1 - FLAT:
        return "solved"
    return "hopeless" if rewards[0] <= FLAT else "flat"
