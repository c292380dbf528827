"""The command that makes a page of a run."""

import click

from ..errors import InputError
from .command import TextCommand
from .options.shared import json_option, named_store, store_option
from .streams import print_json, write_text


@click.command(cls=TextCommand)
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
@store_option
@json_option
def report(run_id: str, output: str, price: str | None, store: str | None, as_json: bool) -> None:
    """One self-contained HTML page of RUN: what it learned, and whether that is real.

    The page needs no network and runs no script. It quotes prompts and experiences: whoever sees it sees those. Needs
    the extra `tfgrpo[report]`.
    """
    from dataclasses import asdict

    from ..model.prices import read_price
    from ..report import gather_figures, render_page, verdict

    if as_json and output == "-":
        raise InputError("--json and -o - both write to standard output; give the page a file")
    prices = read_price(price) if price else None
    with named_store(store) as opened:
        figures = gather_figures(opened, run_id)
    page = render_page(figures, prices)
    write_text(None if output == "-" else output, page)
    if as_json:
        told = {"run": figures.entry.run.id, "output": output, "bytes": len(page.encode())}
        print_json({**told, "verdict": asdict(verdict(figures))})
    elif output != "-":
        click.echo(f"{output}: {len(page.encode()):,} bytes; open it in a browser", err=True)
