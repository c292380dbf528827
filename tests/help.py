"""What documents are generated from: the commands, the schema of the store, the settings of a run."""

import ast
import inspect
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import click

from tfgrpo.cli import main
from tfgrpo.cli.command import show_all
from tfgrpo.settings import Settings

_STORE = Path(__file__).parent.parent / "store"


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, groups before what is in them."""
    yield " ".join(names), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in sorted(command.list_commands(context)):
            if found := command.get_command(context, name):
                yield from commands(found, *names, name)


def reference() -> str:
    """Help texts of all commands as Markdown, with every option."""
    parts = []
    for name, command in commands(main, "tfgrpo"):
        context = command.make_context(name, [], resilient_parsing=True, **main.context_settings, terminal_width=100)
        parts.append(f"## {name}\n\n```\n{show_all(context).get_help()}\n```")
    return "\n\n".join(parts)


def settings_table() -> str:
    """The settings of a run as Markdown: defaults of both recipes, and what each is by the text below it."""
    measured, paper = Settings(), Settings.for_recipe("paper")
    rows = ["| setting | default | `paper` | |", "|---|---|---|---|"]
    for name, purpose in _explained():
        usual, published = getattr(measured, name), getattr(paper, name)
        other = "" if usual == published else f"`{published!r}`"
        rows.append(f"| `{name}` | `{usual!r}` | {other} | {purpose.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def _explained() -> Iterator[tuple[str, str]]:
    """Each setting with the text below it, empty where there is none."""
    (kind,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(kind, ast.ClassDef)
    for node, below in pairwise(kind.body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
            yield node.target.id, " ".join(str(text).split())


def tables() -> str:
    """The store's tables and views as Markdown: what a row is (from store/README.md), and each column."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript((_STORE / "schema.sql").read_text(encoding="utf-8"))
        listed = "SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY type, name"
        return "\n\n".join(_described(db, *row) for row in db.execute(listed).fetchall())


def _described(db: sqlite3.Connection, name: str, kind: str, sql: str) -> str:
    readme = (_STORE / "README.md").read_text(encoding="utf-8")
    purpose = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", readme, re.MULTILINE))[name]
    columns = [(row[1], row[2]) for row in db.execute(f"PRAGMA table_info({name})") if row[1] != "checksum"]
    if kind == "view":
        return f"### View `{name}`\n\nShows {purpose}: {', '.join(f'`{column}`' for column, _ in columns)}."
    notes = {column: f"`{key}` of `{table}`" for _, _, table, column, key, *_ in _references(db, name)}
    notes |= {"at": "when, UTC"} | dict(re.findall(r"^ +(\w+) .*-- (.+)$", sql, re.MULTILINE))
    rows = [f"| `{column}` | {of} | {notes.get(column, '')} |" for column, of in columns]
    return "\n".join([f"### `{name}`", "", f"A row is {purpose}.", "", "| column | type | |", "|---|---|---|", *rows])


def _references(db: sqlite3.Connection, name: str) -> list[tuple[str, ...]]:
    return db.execute(f"PRAGMA foreign_key_list({name})").fetchall()
