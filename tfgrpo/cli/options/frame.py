"""Options that say what a request looks like, and the frame that is made of them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError
from ...text import is_unicode
from .gathered import LEARN_FROM, gathered, titled

if TYPE_CHECKING:
    from ...records import JSON, Frame


@dataclass(frozen=True, slots=True)
class FrameOptions:
    """The options as they were given."""

    system: str | None
    """A file."""
    request: str | None
    """A file."""
    temperature: float | None
    top_p: float | None

    def read(self, model: str) -> "Frame":
        """The request frame for a model; options win over the file. Raises InputError for a file that is none."""
        from ...records import Frame

        fields = _read_request(self.request)
        told = {"temperature": self.temperature, "top_p": self.top_p}
        for name, given in told.items():
            in_file = fields.pop(name, None)
            told[name] = given if given is not None else in_file
        sampling = {name: _number(self.request, name, value) for name, value in told.items() if value is not None}
        return Frame(model, _read(self.system).strip() if self.system else None, fields, **sampling)


_option = titled(LEARN_FROM)

frame_options = gathered(
    "frame",
    FrameOptions,
    _option("--system", metavar="FILE", help="System prompt that production will use."),
    _option("--request", metavar="FILE.json", help="Further request fields (max_tokens, tools, ...)."),
    _option("--temperature", type=float, help="Of rollouts, and of production.  [default: 0.7]"),
    _option("--top-p", type=float, rare=True, help="Of rollouts, and of production.  [default: 1]"),
)
"""--system, --request, --temperature and --top-p; the command gets them as `frame`."""


def _number(path: str | None, name: str, value: "JSON") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{path}: {name} is {value!r}; it must be a number")
    return float(value)


def _read_request(path: str | None) -> "dict[str, JSON]":
    from ...settings import RESERVED_FIELDS

    if path is None:
        return {}
    try:
        fields = json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(fields, dict):
        raise InputError(f'{path}: a request file holds one JSON object, such as {{"max_tokens": 8}}')
    if not is_unicode(json.dumps(fields, ensure_ascii=False)):
        raise InputError(f"{path}: it holds half a surrogate pair, which is no character")
    if refused := sorted(set(fields) & set(RESERVED_FIELDS)):
        raise InputError(f"{path}: {', '.join(refused)} cannot be set here")
    return fields


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
