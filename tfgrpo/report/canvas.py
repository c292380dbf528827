"""What a plot is drawn on: matplotlib draws in stand-in colours, and the page's style has the last word.

So a plot follows the page by day, by night and on paper. No text of users or models enters a plot; it stands beside it.
"""

import re
from collections.abc import Callable, Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 72
"""So that a point of matplotlib's is a pixel of the page's."""
INK, MUTED, RULE, PAPER = "#010101", "#010102", "#010103", "#010104"
MIXED, SOLVED, HOPELESS, FLAT, UNSCORED = "#010105", "#010106", "#010107", "#010108", "#010109"
GOOD, BAD, UNSURE = "#01010a", "#01010b", "#01010c"
_COLOURS: Mapping[str, str] = {
    INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper", MIXED: "mixed", SOLVED: "solved", HOPELESS: "hopeless",
    FLAT: "flat", UNSCORED: "unscored", GOOD: "good", BAD: "bad", UNSURE: "unsure",
}  # fmt: skip
"""Stand-ins that matplotlib can draw with, and the variable of the page's style that takes the place of each."""
_STYLE: Mapping[Any, object] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 12,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "lines.linewidth": 2,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def drawn(draw: "Callable[[Figure], None]", width: int, height: int, name: str) -> Markup:
    """An SVG of that many CSS pixels; `name` tells it from the others of its page."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="none")
        FigureCanvasSVG(figure)
        draw(figure)
        written = StringIO()
        figure.savefig(written, format="svg", metadata=_NO_METADATA)
    return Markup(_themed(written.getvalue()))


def _themed(svg: str) -> str:
    """What matplotlib wrote, fit to stand in a page: sized, lettered and coloured by the page's style."""
    svg = svg[svg.index("<svg") :].replace("\n", " ")
    svg = re.sub(r'<svg [^>]*viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg, count=1)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1)
    svg = re.sub(r' id="[a-zA-Z0-9.]+_[0-9]+"', "", svg)
    svg = re.sub(r"font-family: [^;\"]+;?\s*", "", svg)
    svg = re.sub(r"\s{2,}", " ", svg)
    return re.sub(r"#01010[0-9a-c]", lambda found: f"var(--{_COLOURS[found.group()]})", svg)
