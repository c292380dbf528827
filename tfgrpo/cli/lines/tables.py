"""Tables, and cells of them; text of models and users is shown, never obeyed."""

from collections.abc import Iterable, Sequence


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout; as wide as its longest text where stdout is not a terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for row in rows:
        table.add_row(*(printable(cell) for cell in row))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 10_000
    console.print(table)


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
