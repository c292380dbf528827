"""The race between ways to prompt: who stayed, who left when, who won, and what a call costs under each."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ...text import counted
from .tables import percent, printable

if TYPE_CHECKING:
    from ...records import JSON


def race_lines(race: "Sequence[Mapping[str, JSON]]") -> Iterator[str]:
    """How a race stood after its last step, who left before, and the winner; nothing where nothing raced."""
    if not race:
        return
    from ...observer import last_looks

    looks = last_looks(race)
    yield f"race of {counted(len(looks), 'way')} to prompt, after step {race[-1]['step'] + 1}:"
    yield f"{'reward':>9}  {'P(best)':>7}  {'rollouts':>8}  {'tokens a call':>13}"
    for _, row in (look for look in looks if not look[1]["left"]):
        figures = f"{percent(row['reward']):>9}  {row['best']:>7.0%}  {row['rollouts']:>8,}  {row['tokens']:>13,}"
        yield f"{figures}  {printable(row['source'])}"
    for step, left in groupby((look for look in looks if look[1]["left"]), key=lambda look: look[0]):
        named = ", ".join(f"{printable(row['source'])} ({percent(row['reward'])})" for _, row in left)
        yield f"left after step {step + 1}: {named}"
    if won := race[-1].get("winner"):
        source = next((row["source"] for _, row in looks if row["arm"] == won["arm"]), won["arm"])
        yield printable(f"winner: {source}; {won['why']}")
