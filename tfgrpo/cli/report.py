"""The command that makes a page of a run."""

import click

from . import main
from .options import open_store, write_text
from .store import store_file_option


@main.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    default="report.html",
    show_default=True,
    help="Where to write it; what is there is overwritten, and - is standard output.",
)
@click.option("--price", metavar="IN/OUT", help="USD per million tokens, to say what it cost.  [default: not said]")
@store_file_option
def report(run_id: str, output: str, price: str | None, store: str | None) -> None:
    """One self-contained HTML page of RUN: what it learned, and whether that is real.

    The page needs no network and runs no script. It quotes prompts and experiences: whoever sees it sees those. Needs
    the extra `tfgrpo[report]`.
    """
    from ..model.prices import read_price
    from ..report import gather_figures, render_page

    prices = read_price(price) if price else None
    with open_store(store) as opened:
        page = render_page(gather_figures(opened, run_id), prices)
    if output == "-":
        return write_text(None, page)
    write_text(output, page)
    click.echo(f"{output}: {len(page.encode()):,} bytes; open it in a browser", err=True)
