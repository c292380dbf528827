"""Procedural tasks of reasoning-gym, and their own verifiers: `gym:FAMILY?size=50&seed=1` (extra `tfgrpo[gym]`)."""

from .source import SCHEME, entries
from .verifier import GYM_REWARD, GymReward

__all__ = ["GYM_REWARD", "SCHEME", "GymReward", "entries"]
