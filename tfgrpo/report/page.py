"""Figures as one HTML page that needs nothing else: no script, no network; every text of others is escaped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..errors import InputError
from ..records import TokenBias
from ..store import RunEntry
from .figures import Figures, Tried
from .repeat import repeat_of
from .verdict import verdict

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TRIED, BIASES, FAILURES = 100, 20, 10
"""At most so many are shown of each."""
_HARMLESS = "\n\t\u200c\u200d"
"""Not printable, yet wanted: line ends, and the joiners of some scripts and emoji."""
_INSTALL = "a report needs jinja2 and matplotlib: pip install 'tfgrpo[report]'"


@dataclass(frozen=True, slots=True)
class Plots:
    """The plots of a page."""

    rewards: "Markup | None"
    kinds: "Markup | None"
    scale: "Markup | None"
    strips: "tuple[Markup, ...]"
    bars: "tuple[Markup, ...]"


def render(figures: Figures) -> str:
    """The page. Raises InputError where the libraries of the extra `report` are not installed."""
    _check_libraries()
    from . import plots

    tried, biases = figures.tried[:TRIED], _strongest(figures)[:BIASES]
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
                "first": scored[0] if scored else None,
                "last": scored[-1] if scored else None,
                "kinds": [kind for kind in plots.KINDS if kind in present],
                "plots": _plots(figures, tried, biases),
                "tried": tried,
                "more_tried": len(figures.tried) - len(tried),
                "biases": biases,
                "more_biases": len(_strongest(figures)) - len(biases),
                "failures": figures.failures[:FAILURES],
                "more_failures": len(figures.failures[FAILURES:]),
                "repeat": repeat_of(figures.entry.run),
                "version": __version__,
            }
        )
    )


def _check_libraries() -> None:
    try:
        import jinja2  # noqa: F401 - only whether it is there
        import matplotlib  # noqa: F401 - the same
    except ImportError as error:
        raise InputError(_INSTALL) from error


def _plots(figures: Figures, tried: Sequence[Tried], biases: Sequence[TokenBias]) -> Plots:
    from . import plots

    ends = [end for one in tried if one.interval for end in one.interval]
    effects = plots.common_limits([100 * end for end in ends]) if ends else None
    span = plots.common_limits([entry.bias for entry in biases]) if biases else (0.0, 1.0)
    return Plots(
        rewards=plots.rewards(figures.steps, "rewards") if any(step.reward for step in figures.steps) else None,
        kinds=plots.kinds(figures.steps, "kinds") if figures.steps else None,
        scale=plots.scale(effects, "scale") if effects else None,
        strips=tuple(_strip(one, effects, f"effect {number}") for number, one in enumerate(tried)),
        bars=tuple(plots.bar(span, entry.bias, f"bias {number}") for number, entry in enumerate(biases)),
    )


def _strip(one: Tried, limits: tuple[float, float] | None, name: str) -> "Markup":
    from markupsafe import Markup

    from .plots import strip

    if limits is None or one.effect is None or one.interval is None:
        return Markup()
    low, high = one.interval
    return strip(limits, 100 * one.effect.mean, name, low=100 * low, high=100 * high)


def _strongest(figures: Figures) -> list[TokenBias]:
    biases = figures.prior.biases if figures.prior else ()
    return sorted(biases, key=lambda entry: (-abs(entry.bias), entry.token))


@lru_cache(maxsize=1)
def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(loader=FunctionLoader(_file), autoescape=True, undefined=StrictUndefined)
    filters: Mapping[str, object] = {
        "shown": shown,
        "token": lambda piece: f"'{shown(piece.decode('utf-8', 'backslashreplace'))}'",
        "percent": lambda share: f"{100 * share:.1f}%",
        "signed": _signed,
        "points": lambda reward: _signed(100 * reward, 1),
        "count": lambda number: f"{number:,}",
        "times": _times,
    }
    environment.filters.update(filters)
    return environment


def shown(value: object) -> str:
    """Text of models and users, with what nobody could see, or what would turn the line around, made visible."""
    return "".join(c if c.isprintable() or c in _HARMLESS else repr(c)[1:-1] for c in str(value))


def _signed(number: float, decimals: int) -> str:
    return f"{number:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _times(entry: RunEntry) -> str:
    """From when to when, to the minute; the day once where it is the same."""
    began, ended = ((at or "")[:16].replace("T", " ") for at in (entry.started, entry.ended))
    return began if not ended else f"{began} to {ended[11:] if ended[:10] == began[:10] else ended}"


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
