"""How to repeat a run: a command line, the files that it names, and the settings that no option sets. Pure."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields

from ..distil import templates_version
from ..records import JSON, Frame, Run
from ..settings import Recipe, Settings

VALUES = {
    "recipe": "--recipe",
    "steps": "--steps",
    "group_size": "--group-size",
    "seed": "--seed",
    "distilled_groups": "--distilled-groups",
    "distiller_tokens": "--distiller-tokens",
    "distiller": "--distiller-model",
    "repeats": "--repeat",
}
"""Settings of a run that an option gives a value."""
SWITCHES = {
    "experiences": "--no-experiences",
    "token_prior": "--no-token-prior",
    "demonstrations": "--no-demonstrations",
    "ground_truth": "--no-ground-truth",
    "review": "--review",
}
"""Settings that an option turns around."""
FOLDERS = {"prompts": "--prompts"}
"""Settings of which only a version is remembered."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """What it takes to run it again."""

    command: str
    system: str | None
    """The content of system.txt, which the command names."""
    request: str | None
    """The content of request.json."""
    settings: tuple[tuple[str, JSON, bool], ...]
    """All of them: name, value, and whether it is the default of its recipe."""
    unsettable: tuple[str, ...]
    """Settings that are not the default, and that no option of the command line sets."""


def repeat_of(run: Run) -> Repeat:
    """How to repeat a run; TASKS stands for the file of its tasks, URL for an upstream, which no store remembers."""
    defaults = _defaults(run)
    other = {name: value for name, value in run.settings.items() if value != defaults.get(name)}
    words = ["tfgrpo", run.kind, "TASKS", "--base-url", "URL", "--model", run.frame.model, "--reward", run.reward]
    words += ["--namespace", run.namespace] if run.namespace != "default" else []
    words += _framed(run.frame) if run.kind == "learn" else ["--prior", str(run.parent)]
    for name, value in other.items():
        words += _option(name, value)
    return Repeat(
        command=shlex.join(words),
        system=run.frame.system,
        request=json.dumps(dict(run.frame.request), indent=2, ensure_ascii=False) if run.frame.request else None,
        settings=tuple((name, value, name not in other) for name, value in run.settings.items()),
        unsettable=tuple(name for name, value in other.items() if not _option(name, value)),
    )


def _defaults(run: Run) -> Mapping[str, JSON]:
    if run.kind == "eval":
        return {"repeats": 4, "seed": 0}
    recipe: Recipe = "paper" if run.settings.get("recipe") == "paper" else "measured"
    own = {"recipe": "measured", "distiller": None, "prompts": templates_version(None)}
    return {**Settings.for_recipe(recipe).as_json(), **own}


def _framed(frame: Frame) -> list[str]:
    """The options of a request frame; an evaluation takes it from the prior."""
    defaults = {field.name: field.default for field in fields(Frame)}
    words = ["--system", "system.txt"] if frame.system else []
    words += ["--request", "request.json"] if frame.request else []
    for name, option in (("temperature", "--temperature"), ("top_p", "--top-p")):
        value = getattr(frame, name)
        words += [option, f"{value:g}"] if value != defaults[name] else []
    return words


def _option(name: str, value: JSON) -> list[str]:
    """The words that set a setting, none where no option does."""
    if name in SWITCHES:
        return [SWITCHES[name]] if isinstance(value, bool) and value == (name == "review") else []
    if name in FOLDERS:
        return [FOLDERS[name], "FOLDER"]
    return [VALUES[name], str(value)] if name in VALUES and value is not None else []
