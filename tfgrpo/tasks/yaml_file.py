"""YAML as people who are not its authors expect it: `no` is a text, dates are texts, and nothing is without bounds."""

import re
from collections.abc import Mapping
from typing import ClassVar

from ..errors import InputError
from ..records import JSON
from ..text import shortened

MOST_CHARACTERS = 3_000_000
MOST_VALUES = 500_000
"""Of a file whose parts are repeated by name (`*anchor`)."""
_DEEPEST = 100
_SCALARS: Mapping[str, tuple[str, str]] = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", "~nN"),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "tag:yaml.org,2002:int": (r"[-+]?(?:0|[1-9][0-9]{0,18})", "-+0123456789"),
    "tag:yaml.org,2002:float": (r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    "tag:yaml.org,2002:merge": (r"<<", "<"),
}
"""What is no text (YAML 1.2's core schema), and with which characters it begins."""


def yaml_value(name: str, text: str) -> JSON:
    """The value of a YAML text; InputError names the line of what is none, and refuses one without bounds."""
    import yaml

    if len(text) > MOST_CHARACTERS:
        raise InputError(f"{name} is too large for YAML: at most {MOST_CHARACTERS:,} characters are read; take JSONL")

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        """Safe, and with the scalars of YAML 1.2."""

        # pyrefly: ignore[bad-override]  # the base's is of the class too
        yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}

    for tag, (pattern, first) in _SCALARS.items():
        Loader.add_implicit_resolver(tag, re.compile(rf"(?:{pattern})\Z"), [*first, *([""] if "null" in tag else [])])
    try:
        value = yaml.load(text, Loader)  # it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{name}, line {line}: not YAML ({shortened(error.problem)})") from error
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise InputError(f"{name}: not readable as YAML ({shortened(error)})") from error
    _check_bounds(name, value)
    return value


def _check_bounds(name: str, value: JSON) -> None:
    """Raise InputError for a value that repeats itself without end, or so often that it fills the memory."""
    left, waiting = MOST_VALUES, [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        left -= 1
        if left < 0 or depth > _DEEPEST:
            raise InputError(f"{name}: it repeats or nests its parts too often to be read; take JSONL")
        if isinstance(one, Mapping):
            waiting += [(held, depth + 1) for held in one.values()]
        elif isinstance(one, list):
            waiting += [(held, depth + 1) for held in one]
