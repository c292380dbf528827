"""Figures as plots: drawn by matplotlib, shown in the page's own colours and letters, by day, by night and on paper.

No text of users or models enters a plot; it stands beside it. Rewards are drawn in percent, effects in points of reward
(hundredths).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ..advantage import GroupKind
from .figures import Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 360, 210
"""Of a plot in CSS pixels: a phone shows it as it is."""
STRIP_WIDTH, STRIP_HEIGHT = 260, 20
"""Of one row of a forest plot."""
_BAND = 20
"""From so many steps on intervals are a band instead of bars."""
_DPI = 72

INK, MUTED, RULE, PAPER = "#010101", "#010102", "#010103", "#010104"
MIXED, SOLVED, HOPELESS, FLAT, UNSCORED = "#010105", "#010106", "#010107", "#010108", "#010109"
GOOD, BAD, UNSURE = "#01010a", "#01010b", "#01010c"
_COLOURS: Mapping[str, str] = {
    INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper", MIXED: "mixed", SOLVED: "solved", HOPELESS: "hopeless",
    FLAT: "flat", UNSCORED: "unscored", GOOD: "good", BAD: "bad", UNSURE: "unsure",
}  # fmt: skip
"""Stand-ins that matplotlib can draw with, and the variable of the page's style that takes the place of each."""
KINDS: Mapping[GroupKind, str] = {
    "mixed": MIXED,
    "solved": SOLVED,
    "hopeless": HOPELESS,
    "flat": FLAT,
    "unscored": UNSCORED,
}

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


def rewards(steps: Sequence[Step], name: str) -> Markup:
    """The mean reward of each step that was scored, with its interval over tasks."""
    found = [(step.number, step.reward) for step in steps if step.reward]
    at, means = [number for number, _ in found], [100 * reward.mean for _, reward in found]
    lows = [100 * (reward.mean if reward.low is None else reward.low) for _, reward in found]
    highs = [100 * (reward.mean if reward.high is None else reward.high) for _, reward in found]

    def draw(axes: "Axes") -> None:
        if len(at) < _BAND:
            axes.vlines(at, lows, highs, color=GOOD, linewidth=1.2, alpha=0.7)
        else:
            axes.fill_between(at, lows, highs, color=GOOD, alpha=0.18, linewidth=0)
        axes.plot(at, means, color=GOOD, marker="o" if len(at) < _BAND else None, markersize=6)
        axes.set_ylim(*_around(lows, highs))
        axes.yaxis.set_major_formatter("{x:g}%")
        _whole_steps(axes, at, "step")

    return _plot(draw, name)


def kinds(steps: Sequence[Step], name: str) -> Markup:
    """What share of each step's groups could teach, and what the others were."""
    at = [step.number for step in steps]
    totals = [sum(step.kinds.values()) for step in steps]

    def draw(axes: "Axes") -> None:
        base = [0.0] * len(steps)
        for kind, colour in KINDS.items():
            shares = [100 * step.kinds.get(kind, 0) / total for step, total in zip(steps, totals, strict=True)]
            if any(shares):
                width = 0.7 if len(at) < _BAND else 1.0
                axes.bar(at, shares, width, bottom=base, color=colour, edgecolor=PAPER, linewidth=0.8)
            base = [low + share for low, share in zip(base, shares, strict=True)]
        axes.set_ylim(0, 100)
        axes.yaxis.set_major_formatter("{x:g}%")
        _whole_steps(axes, at, "step")

    return _plot(draw, name)


def wealth(logs: Sequence[float], needed: float, name: str) -> Markup:
    """The e-value after each pass on a logarithmic scale, and what promotes; `logs` are natural logarithms."""
    from math import log

    from matplotlib.ticker import MaxNLocator

    tens = [0.0, *(value / log(10) for value in logs)]
    threshold = log(needed) / log(10)

    def draw(axes: "Axes") -> None:
        axes.axhline(threshold, color=BAD, linewidth=1.4, linestyle=(0, (5, 3)))
        axes.axhline(0, color=MUTED, linewidth=0.8)
        reached = tens[-1] >= threshold
        axes.plot(range(len(tens)), tens, color=GOOD, marker="o" if len(tens) < _BAND else None, markersize=5)
        axes.plot([len(tens) - 1], tens[-1:], "o", color=GOOD if reached else UNSURE, markersize=8)
        low, high = min(tens), max(*tens, threshold)
        pad = 0.12 * (high - low)
        axes.set_ylim(low - pad, high + pad)
        axes.set_xlim(-0.3, max(len(tens) - 1, 1) + 0.3)
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter(lambda power, _: _power(power))
        note = axes.annotate(f"promotes at {needed:g}", (0, threshold), xytext=(4, 4), textcoords="offset points")
        note.set_color(INK)
        _whole_steps(axes, list(range(len(tens))), "pass")

    return _plot(draw, name)


def strip(
    limits: tuple[float, float],
    mean: float,
    name: str,
    *,
    low: float | None = None,
    high: float | None = None,
    judged: bool = False,
) -> Markup:
    """One row of a forest plot: a point and its interval, on the common axis of all rows.

    Where it is judged, its colour says whether the interval lies above zero, below, or around it.
    """

    def draw(axes: "Axes") -> None:
        _zero(axes)
        colour = _judged(low, high) if judged else INK
        if low is not None and high is not None:
            axes.plot([low, high], [0, 0], color=colour, linewidth=2.2, solid_capstyle="round")
        axes.plot([mean], [0], "o", color=colour, markersize=8, markeredgecolor=PAPER, markeredgewidth=1)

    return _strip(draw, limits, name)


def bar(limits: tuple[float, float], value: float, name: str) -> Markup:
    """One row of a bar chart around zero."""

    def draw(axes: "Axes") -> None:
        _zero(axes)
        axes.barh([0], [value], 1.1, color=GOOD if value > 0 else BAD)

    return _strip(draw, limits, name)


def scale(limits: tuple[float, float], name: str, *, signed: bool = False) -> Markup:
    """The axis that rows share."""

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import MaxNLocator

        for tick in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(*limits):
            if limits[0] <= tick <= limits[1]:
                label = f"{tick:+g}".replace("-", "\N{MINUS SIGN}") if signed and tick else f"{tick:g}"
                axes.text(tick, -0.4, label, color=MUTED, ha="center", va="center")

    return _strip(draw, limits, name)


def common_limits(values: Sequence[float]) -> tuple[float, float]:
    """An axis that holds zero and all of these values, with some air."""
    low, high = min(0.0, *values), max(0.0, *values)
    air = 0.12 * (high - low) or 1.0
    return low - air, high + air


def _judged(low: float | None, high: float | None) -> str:
    if low is None or high is None or low <= 0 <= high:
        return UNSURE
    return GOOD if low > 0 else BAD


def _zero(axes: "Axes") -> None:
    axes.axvline(0, color=MUTED, linewidth=1)


def _around(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
    """Limits in percent around what is drawn, at least 20 points apart."""
    middle, half = (min(lows) + max(highs)) / 2, max(10.0, 0.6 * (max(highs) - min(lows)))
    return max(-3.0, middle - half), min(103.0, middle + half)


def _power(power: float) -> str:
    """10 to a whole power, as a person reads it."""
    return f"{10**power:g}" if -3 <= power <= 4 else f"1e{power:g}"


def _whole_steps(axes: "Axes", at: Sequence[int], label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_xlabel(label)
    if len(at) == 1:
        axes.set_xlim(at[0] - 1, at[0] + 1)


def _plot(draw: "Callable[[Axes], None]", name: str) -> Markup:
    def whole(axes: "Axes") -> None:
        axes.set_position((0.115, 0.2, 0.87, 0.76))
        draw(axes)

    return _drawn(whole, WIDTH, HEIGHT, name)


def _strip(draw: "Callable[[Axes], None]", limits: tuple[float, float], name: str) -> Markup:
    def whole(axes: "Axes") -> None:
        axes.set_axis_off()
        axes.set_xlim(*limits)
        axes.set_ylim(-1, 1)
        draw(axes)

    return _drawn(whole, STRIP_WIDTH, STRIP_HEIGHT, name)


def _drawn(draw: "Callable[[Axes], None]", width: int, height: int, name: str) -> Markup:
    """An SVG of that many CSS pixels; `name` tells it from the others of its page."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="none")
        FigureCanvasSVG(figure)
        draw(figure.add_axes((0, 0, 1, 1), facecolor="none"))
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
    return re.sub(r"#0101(?:0[0-9a-c])", lambda found: f"var(--{_COLOURS[found.group()]})", svg)
