"""Options that go together: under one title of the help, and several that reach a command as one frozen value."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from ..command import TitledOption

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Body: TypeAlias = Callable[..., Any]
"""The function behind a command."""
Decorator: TypeAlias = Callable[[Body], Body]

LEARN_FROM = "What to learn from"
MEASURE = "What to measure"
MODEL = "The model"
BUDGET = "The budget"
GATE = "The gate"
AGENTS = "Agents"
ADVANCED = "Advanced"


def titled(title: str) -> Callable[..., Decorator]:
    """A maker of options like click.option, for those under one title; `rare=True` leaves one to --help-all."""
    return partial(click.option, cls=TitledOption, title=title)


def together(*options: Decorator) -> Decorator:
    """A decorator: these options, in the order in which --help shows them."""

    def decorate(command: Body) -> Body:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def gathered(name: str, kind: "type[DataclassInstance]", *options: Decorator, prefix: str = "") -> Decorator:
    """A decorator: these options, which the command gets as one value `name=kind(...)`.

    `kind` is a dataclass with a field for each option: its parameter's name less `prefix`.
    """
    names = {field.name: prefix + field.name for field in fields(kind)}

    def decorate(command: Body) -> Body:
        @wraps(command)
        def with_group(**given: Any) -> Any:
            value = kind(**{field: given.pop(parameter) for field, parameter in names.items()})
            return command(**{name: value}, **given)

        return together(*options)(with_group)

    return decorate
