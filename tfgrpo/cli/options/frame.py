"""Options that say what a request looks like, and the frame that is made of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError
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
    labels: str | None = None
    """With commas between."""

    def read(self, model: str) -> "Frame":
        """The request frame for a model; options win over the file. Raises InputError for a file that is none."""
        from ...rollouts.executor import request_frame

        system, fields = _read(self.system).strip() if self.system else None, _read_request(self.request)
        source, given = str(self.request), {"temperature": self.temperature, "top_p": self.top_p}
        return request_frame(model, system, fields, source=source, labels=self.closed_set, **given)

    @property
    def closed_set(self) -> list[str]:
        """What an answer may be, where that is said."""
        return [label for label in (self.labels or "").split(",") if label.strip()]


_LONGEST = 10_000_000
"""Characters of a system prompt, and of a request file."""
_DEEPEST = 50
"""Objects and lists within each other in a request file."""
_option = titled(LEARN_FROM)

frame_options = gathered(
    "frame",
    FrameOptions,
    _option("--system", metavar="FILE", help="System prompt that production will use."),
    _option("--request", metavar="FILE.json", help="Further request fields (max_tokens, tools, ...)."),
    _option("--temperature", type=float, help="Of rollouts, and of production.  [default: 0.7]"),
    _option("--labels", rare=True, help="What an answer may be: A,B,C.  [default: the answers, with --reward choice]"),
    _option("--top-p", type=float, rare=True, help="Of rollouts, and of production.  [default: 1]"),
)
"""--system, --request, --temperature, --labels and --top-p; the command gets them as `frame`."""


def _read_request(path: str | None) -> "dict[str, JSON]":
    if path is None:
        return {}
    from ...tasks.formats import json_value

    fields = json_value(path, _read(path), 1, deepest=_DEEPEST)
    if not isinstance(fields, dict):
        raise InputError(f'{path}: a request file holds one JSON object, such as {{"max_tokens": 8}}')
    return fields


def _read(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            text = file.read(_LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if len(text) > _LONGEST:
        raise InputError(f"{path} is too large: at most {_LONGEST:,} characters are read")
    return text
