"""Tables, and cells of them; text of models and users is shown, never obeyed."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_IDS = ("id", "prior", "run")
"""Columns of ids: never broken over lines, so that they can be copied."""
_LEAST = 12
"""Characters that any other column can be read at."""
_WORD = 24
"""Characters of the longest word that is never broken either: an id in a sentence."""
_GAP = 2
"""Spaces between two columns."""


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout; a block for each row where the terminal is too narrow for one.

    It is as wide as its longest text where stdout is not a terminal.
    """
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 10_000
    cells = [[printable(cell) for cell in row] for row in rows]
    if _least_width(columns, cells) <= console.width:
        console.print(_table(columns, cells))
        return
    for row in cells:
        console.print(_block(columns, row), "")


def _least_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """The narrowest that a table can be: ids and words in one piece, no other column under _LEAST unless it is short.

    The columns of a table that is too wide are all cut to the same width, so the longest word counts in each.
    """
    from rich.cells import cell_len

    widest = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    words = [cell_len(word) for row in rows for cell in row for word in cell.split()]
    readable = max((word for word in words if word <= _WORD), default=0)
    least = [
        width if name in _IDS else min(width, max(_LEAST, readable))
        for name, width in zip(columns, widest, strict=True)
    ]
    return sum(least) + _GAP * (len(columns) - 1)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in _IDS)
    for row in rows:
        table.add_row(*row)
    return table


def _block(columns: Sequence[str], row: Sequence[str]) -> "Table":
    """One row as lines of name and value; empty values are left out."""
    from rich.table import Table

    block = Table.grid(padding=(0, _GAP))
    block.add_column(style="bold", no_wrap=True)
    block.add_column(overflow="fold")
    width = max(map(len, columns))
    for name, value in zip(columns, row, strict=True):
        if value:
            block.add_row(name.ljust(width), value)
    return block


def printable(cell: object) -> str:
    """Text of models and users, with control characters made visible: a terminal must not obey them."""
    text = "" if cell is None else str(cell)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def percent(share: float) -> str:
    """A share in percent, one decimal."""
    return f"{100 * share:.1f}%"


def day_time(at: str | None) -> str:
    """A time to the minute, UTC."""
    return (at or "")[:16].replace("T", " ")
