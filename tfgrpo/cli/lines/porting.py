"""What came of a prior on another model."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...text import counted
from .learning import ended_lines
from .tables import percent, printable

if TYPE_CHECKING:
    from ...learning.port import PortResult


def port_lines(found: "PortResult") -> Iterator[str]:
    """Each way to prompt with what it is worth on the new model, and what became of the best."""
    usage, means = found.usage, found.means
    yield f"run {found.run.id}: {counted(usage.calls, 'call')}, {usage.tokens:,} tokens"
    width = max(map(len, means), default=0)
    for name, mean in means.items():
        effect = f"  {100 * found.effects[name]:+.1f} points" if name in found.effects else ""
        yield printable(f"{name:>{width}}  {percent(mean):>7}{effect}")
    if found.candidate is None:
        yield _without_candidate(found)
    else:
        yield from _candidate_lines(found)
    yield from ended_lines(found.ended)


def _without_candidate(found: "PortResult") -> str:
    """Why nothing was tried by the gate."""
    if not found.learned.steps:
        return "nothing is known yet of what helps there: nothing was made live"
    if found.live is None:
        return "nothing is expected to help there: nothing was made live"
    if found.chosen:
        return printable(f"prior {found.live.id} ({found.chosen}) is live already in namespace {found.namespace}")
    kept = printable(f"prior {found.live.id}, live in namespace {found.namespace}, is as it was")
    return f"nothing else is expected to help there: {kept}"


def _candidate_lines(found: "PortResult") -> Iterator[str]:
    """What became of the best."""
    assert found.candidate is not None
    became = {"live": "is live", "ungated": "is live, ungated", "rejected": "was rejected"}
    state = became.get(found.promotion.state, "is a candidate") if found.promotion else "is live already"
    yield printable(f"prior {found.candidate.id} ({found.chosen}) {state} in namespace {found.namespace}")
    if found.promotion and not found.promotion.undecided:  # what the budget ended says it
        yield printable(found.promotion.why)
