"""SIMULATED vectors: as an embedding model might give them, with no sense in them."""

from random import Random

from tfgrpo.records import Demonstration
from tfgrpo.surfaces.nearest import compact


def drawn(seed: int, size: int = 12) -> list[float]:
    """A vector by chance."""
    draw = Random(seed)
    return [draw.gauss(0, 1) for _ in range(size)]


def embedded(text: str, answer: str, vector: list[float]) -> Demonstration:
    """A demonstration with a vector."""
    return Demonstration(text, answer, f"task_{text}", compact(vector))
