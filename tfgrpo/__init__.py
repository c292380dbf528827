"""Training-Free GRPO: a frozen model behind an API gets better at your task, with no weights touched."""

from importlib import import_module
from typing import TYPE_CHECKING

from .errors import TfgrpoError

if TYPE_CHECKING:
    from .client import AsyncOpenAI, OpenAI
    from .records import Experience, Prior, Rollout, Task
    from .serve.source import PriorSource
    from .serve.wire import AsyncPriorTransport, PriorTransport

__version__ = "0.1.0"

__all__ = [
    "AsyncOpenAI",
    "AsyncPriorTransport",
    "Experience",
    "OpenAI",
    "Prior",
    "PriorSource",
    "PriorTransport",
    "Rollout",
    "Task",
    "TfgrpoError",
    "__version__",
]

_HOMES = {
    "AsyncOpenAI": "client",
    "AsyncPriorTransport": "serve.wire",
    "Experience": "records",
    "OpenAI": "client",
    "Prior": "records",
    "PriorSource": "serve.source",
    "PriorTransport": "serve.wire",
    "Rollout": "records",
    "Task": "records",
}


def __getattr__(name: str) -> object:
    """The public names come from their modules at first use: the SDK and numpy take most of a second to load."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
