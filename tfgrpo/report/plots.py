"""The plots of a run over its steps and passes: rewards in percent, e-values on a logarithmic scale."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from ..rollouts.group import GroupKind
from .canvas import (
    BAD,
    FLAT,
    GOOD,
    HOPELESS,
    INK,
    MIXED,
    MUTED,
    PAPER,
    SOLVED,
    UNSCORED,
    UNSURE,
    drawn,
)
from .figures import StepFigures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 360, 210
"""In CSS pixels: a phone shows it as it is."""
_BAND = 20
"""From so many steps on intervals are a band instead of bars."""
KINDS: Mapping[GroupKind, str] = {
    "mixed": MIXED,
    "solved": SOLVED,
    "hopeless": HOPELESS,
    "flat": FLAT,
    "unscored": UNSCORED,
}


def rewards(steps: Sequence[StepFigures], name: str) -> Markup:
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


def kinds(steps: Sequence[StepFigures], name: str) -> Markup:
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
    return drawn(lambda figure: draw(figure.add_axes((0.115, 0.2, 0.87, 0.76), facecolor="none")), WIDTH, HEIGHT, name)
