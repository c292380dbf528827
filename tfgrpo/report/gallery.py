"""Which plots the page of a run holds, each made from its figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..evaluation.difference import Difference
from ..records import TokenBias
from . import plots, row_plots
from .figures import EvaluationFigures, Figures, ReportedExperience

_SHARE = (-4.0, 104.0)
"""The axis of mean rewards, in percent."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Plots; empty where there is nothing to show."""

    rewards: Markup
    kinds: Markup
    wealth: Markup
    scale: Markup
    """The axis of the effects."""
    effects: tuple[Markup, ...]
    """One for each experience."""
    biases: tuple[Markup, ...]
    share: Markup
    """The axis of the arms."""
    arms: tuple[Markup, ...]
    constant: Markup
    contrast_scale: Markup
    """The axis of the differences."""
    contrasts: tuple[Markup, ...]


def gallery(figures: Figures, experiences: Sequence[ReportedExperience], biases: Sequence[TokenBias]) -> Gallery:
    """The plots of these figures, for these of its experiences and token biases."""
    gate, measured, none = figures.trial, figures.measured, Markup()
    ends = [100 * end for one in experiences if one.interval for end in one.interval]
    limits = row_plots.common_limits(ends) if ends else (0.0, 1.0)
    span = row_plots.common_limits([entry.bias for entry in biases]) if biases else (0.0, 1.0)
    apart = measured.contrasts if measured else {}
    between = row_plots.common_limits([100 * end for one in apart.values() for end in (one.low, one.high)] or [1.0])
    constant = measured.constant_mean if measured else None
    return Gallery(
        rewards=plots.rewards(figures.steps, "rewards") if any(step.reward for step in figures.steps) else none,
        kinds=plots.kinds(figures.steps, "kinds") if figures.steps else none,
        wealth=plots.wealth([made.log_e for made in gate.passes], 1 / gate.level, "wealth") if gate else none,
        scale=row_plots.axis_row(limits, "effects", signed=True) if ends else none,
        effects=tuple(_effect(one, limits, f"effect {number}") for number, one in enumerate(experiences)),
        biases=tuple(row_plots.bar_row(span, entry.bias, f"bias {number}") for number, entry in enumerate(biases)),
        share=row_plots.axis_row(_SHARE, "arms") if measured else none,
        arms=tuple(_share(arm.mean, f"arm {name}") for name, arm in measured.arms.items()) if measured else (),
        constant=_share(constant, "constant") if constant is not None else none,
        contrast_scale=row_plots.axis_row(between, "contrasts", signed=True) if apart else none,
        contrasts=tuple(_contrast(one, between, f"contrast {name}", measured) for name, one in apart.items()),
    )


def _effect(one: ReportedExperience, limits: tuple[float, float], name: str) -> Markup:
    if one.effect is None or one.interval is None:
        return Markup()
    low, high = one.interval
    return row_plots.interval_row(limits, 100 * one.effect.mean, name, low=100 * low, high=100 * high)


def _contrast(one: Difference, limits: tuple[float, float], name: str, measured: EvaluationFigures | None) -> Markup:
    if measured is None or measured.few:
        return row_plots.interval_row(limits, 100 * one.mean, name)
    return row_plots.interval_row(limits, 100 * one.mean, name, low=100 * one.low, high=100 * one.high)


def _share(mean: float, name: str) -> Markup:
    return row_plots.interval_row(_SHARE, 100 * mean, name)
