"""Functions of the user's: named as `module:function`, or given as they are."""

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from .errors import InputError
from .text import shortened


def is_named(name: str) -> bool:
    """Whether a text has the form `module:function`."""
    return re.fullmatch(r"[\w.]+:[\w.]+", name) is not None


def load_function(name: str, what: str, *parameters: str) -> Callable[..., Any]:
    """The function that takes these positional arguments; raises InputError, which calls it `what`, when it cannot.

    The module is looked for in the current folder first, which stays on the import path.
    """
    module, _, function = name.partition(":")
    if (folder := os.getcwd()) not in sys.path:
        sys.path.insert(0, folder)
    try:
        found = importlib.import_module(module)
    except Exception as error:  # the user's module may raise anything
        why = f"{type(error).__name__}: {shortened(error, 200)}"
        raise InputError(f"{what} {name}: cannot import {module} from {folder} ({why})") from error
    try:
        loaded: Callable[..., Any] = attrgetter(function)(found)
    except AttributeError as error:
        raise InputError(f"{what} {name}: module {module} has no {function}") from error
    check_function(loaded, f"{what} {name}", *parameters)
    return loaded


def name_of(function: Callable[..., Any]) -> str:
    """The name by which a run remembers a function that it was given: `module:function`."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def check_function(given: object, what: str, *parameters: str) -> None:
    """Raise InputError for what cannot be called with these positional arguments."""
    if not callable(given):
        raise InputError(f"{what} is not a function but {shortened(type(given).__name__)}")
    try:
        inspect.signature(given).bind(*parameters)
    except TypeError as error:
        wanted = "one argument" if len(parameters) == 1 else f"{len(parameters)} arguments"
        raise InputError(f"{what}: it must take {wanted}, {' and '.join(parameters)} ({error})") from error
    except ValueError:  # some builtins have no signature to check
        pass
