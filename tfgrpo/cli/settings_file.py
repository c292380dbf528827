"""`tfgrpo.toml` in the current folder: options of commands, so that they need not be typed again.

    store = "/data/tfgrpo.db"    # of every command that has the option: store, namespace, model, base-url, trust
    [serve]                      # of one command, by the names of its options; `[keys.add]` of one in a group
    upstream = ["https://api.openai.com/v1"]
    workers = 2

What is given on the command line comes first, then what is in the environment, then the file. It holds no keys: options
name the variables that do.
"""

import os
from typing import Any

import click

from ..errors import InputError

SETTINGS_FILE = "tfgrpo.toml"
_SHARED = ("store", "namespace", "model", "base-url", "trust")


def file_options(context: click.Context) -> dict[str, Any]:
    """What the file says of the options of a command, by parameter; InputError names what it cannot mean."""
    if not os.path.isfile(SETTINGS_FILE):
        return {}
    written = _read()
    root = context.find_root()
    commands = root.command.list_commands(root) if isinstance(root.command, click.Group) else []
    _check(written, [*_SHARED, *commands])
    options = {name.removeprefix("--"): param.name for param in context.command.params for name in param.opts}
    table: Any = written
    for name in context.command_path.split(" ")[1:]:
        table = table.get(name, {}) if isinstance(table, dict) else {}
    own = {name: value for name, value in table.items() if not isinstance(value, dict)} if table is not written else {}
    _check(own, list(options), f"[{'.'.join(context.command_path.split(' ')[1:])}] ")
    shared = {name: written[name] for name in _SHARED if name in written and name in options}
    several = {param.name for param in context.command.params if getattr(param, "multiple", False)}
    found = {str(options[name]): value for name, value in {**shared, **own}.items()}
    found = {name: [value] if name in several and isinstance(value, str) else value for name, value in found.items()}
    if os.environ.get("TFGRPO_STORE"):  # the option itself does not read it
        found.pop("store", None)
    return found


def _check(written: dict[str, Any], known: list[str], where: str = "") -> None:
    for name in written:
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, 1)
            told = f"; did you mean {near[0]}?" if near else f"; it may hold {', '.join(known)}"
            raise InputError(f"{SETTINGS_FILE}: {where}{name} is unknown{told}")


def _read() -> dict[str, Any]:
    import tomllib
    from pathlib import Path

    try:
        return tomllib.loads(Path(SETTINGS_FILE).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{SETTINGS_FILE} cannot be read: {reason}") from error
