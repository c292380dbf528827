"""Commands about the store itself."""

import click

from .command import TextGroup
from .lines.tables import print_table, printable
from .options.shared import json_option, named_store, store_option
from .streams import check_output, print_json, tell


@click.group(cls=TextGroup)
def store() -> None:
    """The file or database that remembers it all."""


@store.command("info")
@store_option
@json_option
def info(store: str | None, as_json: bool) -> None:
    """Its size, its schema, its namespaces and the rows of each table."""
    from dataclasses import asdict

    with named_store(store) as opened:
        figures, namespaces = opened.info(), opened.namespaces()
    if as_json:
        print_json({**asdict(figures), "namespaces": [asdict(namespace) for namespace in namespaces]})
        return
    click.echo(f"{figures.path}: {figures.bytes:,} bytes, schema {figures.schema}")
    for namespace in namespaces:
        click.echo(f"namespace {namespace.name}: {namespace.model or 'no model yet'}")
    print_table(("table", "rows"), ((name, f"{count:,}") for name, count in figures.rows.items()))


@store.command("backup")
@click.argument("file")
@store_option
@json_option
def backup(file: str, store: str | None, as_json: bool) -> None:
    """Copy all of it into FILE, a new one, as it is at one moment; runs may go on meanwhile."""
    from pathlib import Path

    check_output("FILE", file)
    with named_store(store) as opened:
        size = opened.backup(Path(file))
    tell(as_json, {"path": file, "bytes": size}, f"{file}: {size:,} bytes, all of {opened.path}")


@store.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@json_option
def copy(source: str, target: str, as_json: bool) -> None:
    """Copy all of store FROM into store TO, a new one: each is a file, or the URL of a database of PostgreSQL's."""
    from ..store import default_store_path

    with named_store(source) as opened:
        counts = opened.copy_to(default_store_path(target))
        told = f"{sum(counts.values()):,} rows of {opened.path} are in {default_store_path(target)}"
    tell(as_json, counts, told)


@store.command("verify")
@store_option
@json_option
def verify(store: str | None, as_json: bool) -> None:
    """Compute every id and check every reference anew; exit code 1 when something is wrong."""
    with named_store(store) as opened:
        findings = opened.verify()
    tell(as_json, list(findings), *(map(printable, findings) if findings else [f"{opened.path} is whole"]))
    if findings:
        raise click.exceptions.Exit(1)
