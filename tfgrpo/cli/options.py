"""Options that several commands share, and what is made of them."""

import json
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import InputError
from ..text import is_unicode
from .groups import together

if TYPE_CHECKING:
    from ..records import JSON
    from ..store import Store

T = TypeVar("T")


def _namespace(context: click.Context, option: click.Parameter, given: str) -> str:
    if is_unicode(given) and not (given.strip() and given.isprintable()):  # TextCommand tells what is no Unicode
        raise InputError(f"--namespace {given!r}: give a name of visible characters")
    return given


store_options = together(
    click.option("--store", metavar="FILE", help="The store [default: TFGRPO_STORE, else ./tfgrpo.db]."),
    click.option(
        "--namespace",
        default="default",
        envvar="TFGRPO_NAMESPACE",
        help="Lineage of priors.",
        show_default=True,
        callback=_namespace,
    ),
)
"""--store and --namespace."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
by_option = click.option("--by", metavar="NAME", help="Who decides, to remember.  [default: the user's login name]")


def person(given: str | None) -> str:
    """The name that stands with a person's decision."""
    import getpass

    try:
        return given if given is not None else getpass.getuser()
    except (OSError, KeyError, ImportError) as error:  # a container's user may have no name
        raise InputError("your user has no login name; say who decides with --by NAME") from error


def open_store(given: str | None, *, create: bool = False) -> "Store":
    """The store that the options name."""
    from ..store import Store, default_store_path

    return Store(default_store_path(given), create=create)


def read_text(path: str, limit: int) -> str:
    """The text of a file, or of standard input for `-`, of at most so many bytes."""
    name = "standard input" if path == "-" else path
    try:
        with click.open_file(path, "rb") as file:
            raw = file.read(limit + 1)
        text = "" if len(raw) > limit else str(raw, "utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {name}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    if len(raw) > limit:
        raise InputError(f"{name} is too large: at most {limit:,} bytes are read")
    return text


def check_output(option: str, path: str | None) -> None:
    """Refuse an output file that could not be written, before anything is spent for it."""
    if path and (Path(path).is_dir() or not Path(path).absolute().parent.is_dir()):
        raise InputError(f"{option} {path}: there is no such folder, or it is one; name a file in a folder that exists")


def write_text(path: str | None, text: str) -> None:
    """A text to a file, or to standard output."""
    if path is None:
        return click.echo(text, nl=False)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; Ctrl-C cancels the work, lets it clean up and is raised as KeyboardInterrupt."""
    import asyncio

    return asyncio.run(work)


def print_json(value: "JSON") -> None:
    """JSON on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
