"""What learning of a question of the decisions API came to."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...text import counted, shortened
from .tables import printable

if TYPE_CHECKING:
    from ...learning.decision_result import DecisionsLearned

_SHOWN = 20
"""Offsets that are shown; `tfgrpo tokens show` has all."""


def decision_lines(learned: "DecisionsLearned") -> Iterator[str]:
    """The offsets, what they rest on, and what became of them."""
    usage = learned.usage
    yield f"run {learned.run.id}: {counted(usage.calls, 'call')}, {usage.tokens:,} tokens"
    yield from _race_lines(learned)
    yield printable(f"offsets of {shortened(learned.instructions)!r}: {learned.fitted.why}")
    for one in learned.offsets[:_SHOWN]:
        yield printable(f"{shortened(str(one.option), 40):>16} {one.offset:+.2f}  (z {one.z:+.1f})")
    if learned.candidate is None:
        what = "they are live already" if learned.fitted.kept else "nothing was learned that evidence supports"
        yield f"{what}; the live prior is as it was"
    elif learned.promotion and learned.promotion.state == "ungated":
        yield f"prior {learned.candidate.id} is live, ungated; measure it on other tasks: tfgrpo eval"
    elif learned.promotion:
        became = "is live" if learned.promotion.state == "live" else "was rejected; the live prior is as it was"
        yield f"prior {learned.candidate.id} {became}"
        yield printable(learned.promotion.why)


def _race_lines(learned: "DecisionsLearned") -> Iterator[str]:
    """Who raced, and what is said now; nothing where one thing alone could be said."""
    raced = learned.raced
    for one in raced.table if len(raced.table) > 1 else ():
        figures = f"{100 * one.worth:5.1f} points on {counted(len(one.answers.tasks), 'task')}"
        yield printable(f"{shortened(one.arm.source, 40):>24} {figures}, {one.arm.tokens} prompt tokens a question")
    if len(raced.table) > 1:
        yield printable(f"said in the instructions: {raced.winner.arm.source}")
