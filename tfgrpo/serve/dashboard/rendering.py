"""Templates of the dashboard: every text of others is escaped, and what cannot be seen in it is made visible."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from math import log
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ... import __version__
from ...records import JSON
from ...text import shown

FOLDER = Path(__file__).parent
ASSETS: Mapping[str, tuple[Path, str]] = {
    "report.css": (FOLDER.parents[1] / "report" / "page.css", "text/css"),
    "dashboard.css": (FOLDER / "assets" / "dashboard.css", "text/css"),
    "dashboard.js": (FOLDER / "assets" / "dashboard.js", "text/javascript"),
    "uplot.css": (FOLDER / "assets" / "uplot.min.css", "text/css"),
    "uplot.js": (FOLDER / "assets" / "uplot.min.js", "text/javascript"),
    "icon.svg": (FOLDER / "assets" / "icon.svg", "image/svg+xml"),
    "htmx.js": (FOLDER / "assets" / "htmx.min.js", "text/javascript"),
}
"""By the name that pages know them by: where they lie, and what they are. The first is shared with the report."""
IN_A_PAGE = 20_000
"""Characters of a text that stand in a page; the whole of it is a page of its own."""
_MINUS = "\N{MINUS SIGN}"


def render(template: str, given: Mapping[str, object]) -> str:
    """A page, or a part of one."""
    return _environment().get_template(f"{template}.html.jinja").render(given)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """Of all templates; a name that a template was not given is an error."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,  # takes a fifth of the time of a first look, and saves none of a later one
    )
    filters: Mapping[str, Callable[..., object]] = {
        "shown": lambda text: shown(str(text)[:IN_A_PAGE]),
        "clipped": clipped,
        "short": lambda id_: str(id_).partition("_")[2][:8] or str(id_)[:12],
        "percent": lambda share: f"{100 * share:.1f}%",
        "points": lambda reward: _signed(100 * reward, 1),
        "signed": _signed,
        "figures": lambda number: f"{number:.3g}",
        "count": lambda number: f"{number:,}",
        "milliseconds": lambda seconds: f"{1000 * seconds:.3g} ms",
        "time": time_text,
        "token": lambda piece: f"'{shown(piece.decode('utf-8', 'backslashreplace'), harmless='')}'",
        "chart": lambda chart: json.dumps(chart, separators=(",", ":")),
        "span": span_text,
        "ln": log,
    }
    made.filters.update(filters)
    # pyrefly: ignore[bad-argument-type]  # it takes anything
    made.globals.update(version=__version__, asset=asset_url, place=place, limits=limits)
    return made


def clipped(text: object, most: int) -> str:
    """The beginning of a text."""
    told = str(text)
    return shown(told if len(told) <= most else f"{told[:most]}…")


def time_text(at: str | None) -> str:
    """A time of the store's, to the second."""
    return (at or "")[:19].replace("T", " ")


def span_text(seconds: float) -> str:
    """A time to wait, roughly."""
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"


def limits(values: Sequence[float]) -> tuple[float, float]:
    """An axis that holds zero and all of these, with some air."""
    low, high = min([0.0, *values]), max([0.0, *values])
    air = 0.12 * (high - low) or 1.0
    return low - air, high + air


def place(axis: tuple[float, float], value: float) -> float:
    """Where on an axis of 200 pixels a value lies."""
    return round(200 * (value - axis[0]) / (axis[1] - axis[0]), 2)


@lru_cache(maxsize=len(ASSETS))
def asset(name: str) -> bytes:
    """The content of a file that pages need."""
    return ASSETS[name][0].read_bytes()


@lru_cache(maxsize=len(ASSETS))
def asset_url(name: str) -> str:
    """Where a file that pages need is, and a part of its hash, so that it may be kept for ever."""
    return f"/tfgrpo/assets/{name}?v={sha256(asset(name)).hexdigest()[:12]}"


def _signed(number: float, decimals: int = 2) -> str:
    return f"{number:+.{decimals}f}".replace("-", _MINUS)


Chart = Mapping[str, JSON]
"""What `dashboard.js` draws: `x`, `series` of `label`, `values` and `tone`, how `y` is told, and `thresholds`."""
