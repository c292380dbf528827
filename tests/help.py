"""The command-line reference, from the commands themselves; docs/cli.md holds what this gives."""

from collections.abc import Iterator

import click

from tfgrpo.cli import main


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, groups before what is in them."""
    yield " ".join(names), command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from commands(command.commands[name], *names, name)


def reference() -> str:
    """Help texts of all commands as Markdown."""
    parts = []
    for name, command in commands(main, "tfgrpo"):
        context = click.Context(command, info_name=name, terminal_width=100, max_content_width=100)
        parts.append(f"## {name}\n\n```\n{command.get_help(context)}\n```")
    return "\n\n".join(parts)
