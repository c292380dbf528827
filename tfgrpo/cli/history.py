"""The command that tells what happened in a namespace."""

import click

from .command import TextCommand
from .lines.tables import print_table
from .options.shared import json_option, named_store, store_option, visible_name
from .streams import print_json


@click.command(cls=TextCommand)
@click.argument("namespace", default="default", callback=visible_name)
@store_option
@json_option
def history(namespace: str, store: str | None, as_json: bool) -> None:
    """Everything that happened in NAMESPACE, oldest first.

    Its runs, what became of its priors and why, and what the autopilot and people did; with --json the figures, too.
    """
    from ..deployment.history import happened

    with named_store(store) as opened:
        found = happened(opened, namespace)
    if as_json:
        print_json([one.as_json() for one in found])
    elif not found:
        click.echo(f"nothing has happened in namespace {namespace} yet; tfgrpo learn begins")
    else:
        shown = ((one.at[:19].replace("T", " "), one.what, one.prior or "", one.by, one.why) for one in found)
        print_table(("when (UTC)", "what", "prior", "by", "why"), shown)
