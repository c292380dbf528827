"""What came of a prior on another model."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...text import counted
from .tables import percent, printable

if TYPE_CHECKING:
    from ...learning.port import Ported


def port_lines(found: "Ported") -> Iterator[str]:
    """Each part with its effect on the new model, and what became of the best."""
    usage = found.usage
    yield f"run {found.run.id}: {counted(usage.calls, 'call')}, {usage.tokens:,} tokens"
    yield f"{'frozen':>26}  {percent(found.measured.means['frozen']):>7}"
    for name, effect in sorted(found.effects.items(), key=lambda entry: -entry[1]):
        mean = percent(found.measured.means[name])
        yield f"{name:>26}  {mean:>7}  {100 * effect:+.1f} points expected, with what was known of it"
    if found.candidate is None:
        yield "no part of it is expected to help there: nothing was made live"
        return
    became = {"live": "is live", "ungated": "is live, ungated", "rejected": "was rejected"}
    state = became.get(found.promotion.state, "is a candidate") if found.promotion else "is live already"
    yield printable(f"prior {found.candidate.id} ({found.chosen}) {state} in namespace {found.namespace}")
    if found.promotion:
        yield printable(found.promotion.why)
