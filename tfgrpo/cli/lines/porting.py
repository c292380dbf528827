"""What came of a prior on another model."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...text import counted
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
        yield "nothing is expected to help there: nothing was made live"
        return
    became = {"live": "is live", "ungated": "is live, ungated", "rejected": "was rejected"}
    state = became.get(found.promotion.state, "is a candidate") if found.promotion else "is live already"
    yield printable(f"prior {found.candidate.id} ({found.chosen}) {state} in namespace {found.namespace}")
    if found.promotion:
        yield printable(found.promotion.why)
