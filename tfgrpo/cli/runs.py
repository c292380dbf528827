"""Commands about runs."""

import click

from .command import TextGroup
from .lines.runs import RUN_COLUMNS, figures_json, run_figures, run_json, run_lines
from .lines.tables import print_table
from .options.shared import json_option, named_store, store_option
from .streams import print_json


@click.group(cls=TextGroup)
def runs() -> None:
    """What was learned from and measured, run by run."""


@runs.command("list")
@click.option("--namespace", envvar="TFGRPO_NAMESPACE", help="Lineage of priors.  [default: all]")
@store_option
@json_option
def list_runs(namespace: str | None, store: str | None, as_json: bool) -> None:
    """Every learning and evaluation, oldest first: how it ended, what it cost, and its first and last mean reward."""
    with named_store(store) as opened:
        entries, means = opened.runs(namespace), opened.step_means()
    found = [run_json(entry, means.get(entry.run.id, ())) for entry in entries]
    if as_json:
        print_json(found)
    elif not found:
        click.echo("no run yet; tfgrpo learn begins one")
    else:
        print_table(RUN_COLUMNS, map(run_figures, found))


@runs.command("show")
@click.argument("run_id", metavar="ID")
@store_option
@json_option
def show_run(run_id: str, store: str | None, as_json: bool) -> None:
    """One run: how it ended, what it cost, how each step went, what came of it, and its settings."""
    from ..report import gather_figures

    with named_store(store) as opened:
        figures = gather_figures(opened, run_id)
    if as_json:
        means = [step.reward.mean for step in figures.steps if step.reward]
        print_json({**run_json(figures.entry, means), **figures_json(figures)})
    else:
        click.echo("\n".join(run_lines(figures)))
