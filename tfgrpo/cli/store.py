"""Commands about the store itself, and the runs in it."""

import click

from . import main
from .options import json_option, open_store, print_json
from .store_text import RUN_COLUMNS, figures_json, run_figures, run_json, run_lines
from .text import print_table, printable

store_file_option = click.option("--store", metavar="FILE", help="The store [default: TFGRPO_STORE, else ./tfgrpo.db].")


@main.group()
def store() -> None:
    """The file that remembers it all."""


@store.command("info")
@store_file_option
@json_option
def info(store: str | None, as_json: bool) -> None:
    """Its size, its schema, its namespaces and the rows of each table."""
    from dataclasses import asdict

    with open_store(store) as opened:
        figures, namespaces = opened.info(), opened.namespaces()
    if as_json:
        print_json({**asdict(figures), "namespaces": [asdict(namespace) for namespace in namespaces]})
        return
    click.echo(f"{figures.path}: {figures.bytes:,} bytes, schema {figures.schema}")
    for namespace in namespaces:
        click.echo(f"namespace {namespace.name}: {namespace.model or 'no model yet'}")
    print_table(("table", "rows"), ((name, f"{count:,}") for name, count in figures.rows.items()))


@store.command("verify")
@store_file_option
@json_option
def verify(store: str | None, as_json: bool) -> None:
    """Compute every id and check every reference anew; exit code 1 when something is wrong."""
    with open_store(store) as opened:
        findings = opened.verify()
    if as_json:
        print_json(list(findings))
    else:
        click.echo("\n".join(map(printable, findings)) if findings else f"{opened.path} is whole")
    if findings:
        raise click.exceptions.Exit(1)


@main.group()
def runs() -> None:
    """What was learned from and measured, run by run."""


@runs.command("list")
@click.option("--namespace", envvar="TFGRPO_NAMESPACE", help="Lineage of priors.  [default: all]")
@store_file_option
@json_option
def list_runs(namespace: str | None, store: str | None, as_json: bool) -> None:
    """Every learning and evaluation, oldest first: how it ended, what it cost, and its first and last mean reward."""
    with open_store(store) as opened:
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
@store_file_option
@json_option
def show_run(run_id: str, store: str | None, as_json: bool) -> None:
    """One run: how it ended, what it cost, how each step went, what came of it, and its settings."""
    from ..report import gather_figures

    with open_store(store) as opened:
        figures = gather_figures(opened, run_id)
    if as_json:
        means = [step.reward.mean for step in figures.steps if step.reward]
        print_json({**run_json(figures.entry, means), **figures_json(figures)})
    else:
        click.echo("\n".join(run_lines(figures)))
