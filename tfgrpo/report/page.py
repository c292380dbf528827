"""Figures as one HTML page that needs nothing else: no script, no network; every text of others is escaped."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..errors import InputError
from ..extras import install_hint
from ..model.prices import Prices
from ..records import TokenBias
from ..store import RunEntry
from ..text import shown
from .extremes import task_name
from .figures import Figures
from .repeat import repeat_of
from .verdict import e_value, points, verdict

if TYPE_CHECKING:
    from jinja2 import Environment

EXPERIENCES, BIASES, FAILURES, MOVED_TASKS = 100, 20, 10, 10
"""At most so many are shown of each; of tasks that moved on each side."""
LONGEST_TEXT = 1_000
"""Characters shown of a rollout."""


def render_page(figures: Figures, prices: Prices | None = None) -> str:
    """The page, with what each stage cost where prices are given, those of the model that does the tasks.

    Raises InputError where the libraries of the extra `report` are not installed, and as the prices do.
    """
    _check_libraries()
    from .gallery import gallery
    from .plots import KINDS

    gate, measured = figures.trial, figures.measured
    experiences, biases = figures.experiences[:EXPERIENCES], _strongest(figures)[:BIASES]
    present = {kind for step in figures.steps for kind in step.kinds}
    scored = [step.reward for step in figures.steps if step.reward]
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            {field.name: getattr(figures, field.name) for field in fields(figures)}
            | {
                "run": figures.entry.run,
                "verdict": verdict(figures),
                "winner": figures.winner,
                "shown_tasks": [*figures.moved[:MOVED_TASKS], *figures.moved[MOVED_TASKS:][-MOVED_TASKS:]],
                "gate": gate,
                "usd": _usd(figures, prices) if prices else None,
                "e_value": e_value(gate) if gate else None,
                "needed": 1 / gate.level if gate else None,
                "at_k": measured and any(arm.pass_at_k is not None for arm in measured.arms.values()),
                "first": scored[0] if scored else None,
                "last": scored[-1] if scored else None,
                "kinds": [kind for kind in KINDS if kind in present],
                "plots": gallery(figures, experiences, biases),
                "experiences": experiences,
                "more_experiences": len(figures.experiences) - len(experiences),
                "biases": biases,
                "more_biases": len(_strongest(figures)) - len(biases),
                "failures": figures.failures[:FAILURES],
                "more_failures": len(figures.failures[FAILURES:]),
                "repeat": repeat_of(figures.entry.run),
                "version": __version__,
            }
        )
    )


def _usd(figures: Figures, prices: Prices) -> dict[str, float]:
    model = figures.entry.run.frame.model
    return {stage: prices(model, usage) for stage, usage in figures.stages.items()}


def _check_libraries() -> None:
    try:
        import jinja2  # noqa: F401 - only whether it is there
        import matplotlib  # noqa: F401 - the same
    except ImportError as error:
        raise InputError(f"a report needs {error.name}, of the extra `report`: {install_hint('report')}") from error


def _strongest(figures: Figures) -> list[TokenBias]:
    biases = figures.prior.biases if figures.prior else ()
    return sorted(biases, key=lambda entry: (-abs(entry.bias), entry.token))


@lru_cache(maxsize=1)
def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(loader=FunctionLoader(_file), autoescape=True, undefined=StrictUndefined)
    filters: Mapping[str, Callable[..., object]] = {
        "shown": shown,
        "clipped": lambda text: shown(text if len(str(text)) <= LONGEST_TEXT else f"{str(text)[:LONGEST_TEXT]}…"),
        "task_name": task_name,
        "token": lambda piece: f"'{shown(piece.decode('utf-8', 'backslashreplace'), harmless='')}'",
        "percent": lambda share: f"{100 * share:.1f}%",
        "signed": _signed,
        "points": points,
        "figures": lambda number: f"{number:.3g}",
        "count": lambda number: f"{number:,}",
        "money": lambda usd: f"{usd:,.4f}",
        "times": _times,
    }
    environment.filters.update(filters)
    return environment


def _signed(number: float, decimals: int) -> str:
    return f"{number:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _times(entry: RunEntry) -> str:
    """From when to when, to the minute; the day once where it is the same."""
    began, ended = ((at or "")[:16].replace("T", " ") for at in (entry.started, entry.ended))
    return began if not ended else f"{began} to {ended[11:] if ended[:10] == began[:10] else ended}"


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
