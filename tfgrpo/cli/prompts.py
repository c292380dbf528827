"""Commands about the prompts: prompts export."""

from pathlib import Path

import click

from .command import TextGroup
from .options.shared import json_option
from .streams import tell


@click.group(cls=TextGroup)
def prompts() -> None:
    """The prompts that the model which proposes experiences is given."""


@prompts.command("export")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--force", is_flag=True, help="Overwrite files of the same names.")
@json_option
def export(folder: Path, force: bool, as_json: bool) -> None:
    """Copy the prompts to DIR, to be changed there and used with `tfgrpo learn --prompts DIR`."""
    from ..errors import InputError
    from ..experiences.distil import PROMPTS
    from ..prompts import template

    files = {folder / f"{name}.md": template(name).text for name in PROMPTS}
    if there := [path.name for path in files if path.exists() and not force]:
        raise InputError(f"{folder} has {', '.join(there)} already; --force overwrites")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error
    told = f"{len(files)} prompts are in {folder}; use them with: tfgrpo learn ... --prompts {folder}"
    tell(as_json, {"files": [str(path) for path in files]}, told)
