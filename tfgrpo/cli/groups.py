"""Options in groups: several that go together on a command, and several that reach it as one frozen value."""

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Command: TypeAlias = Callable[..., Any]
Decorator: TypeAlias = Callable[[Command], Command]


def together(*options: Decorator) -> Decorator:
    """A decorator: these options, in the order in which --help shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def gathered(name: str, kind: "type[DataclassInstance]", *options: Decorator, prefix: str = "") -> Decorator:
    """A decorator: these options, which the command gets as one value `name=kind(...)`.

    `kind` is a dataclass with a field for each option: its parameter's name less `prefix`.
    """
    names = {field.name: prefix + field.name for field in fields(kind)}

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_group(**given: Any) -> Any:
            value = kind(**{field: given.pop(parameter) for field, parameter in names.items()})
            return command(**{name: value}, **given)

        return together(*options)(with_group)

    return decorate
