"""The kinds of option, command and group that the command line is made of: click's, with a help that can be read.

An option stands under a title; where a command has many, a rare one is shown by --help-all alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click

from ..errors import InputError
from .settings_file import file_options

_ALL = "tfgrpo.cli.command.all"
"""Set in a context's `meta` where the help is to show the rare options too."""
_UNTITLED = "Options"
_MANY = 15
"""A command of more options and arguments than these leaves the rare ones to --help-all."""


class TitledOption(click.Option):
    """An option that knows its place in the help."""

    def __init__(self, *given: Any, title: str = _UNTITLED, rare: bool = False, **more: Any) -> None:
        super().__init__(*given, **more)
        self.title, self.rare = title, rare


def show_all(context: click.Context) -> click.Context:
    """The same context, whose help shows rare options too."""
    context.meta[_ALL] = True
    return context


def _help_all(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(show_all(context).get_help())
        context.exit()


class TextCommand(click.Command):
    """A command whose arguments and options are text; bytes that are none go no further."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.abridged = len(self.params) > _MANY and any(getattr(param, "rare", False) for param in self.params)
        if self.abridged:
            explained = "Show every option, the rare ones too, and exit."
            also: dict[str, Any] = {"is_flag": True, "is_eager": True, "expose_value": False, "callback": _help_all}
            self.params.append(click.Option(["--help-all"], help=explained, **also))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; InputError names what holds bytes that are not UTF-8, which Python makes half surrogates of."""
        ctx.default_map = {**(ctx.default_map or {}), **file_options(ctx)}
        rest = super().parse_args(ctx, args)
        from ..text import is_unicode  # what a help does without

        for param in self.params:
            given = ctx.params.get(param.name or "")
            for value in given if isinstance(given, tuple) else (given,):
                if isinstance(value, str) and not is_unicode(value):
                    raise InputError(f"{param.get_error_hint(ctx)} holds bytes that are not UTF-8; give it as UTF-8")
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under their titles, in order of appearance; untitled ones come last, as `Options`."""
        shown = {title: rows for title, rows in self._sections(ctx).items() if rows}
        width = max(len(name) for rows in shown.values() for name, _ in rows)
        for title, rows in shown.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(min(width, 30)), told) for name, told in rows])

    def _sections(self, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
        """What the help says of each option, by title."""
        abridged = self.abridged and not ctx.meta.get(_ALL)
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if isinstance(param, click.Argument) or (abridged and getattr(param, "rare", False)):
                continue
            if row := param.get_help_record(ctx):
                sections.setdefault(getattr(param, "title", _UNTITLED), []).append(row)
        sections[_UNTITLED] = sections.pop(_UNTITLED, [])  # to the end
        return sections


class TextGroup(click.Group):
    """A group of such commands."""

    command_class = TextCommand


@dataclass(frozen=True, slots=True)
class Listed:
    """A command that a group lists and has not loaded: `module:name` within the package `cli`, and what it does."""

    place: str
    told: str


class LazyGroup(TextGroup):
    """A group whose commands are loaded when they run: its help knows them by what is listed."""

    group_class = TextGroup

    def __init__(self, *given: Any, listed: Mapping[str, Mapping[str, Listed]] | None = None, **more: Any) -> None:
        """`listed` are the commands under the titles of the help."""
        super().__init__(*given, **more)
        self.listed = listed or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help."""
        return [name for title in self.listed.values() for name in title]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, loaded now."""
        for title in self.listed.values():
            if cmd_name in title and cmd_name not in self.commands:
                module, _, name = title[cmd_name].place.partition(":")
                self.add_command(getattr(import_module(f".{module}", __package__), name), cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As a group does; a name that is none is compared with all others, to suggest one."""
        if args[0] not in (names := self.list_commands(ctx)):
            for name in names:
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands under their titles, each with what is listed of it; none is loaded."""
        width = max(map(len, self.list_commands(ctx)))
        for title, commands in self.listed.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), listed.told) for name, listed in commands.items()])
