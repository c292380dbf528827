"""What was measured of an upstream, and what can be learned there."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .tables import printable

if TYPE_CHECKING:
    from ...records import JSON


def probe_lines(told: "JSON") -> Iterator[str]:
    """The figures, a line each, and the verdict."""
    from ...rollouts.ways_on import AS_TEXT, way_told

    for field, value in told.items():
        if field not in ("verdict", "way", "ways"):
            yield f"{field.replace('_', ' '):22}{printable(value)}"
    verdict = told["verdict"]
    by = verdict["token_prior"]
    yield ""
    yield f"What can be learned on {printable(told['model'])}"
    yield "  experiences and demonstrations: yes; they are text, and ask nothing of the upstream"
    yield printable(f"  a token prior: {f'yes, by {by}' if by else 'no'}; {verdict['why']}")
    ways = told["ways"]
    others = f"; open besides: {', '.join(ways[1:])}" if ways[1:] else ""
    yield printable(f"  what it acts by, in learning, client and proxy: {told['way']}{others}")
    whole = "" if told["goes_on"] != AS_TEXT else ", in learn, eval and clients; serve leaves answers whole"
    yield f"  long answers in chunks (--bounded): {way_told(told['goes_on'])}{whole}"
    yield from (printable(f"To get more: {advice}") for advice in verdict["advice"])
