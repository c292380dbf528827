"""How a run can be repeated: a command line, the files that it names, and the settings that no option sets. Pure."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields

from ..experiences.distil import templates_version
from ..plugins import is_named
from ..records import JSON, Frame, Run
from ..settings import Recipe, Settings

VALUES = {
    "recipe": "--recipe",
    "steps": "--steps",
    "group_size": "--group-size",
    "seed": "--seed",
    "distilled_groups": "--distilled-groups",
    "distiller_tokens": "--distiller-tokens",
    "distiller_retries": "--distiller-retries",
    "distiller": "--distiller-model",
    "embedding": "--embedding-model",
    "embedding_near": "--embedding-near",
    "gate_alpha": "--alpha",
    "alpha": "--alpha",  # where decisions are learned
    "gate_passes": "--passes",
    "gate_claim": "--claim",
    "production_temperature": "--production-temperature",
    "repeats": "--repeat",
    "bounded": "--bounded",
    "amplify": "--amplify",
    "overlong": "--overlong",
    "prior_tokens": "--prior-tokens",
}
"""Settings of a run that an option gives a value."""
SWITCHES = {
    "experiences": "--no-experiences",
    "token_prior": "--no-token-prior",
    "demonstrations": "--no-demonstrations",
    "ground_truth": "--no-ground-truth",
    "race": "--no-race",
    "rest_tasks": "--no-rest-tasks",
    "review": "--review",
    "only_what_applies": "--only-what-applies",
    "clip_rewards": "--clip-rewards",
    "allow_collapse": "--allow-collapse",
}
"""Settings that an option turns around."""
NAMED = {"prompts": "--prompts", "validation": "--validation", "test": "--test"}
"""Settings of which only a version or an id is remembered."""


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
    """How to repeat a run; words in capitals stand for what no store remembers."""
    defaults = _defaults(run)
    other = {name: value for name, value in run.settings.items() if value != defaults.get(name)}
    settings = tuple((name, value, name not in other) for name, value in run.settings.items())
    ungated = ["--gate", "none"] if run.kind == "learn" and "validation" not in run.settings else []
    if "ported" in run.settings:  # tasks, frame and settings are those of the run that learned what is ported
        words = ["port", str(run.settings["from"]), "--to", run.frame.model, "--base-url", "URL"]
        command = shlex.join(["tfgrpo", *words, "--into", run.namespace, *ungated])
        return Repeat(command, None, None, settings, ())
    words = ["tfgrpo", *_running(run), *ungated]
    for name, value in other.items():
        words += _option(name, value)
    request = json.dumps(dict(run.frame.request), indent=2, ensure_ascii=False) if run.frame.request else None
    unsettable = tuple(name for name, value in other.items() if not _option(name, value))
    return Repeat(shlex.join(words), run.frame.system, request, settings, unsettable)


def _running(run: Run) -> list[str]:
    asked = ["--surface", "decisions", "QUESTION.json"] if "question" in run.settings else []
    words = [run.kind, *asked, "TASKS", "--base-url", "URL", "--model", run.frame.model]
    words += ["--reward", run.reward] if run.kind != "explore" else []
    words += ["--namespace", run.namespace] if run.namespace != "default" else []
    return [*words, *(["--prior", str(run.parent)] if run.kind == "eval" else _framed(run.frame))]


def _defaults(run: Run) -> Mapping[str, JSON]:
    if "question" in run.settings:
        return {**{name: run.settings[name] for name in ("surface", "question")}, "seed": 0}
    if run.kind == "eval":
        arms = {name: run.settings[name] for name in ("written", "few_shot") if name in run.settings}
        return {"repeats": 4, "seed": 0, "clip_rewards": False, **arms}
    if run.kind == "explore":
        return {}
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
        switched = isinstance(value, bool) and value == (not SWITCHES[name].startswith("--no-"))
        return [SWITCHES[name]] if switched else []
    if name == "moments":
        return ["--moments"]
    if name in ("environment", "turns", "states", "alternatives"):
        return [f"--{name}", str(value)]
    if name == "agent":
        return ["--agent" if is_named(value) else "--command", str(value)]
    if name in NAMED:
        return [NAMED[name], name.upper()]
    return [VALUES[name], str(value)] if name in VALUES and value is not None else []
