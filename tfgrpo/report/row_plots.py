"""Plots that are one row of a table each, on an axis that the rows share.

Drawn without axes of matplotlib's, which would cost ten times as much as the row.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from .canvas import BAD, GOOD, INK, MUTED, PAPER, UNSURE, drawn

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 260, 20
"""In CSS pixels."""


def interval_row(
    limits: tuple[float, float],
    mean: float,
    name: str,
    *,
    low: float | None = None,
    high: float | None = None,
) -> Markup:
    """One row of a forest plot: a point, and its interval, whose colour says if it is above zero, below or around."""
    from matplotlib.lines import Line2D

    colour = _judged(low, high)
    row: list[Artist] = []
    if low is not None and high is not None:
        ends = _place(limits, low), _place(limits, high)
        row.append(Line2D(ends, (0.5, 0.5), color=colour, linewidth=2.2, solid_capstyle="round"))
    point = Line2D([_place(limits, mean)], [0.5], marker="o", color=colour, markersize=8, markeredgecolor=PAPER)
    return _row(limits, [*row, point], name)


def bar_row(limits: tuple[float, float], value: float, name: str) -> Markup:
    """One row of a bar chart around zero."""
    from matplotlib.patches import Rectangle

    zero, end = _place(limits, 0), _place(limits, value)
    return _row(limits, [Rectangle((zero, 0.22), end - zero, 0.56, color=GOOD if value > 0 else BAD)], name)


def axis_row(limits: tuple[float, float], name: str, *, signed: bool = False) -> Markup:
    """The axis that the rows of a table share, as its first row."""
    from matplotlib.ticker import MaxNLocator

    def draw(figure: "Figure") -> None:
        for tick in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(*limits):
            if limits[0] <= tick <= limits[1]:
                label = f"{tick:+g}".replace("-", "\N{MINUS SIGN}") if signed and tick else f"{tick:g}"
                figure.text(_place(limits, tick), 0.3, label, color=MUTED, ha="center", va="center")

    return drawn(draw, WIDTH, HEIGHT, name)


def common_limits(values: Sequence[float]) -> tuple[float, float]:
    """An axis that holds zero and all of these values, with some air."""
    low, high = min(0.0, *values), max(0.0, *values)
    air = 0.12 * (high - low) or 1.0
    return low - air, high + air


def _place(limits: tuple[float, float], value: float) -> float:
    """Where a value lies, from 0 at the left to 1 at the right."""
    return (value - limits[0]) / (limits[1] - limits[0])


def _judged(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return INK
    if low <= 0 <= high:
        return UNSURE
    return GOOD if low > 0 else BAD


def _row(limits: tuple[float, float], artists: "Sequence[Artist]", name: str) -> Markup:
    from matplotlib.lines import Line2D

    def draw(figure: "Figure") -> None:
        zero = _place(limits, 0)
        for artist in (Line2D([zero, zero], [0, 1], color=MUTED, linewidth=1), *artists):
            figure.add_artist(artist)

    return drawn(draw, WIDTH, HEIGHT, name)
