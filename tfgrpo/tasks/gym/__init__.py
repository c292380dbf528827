"""Procedural tasks of reasoning-gym, and their own verifiers: `gym:FAMILY?size=50&seed=1` (extra `tfgrpo[gym]`)."""

from .source import SCHEME, entries
from .verifier import REWARD, GymReward

__all__ = ["REWARD", "SCHEME", "GymReward", "entries"]
